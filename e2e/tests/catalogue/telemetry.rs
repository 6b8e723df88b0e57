//! Metrics and traces: `StatsD`, `OpenTelemetry`, and several functions in one process.
