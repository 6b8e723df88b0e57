//! Metrics of servers that have none.
