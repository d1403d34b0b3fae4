//! loqa-audio
