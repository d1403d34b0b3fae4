//! Press to talk.
