//! What the user lets Loqa remember: sessions, turns, events, transcripts and their
//! search, latency, settings.
//!
//! Deliberately absent: the bus, the turn's rules, and the record of who did what (loqa-audit).
