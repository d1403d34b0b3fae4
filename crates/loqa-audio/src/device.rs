//! The microphone and the speaker.
//!
//! Each runs on a thread of its own, because the streams of some systems may not move
//! between threads. The callback of the system only copies between its buffer and a
//! lock-free ring; resampling and voice detection happen on our thread.
//!
//! A machine without a sound device gets an error that says so; nothing panics, and
//! what the system's libraries would write to standard error is dropped.

#[cfg(target_os = "linux")]
mod alsa;
mod microphone;
mod speaker;

pub use microphone::{CaptureEvent, Microphone};
pub use speaker::Speaker;

use crate::AudioError;
use cpal::traits::{DeviceTrait, HostTrait};
use std::time::Duration;

/// How long a device may take to open. Chosen: Bluetooth needs about two seconds.
const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// Length of one hardware period that is asked for: the shortest that works without
/// real-time rights on a loaded machine. Devices may give another one.
const PERIOD: Duration = Duration::from_millis(10);

/// A sound device of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The name that [`Microphone::open`] and [`Speaker::open`] take.
    pub name: String,
    /// What a person calls it.
    pub description: String,
    /// It can record.
    pub is_microphone: bool,
    /// It can play.
    pub is_speaker: bool,
    /// It records when no name is given.
    pub is_default_microphone: bool,
    /// It plays when no name is given.
    pub is_default_speaker: bool,
}

/// How long a device that is open may neither give nor take sound before it counts as
/// lost. Chosen: a system under load stalls for less, and not every driver says that a
/// device went away.
const STALLED: Duration = Duration::from_secs(5);

/// All sound devices that a person would choose from; none is no error. [`Microphone::open`]
/// and [`Speaker::open`] take the names of others too. Asks the system, which takes up to a
/// second.
#[must_use]
pub fn devices() -> Vec<DeviceInfo> {
    quiet();
    let host = cpal::default_host();
    let default_microphone = host.default_input_device().and_then(|device| name_of(&device));
    let default_speaker = host.default_output_device().and_then(|device| name_of(&device));
    let all = host.devices().into_iter().flatten();
    all.filter_map(|device| {
        let name = name_of(&device).filter(|name| !is_plumbing(name))?;
        Some(DeviceInfo {
            description: device.description().map_or_else(|_| name.clone(), |d| d.name().to_owned()),
            is_microphone: device.supports_input(),
            is_speaker: device.supports_output(),
            is_default_microphone: default_microphone.as_ref() == Some(&name),
            is_default_speaker: default_speaker.as_ref() == Some(&name),
            name,
        })
    })
    .collect()
}

/// Whether a name is a part of ALSA rather than a device: single channels of a card,
/// mixers, converters. A card has a dozen of them beside the one that works for everything.
fn is_plumbing(name: &str) -> bool {
    const PLUMBING: &[&str] = &[
        "center_lfe",
        "dmix",
        "dsnoop",
        "front",
        "hw",
        "iec958",
        "jack",
        "lavrate",
        "modem",
        "null",
        "oss",
        "phoneline",
        "rear",
        "samplerate",
        "side",
        "speex",
        "speexrate",
        "surround",
        "upmix",
        "usbstream",
        "vdownmix",
    ];
    let kind = name.split(':').next().unwrap_or(name).trim_end_matches(|c: char| c.is_ascii_digit());
    cfg!(target_os = "linux") && PLUMBING.contains(&kind)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Microphone,
    Speaker,
}

impl Direction {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Microphone => "microphone",
            Self::Speaker => "speaker",
        }
    }
}

/// A device with the way to open it.
struct Chosen {
    device: cpal::Device,
    name: String,
    format: cpal::SampleFormat,
    /// What to ask for, the best first.
    configs: [cpal::StreamConfig; 2],
}

