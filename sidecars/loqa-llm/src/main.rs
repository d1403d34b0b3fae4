//! loqa-llm
fn main() {}
