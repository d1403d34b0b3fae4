//! The model catalog, downloads that only ever end in the pinned digest, and what a
//! model would need of this machine.
//!
//! Deliberately absent: loading weights, which engines do.
