//! loqa-tts
fn main() {}
