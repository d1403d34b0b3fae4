//! Press to talk: a microphone that is kept warm, a speaker, and the hub's turns between
//! them, behind one handle that a window, a hotkey and a command line share.
//!
//! [`key::Key`] decides what the key means and reads no clock; [`ear::Ear`] cuts the sound;
//! the rest acts. A program wires it in this order, because the hub speaks announcements
//! (timers that ring) before anybody can talk:
//!
//! ```no_run
//! # async fn wire(config: loqa_hub::config::Config, paths: loqa_hub::paths::Paths) -> anyhow::Result<()> {
//! # use std::sync::Arc;
//! let loudspeaker = loqa_talk::Loudspeaker::start(None)?;
//! let hub = Arc::new(loqa_hub::Hub::start(&config, &paths, Some(loudspeaker.factory())).await?);
//! let talk = loqa_talk::Talk::start(hub.clone(), loqa_talk::TalkOptions { microphone: None, loudspeaker })?;
//! talk.press();
//! // …
//! talk.stop().await;
//! loqa_hub::Hub::stop_shared(hub).await;
//! # Ok(())
//! # }
//! ```
//!
//! Deliberately absent: windows, hotkeys, settings on the disk, echo cancellation, wake words.

#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test"))]

mod aside;
mod desk;
mod devices;
pub mod ear;
mod event;
mod figures;
pub mod key;
mod loudspeaker;
mod microphone;
mod talk;

pub use devices::{DeviceList, SoundDevice};
pub use event::{DeviceFault, HubMessage, TalkEvent, TalkFault, TalkSnapshot};
pub use figures::TalkFigures;
pub use loqa_protocol::talk::TalkPhase;
pub use loudspeaker::Loudspeaker;
pub use talk::{Talk, TalkError, TalkOptions};
