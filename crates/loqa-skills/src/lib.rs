//! loqa-skills
