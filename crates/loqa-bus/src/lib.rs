//! loqa-bus
