//! Init containers that fill volumes and wait for others, and health checks.