/// The default device, or the one with this name.
fn choose(direction: Direction, name: Option<&str>) -> Result<Chosen, AudioError> {
    quiet();
    let host = cpal::default_host();
    let no_device = || AudioError::NoDevice {
        direction: direction.as_str(),
        name: name.map(str::to_owned),
        hint: match name {
            Some(_) => "`loqa doctor` lists the sound devices of this machine".to_owned(),
            None => "plug one in, or use a WAV file".to_owned(),
        },
    };
    let device = match (direction, name) {
        (Direction::Microphone, None) => host.default_input_device(),
        (Direction::Speaker, None) => host.default_output_device(),
        (_, Some(name)) => host.devices().ok().and_then(|mut all| {
            all.find(|device| {
                let fits =
                    name_of(device).as_deref() == Some(name) || device.description().is_ok_and(|d| d.name() == name);
                fits && match direction {
                    Direction::Microphone => device.supports_input(),
                    Direction::Speaker => device.supports_output(),
                }
            })
        }),
    };
    let device = device.ok_or_else(no_device)?;
    let name = name_of(&device).unwrap_or_else(|| "default".to_owned());
    let config = match direction {
        Direction::Microphone => device.default_input_config(),
        Direction::Speaker => device.default_output_config(),
    };
    let config = config.map_err(|error| match error.kind() {
        // The "default" of a system without sound hardware exists by name only.
        cpal::ErrorKind::DeviceNotAvailable | cpal::ErrorKind::HostUnavailable => no_device(),
        _ => device_error(direction, &name, &error),
    })?;
    let plain = config.config();
    let frames = f64::from(plain.sample_rate) * PERIOD.as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate over a hundred")]
    let frames = frames as u32;
    let short = match config.buffer_size() {
        cpal::SupportedBufferSize::Range { min, max } if min <= max => frames.clamp(*min, *max),
        _ => frames,
    };
    let short = cpal::StreamConfig { buffer_size: cpal::BufferSize::Fixed(short), ..plain };
    let plain = cpal::StreamConfig { buffer_size: cpal::BufferSize::Default, ..plain };
    Ok(Chosen { format: config.sample_format(), device, name, configs: [short, plain] })
}

fn name_of(device: &cpal::Device) -> Option<String> {
    device.id().ok().map(|id| id.id().to_owned())
}

fn device_error(direction: Direction, name: &str, error: &cpal::Error) -> AudioError {
    AudioError::Device { direction: direction.as_str(), name: name.to_owned(), reason: error.to_string() }
}

/// Whether the stream is over; what remains are glitches and news.
fn is_fatal(kind: cpal::ErrorKind) -> bool {
    !matches!(kind, cpal::ErrorKind::Xrun | cpal::ErrorKind::DeviceChanged | cpal::ErrorKind::RealtimeDenied)
}

/// Keeps the system's sound library from writing to standard error.
fn quiet() {
    #[cfg(target_os = "linux")]
    alsa::quiet();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Output;

    /// Holds on machines with and without sound.
    #[test]
    fn a_device_that_is_not_there_is_named_with_a_way_out() {
        let microphone = Microphone::open(Some("no such device"), |_| {}).unwrap_err();
        let speaker = Output::speaker(Some("no such device"), |_| {}).unwrap_err();
        for (error, direction) in [(microphone, "microphone"), (speaker, "speaker")] {
            assert_eq!(
                error.to_string(),
                format!(
                    "no {direction} was found with the name `no such device`: \
                     `loqa doctor` lists the sound devices of this machine"
                )
            );
            assert_eq!(error.code(), loqa_protocol::ErrorCode::EngineMissing);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_person_chooses_among_devices_and_not_among_parts_of_alsa() {
        for part in ["null", "hw:CARD=Mic,DEV=0", "surround51:CARD=PCH,DEV=0", "dsnoop:CARD=Mic,DEV=0"] {
            assert!(is_plumbing(part), "{part}");
        }
        for device in ["default", "pulse", "pipewire", "plughw:CARD=Mic,DEV=0", "sysdefault:CARD=Mic", "hdmi:CARD=PCH"]
        {
            assert!(!is_plumbing(device), "{device}");
        }
    }

    #[test]
    fn listing_devices_never_fails() {
        for device in devices() {
            assert!(!device.name.is_empty(), "{device:?}");
        }
    }
}
