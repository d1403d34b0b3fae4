//! The sound devices of this machine, as a settings page lists them. Deliberately absent:
//! opening them.

use serde::{Deserialize, Serialize};

/// A sound device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SoundDevice {
    /// What [`crate::Talk::choose`] takes.
    pub id: String,
    /// What a person calls it.
    pub name: String,
    /// It is used when none is chosen.
    pub is_default: bool,
}

/// All devices, and which are chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceList {
    /// Those that record.
    pub microphones: Vec<SoundDevice>,
    /// Those that play.
    pub speakers: Vec<SoundDevice>,
    /// The chosen microphone; `None` is the system's default.
    pub microphone: Option<String>,
    /// The chosen speaker; `None` is the system's default.
    pub speaker: Option<String>,
}

impl DeviceList {
    /// Asks the system, which takes a moment.
    pub(crate) fn read(microphone: Option<String>, speaker: Option<String>) -> Self {
        let (mut microphones, mut speakers) = (Vec::new(), Vec::new());
        for device in loqa_audio::device::devices() {
            let row =
                |is_default| SoundDevice { id: device.name.clone(), name: device.description.clone(), is_default };
            if device.is_microphone {
                microphones.push(row(device.is_default_microphone));
            }
            if device.is_speaker {
                speakers.push(row(device.is_default_speaker));
            }
        }
        Self { microphones, speakers, microphone, speaker }
    }
}
