//! `loqa skill` as authors and users see it: the real program, real cargo, real files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod guide;
mod store;
mod support;
