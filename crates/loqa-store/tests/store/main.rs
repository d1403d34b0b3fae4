//! The store as the hub uses it: on a disk, over restarts, with kills, damage and full disks.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod damage;
mod erase;
mod kill;
mod large;
mod lists;
mod migrate;
mod recordings;
mod retention;
mod support;
