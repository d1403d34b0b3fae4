//! loqa-cli
fn main() {}
