//! The one HTTP and WebSocket API: for the window, a browser, the command line and
//! other programs.
//!
//! Deliberately absent: decisions. What a request may do is decided by the hub.
