//! loqa-turn
