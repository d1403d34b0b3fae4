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
    /// It is used when no name is given.
    pub is_default: bool,
}

/// All sound devices; none is no error.
#[must_use]
pub fn devices() -> Vec<DeviceInfo> {
    quiet();
    let host = cpal::default_host();
    let defaults: Vec<String> = [host.default_input_device(), host.default_output_device()]
        .into_iter()
        .flatten()
        .filter_map(|device| name_of(&device))
        .collect();
    let all = host.devices().into_iter().flatten();
    all.filter_map(|device| {
        let name = name_of(&device)?;
        Some(DeviceInfo {
            description: device.description().map_or_else(|_| name.clone(), |d| d.name().to_owned()),
            is_microphone: device.supports_input(),
            is_speaker: device.supports_output(),
            is_default: defaults.contains(&name),
            name,
        })
    })
    .collect()
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

    #[test]
    fn listing_devices_never_fails() {
        for device in devices() {
            assert!(!device.name.is_empty(), "{device:?}");
        }
    }
}
