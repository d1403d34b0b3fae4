//! `POST /v1/audio/speech`: a text as sound, sent while it is made.
//!
//! WAV and raw PCM only: there is no encoder of MP3, Opus, AAC or FLAC here. A WAV that
//! is sent while it is made cannot know its length; its header says so in the usual way.

use super::error::OpenAiError;
use super::{Place, Shared, body, models};
use crate::voices::{MAX_SPOKEN, clauses, voices};
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use loqa_hub::direct::{Speech, SpeechPiece};
use loqa_protocol::audio::{OUTPUT_SAMPLE_RATE, pcm_to_bytes};
use loqa_protocol::{ErrorCode, Failure, Hop};
use serde::Deserialize;
use std::sync::Arc;

/// Speeds that the voice has; OpenAI's go from 0.25 to 4.
const SPEEDS: std::ops::RangeInclusive<f32> = 0.5..=2.0;
/// OpenAI's own voices: programs that know only these get the configured one.
const FOREIGN_VOICES: &[&str] =
    &["alloy", "ash", "ballad", "coral", "echo", "fable", "onyx", "nova", "sage", "shimmer", "verse", "marin", "cedar"];

#[derive(Deserialize)]
struct Asked {
    model: String,
    input: String,
    voice: Option<Voice>,
    response_format: Option<String>,
    speed: Option<f32>,
    stream_format: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Voice {
    Name(String),
    Id { id: String },
}

pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    Extension(place): Extension<Place>,
    request: Request,
) -> Result<Response, OpenAiError> {
    let asked: Asked = body::json(request).await?;
    models::speaks(&shared.hub, &asked.model)?;
    let is_wav = match asked.response_format.as_deref() {
        None | Some("wav") => true,
        Some("pcm") => false,
        Some(_) => {
            return Err(OpenAiError::unsupported("response_format", "there are wav and pcm (24 kHz, mono, 16 bits)"));
        }
    };
    if asked.stream_format.as_deref().is_some_and(|format| format != "audio") {
        return Err(OpenAiError::unsupported("stream_format", "there is audio"));
    }
    let length = asked.input.chars().count();
    if length > MAX_SPOKEN {
        let message = format!("the text has {length} characters, at most {MAX_SPOKEN} are taken");
        return Err(OpenAiError::parameter("input", message));
    }
    let clauses = clauses(&asked.input);
    if clauses.is_empty() {
        return Err(OpenAiError::parameter("input", "there is nothing to pronounce"));
    }
    let config = shared.hub.config();
    let voice = voice_of(asked.voice, &voices(&shared.hub), config.text_if_set("tts.voice"))?;
    let speed = asked.speed.unwrap_or(config.number("tts.speed") as f32);
    if !SPEEDS.contains(&speed) {
        let message = format!("give a speed from {} to {}", SPEEDS.start(), SPEEDS.end());
        return Err(OpenAiError::parameter("speed", message));
    }

    let mut speech = shared.hub.speech(clauses, voice.as_deref(), speed)?;
    // The first sound decides whether the answer is an error.
    let first = next_sound(&mut speech).await?.ok_or_else(silent)?;
    let head = if is_wav { wav_header() } else { Vec::new() };
    let rest = stream::unfold((speech, place, false), |(mut speech, place, failed)| async move {
        if failed {
            return None;
        }
        match next_sound(&mut speech).await {
            Ok(Some(samples)) => Some((Ok(Bytes::from(pcm_to_bytes(&samples))), (speech, place, false))),
            Ok(None) => None,
            // The connection is cut, so that the client does not take a part for the whole.
            Err(failure) => Some((Err(failure), (speech, place, true))),
        }
    });
    let begin = stream::iter([Ok::<_, Failure>(Bytes::from([head, pcm_to_bytes(&first)].concat()))]);
    let kind = if is_wav { "audio/wav" } else { "audio/pcm" };
    let body = Body::from_stream(futures_util::StreamExt::chain(begin, rest));
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

async fn next_sound(speech: &mut Speech) -> Result<Option<Vec<i16>>, Failure> {
    loop {
        match speech.next().await? {
            SpeechPiece::Sound(samples) if !samples.is_empty() => return Ok(Some(samples)),
            SpeechPiece::Sound(_) | SpeechPiece::ClauseDone(_) => {}
            SpeechPiece::End => return Ok(None),
        }
    }
}

fn silent() -> Failure {
    Failure::new(Hop::Tts, ErrorCode::EngineFault, "the voice made no sound")
}

/// `None` is the engine's first voice.
fn voice_of(
    asked: Option<Voice>,
    there_are: &[String],
    configured: Option<&str>,
) -> Result<Option<String>, OpenAiError> {
    let name = match asked {
        None => return Ok(configured.map(str::to_owned)),
        Some(Voice::Name(name) | Voice::Id { id: name }) => name,
    };
    if there_are.contains(&name) {
        return Ok(Some(name));
    }
    if name == "default" || FOREIGN_VOICES.contains(&name.as_str()) {
        return Ok(configured.map(str::to_owned));
    }
    let message = format!("there is no such voice; there are: default, {}", there_are.join(", "));
    Err(OpenAiError::parameter("voice", message))
}

/// The header of a WAV whose length is not known: 24 kHz, mono, 16 bits.
fn wav_header() -> Vec<u8> {
    let mut header = Vec::with_capacity(44);
    header.extend_from_slice(b"RIFF\xff\xff\xff\xffWAVEfmt ");
    header.extend_from_slice(&16_u32.to_le_bytes());
    header.extend_from_slice(&1_u16.to_le_bytes());
    header.extend_from_slice(&1_u16.to_le_bytes());
    header.extend_from_slice(&OUTPUT_SAMPLE_RATE.to_le_bytes());
    header.extend_from_slice(&(OUTPUT_SAMPLE_RATE * 2).to_le_bytes());
    header.extend_from_slice(&2_u16.to_le_bytes());
    header.extend_from_slice(&16_u16.to_le_bytes());
    header.extend_from_slice(b"data\xff\xff\xff\xff");
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_read_by_our_own_reader() {
        let samples: Vec<i16> = (0..24_000).map(|i| (i % 100) as i16 * 100).collect();
        let bytes = [wav_header(), pcm_to_bytes(&samples)].concat();
        assert_eq!(loqa_audio::wav::read_speech_bytes(&bytes, "x").unwrap().len(), 16_000);
    }

    #[test]
    fn voices_are_ours_or_stand_for_the_configured_one() {
        let ours = ["slt".to_owned()];
        let of = |name: &str| voice_of(Some(Voice::Name(name.to_owned())), &ours, Some("bdl"));
        assert_eq!(of("slt").unwrap().as_deref(), Some("slt"));
        assert_eq!(of("alloy").unwrap().as_deref(), Some("bdl"));
        assert_eq!(of("default").unwrap().as_deref(), Some("bdl"));
        assert!(of("nobody").is_err());
        assert_eq!(voice_of(None, &ours, None).unwrap(), None);
    }
}
