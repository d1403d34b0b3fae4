//! loqa-telemetry
