//! loqa-engine
