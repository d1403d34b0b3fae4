//! An engine whose answers are written in its boot settings.
