//! Writes each line of standard input with its phonemes: `text <tab> phonemes`.

use std::io::{self, BufRead, Write};

fn main() -> io::Result<()> {
    let g2p = misaki_rs::G2P::new(misaki_rs::Language::EnglishUS);
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let phonemes = g2p.g2p(&line).map(|spoken| spoken.0).unwrap_or_default();
        writeln!(out, "{line}\t{phonemes}")?;
    }
    Ok(())
}
