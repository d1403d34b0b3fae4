//! `POST /v1/audio/transcriptions`: the text of a WAV file.
//!
//! The recogniser gives one text for the whole recording and no times within it: subtitles
//! have one cue, and what asks for words or segments is refused.

use super::error::OpenAiError;
use super::{Shared, body, models};
use crate::utterance::{self, Utterance};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use loqa_audio::wav;
use loqa_protocol::stt::SttFinal;
use loqa_protocol::{ErrorCode, Failure, Hop};
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;

/// Longest list of words to expect, in characters. Chosen: the recogniser uses a few dozen words.
const MAX_PROMPT: usize = 2_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Text,
    VerboseJson,
    Srt,
    Vtt,
}

/// A request that can be answered.
struct Asked {
    file_name: String,
    file: axum::body::Bytes,
    language: Option<String>,
    prompt: String,
    format: Format,
    stream: bool,
}

pub(super) async fn create(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, OpenAiError> {
    let asked = read(&shared, body::form(request).await?)?;
    let language = asked.language.clone().unwrap_or_else(|| shared.hub.config().text("stt.language").to_owned());
    let (mut utterance, audio) = Utterance::new();
    let (file, name) = (asked.file, asked.file_name);
    tokio::task::spawn_blocking(move || -> Result<(), Failure> {
        let samples = wav::read_speech_bytes(&file, &name).map_err(|error| utterance::failure(&error))?;
        utterance.push(&samples)?;
        utterance.end();
        Ok(())
    })
    .await
    .map_err(|_| Failure::new(Hop::Input, ErrorCode::BadAudio, "the file cannot be read"))??;
    let heard = shared.hub.transcribe_expecting(audio, &language, &asked.prompt).await?;
    Ok(if asked.stream { streamed(&heard) } else { answer(asked.format, &heard, &language) })
}

fn read(shared: &Shared, fields: Vec<body::Field>) -> Result<Asked, OpenAiError> {
    let mut file = None;
    let (mut model, mut language, mut prompt, mut format, mut stream) =
        (None, None, String::new(), Format::Json, false);
    for field in fields {
        match field.name.as_str() {
            "file" if file.is_some() => return Err(OpenAiError::parameter("file", "send one file")),
            "file" => {
                let name = field.file_name.clone().filter(|name| !name.is_empty()).unwrap_or("file".to_owned());
                file = Some((name.chars().filter(|c| !c.is_control()).take(80).collect(), field.value));
            }
            "model" => model = Some(field.text()?),
            "language" => language = Some(field.text()?).filter(|language| !language.is_empty()),
            "prompt" => prompt = field.text()?,
            "response_format" => format = format_of(&field.text()?)?,
            "stream" => stream = matches!(field.text()?.as_str(), "true" | "True" | "1"),
            // The recogniser always takes the likeliest words, which is what 0 asks for.
            "temperature" => match field.text()?.parse::<f64>() {
                Ok(degree) if (0.0..=1.0).contains(&degree) => {}
                _ => return Err(OpenAiError::parameter("temperature", "give a number from 0 to 1")),
            },
            "timestamp_granularities" | "timestamp_granularities[]" => {
                let message = "the recogniser tells no times within a recording";
                return Err(OpenAiError::unsupported("timestamp_granularities", message));
            }
            "include" | "include[]" => {
                return Err(OpenAiError::unsupported("include", "the recogniser tells no probabilities of words"));
            }
            "known_speaker_names[]"
            | "known_speaker_references[]"
            | "known_speaker_names"
            | "known_speaker_references" => {
                return Err(OpenAiError::unsupported("known_speaker_names", "the recogniser knows no speakers"));
            }
            _ => {}
        }
    }
    models::hears(
        &shared.hub,
        &model.ok_or_else(|| OpenAiError::parameter("model", "name a model, for example `loqa`"))?,
    )?;
    if prompt.chars().count() > MAX_PROMPT {
        return Err(OpenAiError::parameter("prompt", format!("at most {MAX_PROMPT} characters are taken")));
    }
    let (file_name, file) = file.ok_or_else(|| OpenAiError::parameter("file", "send a WAV file as `file`"))?;
    Ok(Asked { file_name, file, language, prompt, format, stream })
}

fn format_of(text: &str) -> Result<Format, OpenAiError> {
    Ok(match text {
        "json" => Format::Json,
        "text" => Format::Text,
        "verbose_json" => Format::VerboseJson,
        "srt" => Format::Srt,
        "vtt" => Format::Vtt,
        _ => {
            let message = "there are json, text, verbose_json, srt and vtt";
            return Err(OpenAiError::unsupported("response_format", message));
        }
    })
}

fn answer(format: Format, heard: &SttFinal, language: &str) -> Response {
    let seconds = heard.audio_ms as f64 / 1000.0;
    let usage = json!({"type": "duration", "seconds": seconds});
    let text = &heard.text;
    match format {
        Format::Json => Json(json!({"text": text, "usage": usage})).into_response(),
        Format::VerboseJson => Json(json!({
            "task": "transcribe", "language": language, "duration": seconds, "text": text, "usage": usage,
        }))
        .into_response(),
        Format::Text => plain("text/plain; charset=utf-8", format!("{text}\n")),
        Format::Srt => plain("application/x-subrip; charset=utf-8", srt(text, heard.audio_ms)),
        Format::Vtt => plain("text/vtt; charset=utf-8", vtt(text, heard.audio_ms)),
    }
}

fn plain(kind: &'static str, text: String) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

fn srt(text: &str, end_ms: u64) -> String {
    let cue = || format!("1\n00:00:00,000 --> {}\n{text}\n\n", clock(end_ms, ','));
    if text.is_empty() { String::new() } else { cue() }
}

fn vtt(text: &str, end_ms: u64) -> String {
    let cue = || format!("00:00:00.000 --> {}\n{text}\n\n", clock(end_ms, '.'));
    format!("WEBVTT\n\n{}", if text.is_empty() { String::new() } else { cue() })
}

fn clock(ms: u64, point: char) -> String {
    let (seconds, minutes) = (ms / 1000 % 60, ms / 60_000 % 60);
    format!("{:02}:{minutes:02}:{seconds:02}{point}{:03}", ms / 3_600_000, ms % 1000)
}

/// The text is known at once, so it comes in one piece.
fn streamed(heard: &SttFinal) -> Response {
    let events = [
        json!({"type": "transcript.text.delta", "delta": heard.text}),
        json!({"type": "transcript.text.done", "text": heard.text}),
    ];
    let events = events.map(|event| Ok::<_, Infallible>(Event::default().data(event.to_string())));
    Sse::new(stream::iter(events)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtitles_have_one_cue_over_the_whole_recording() {
        assert_eq!(srt("hello", 3_723_004), "1\n00:00:00,000 --> 01:02:03,004\nhello\n\n");
        assert_eq!(vtt("hello", 2_500), "WEBVTT\n\n00:00:00.000 --> 00:00:02.500\nhello\n\n");
        assert_eq!((srt("", 5), vtt("", 5)), (String::new(), "WEBVTT\n\n".to_owned()), "silence has no cue");
    }
}
