//! loqa-stt
fn main() {}
