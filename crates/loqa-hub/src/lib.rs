//! loqa-hub
