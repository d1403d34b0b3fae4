//! The smart-home bridge, a native skill.

fn main() {}
