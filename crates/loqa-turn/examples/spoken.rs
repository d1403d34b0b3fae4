//! Reads lines `duration|number|time <TAB> words` and writes what the words mean to the
//! hub, as JSON; `null` when not all of them were understood.
//!
//! ```console
//! $ printf 'duration\tan hour and a half\n' | cargo run -q -p loqa-turn --example spoken
//! 5400
//! ```
#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use loqa_turn::intent::{SpokenKind, spoken};
use serde_json::Value;
use std::io::BufRead as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (kind, text) = line.split_once('\t').ok_or("a line is `duration|number|time <TAB> words`")?;
        let kind = match kind {
            "duration" => SpokenKind::Duration,
            "number" => SpokenKind::Number,
            "time" => SpokenKind::Time,
            other => return Err(format!("`{other}` is no kind of value").into()),
        };
        let found = spoken(text, kind).into_iter().find(|found| found.at == (0..text.len()));
        println!("{}", found.map_or(Value::Null, |found| found.value));
    }
    Ok(())
}
