//! One connection: reads an event, does what it asks, answers, reads the next one.
//!
//! A fault of what was asked is answered with an `error` event and the connection goes on;
//! bytes that are no event end it.

use super::codec::{self, Event, FrameError};
use super::{PROGRAM, info};
use crate::utterance::{PcmFormat, PcmReader, Utterance};
use crate::voices::{MAX_SPOKEN, clauses, voices};
use loqa_hub::Hub;
use loqa_hub::direct::SpeechPiece;
use loqa_protocol::audio::{OUTPUT_SAMPLE_RATE, pcm_to_bytes};
use loqa_protocol::stt::SttFinal;
use loqa_protocol::{ErrorCode, Failure, Hop, SessionId};
use loqa_turn::clause::ClauseCutter;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;

/// Longest silence between two events. Chosen: a person thinks, a language model writes.
const IDLE: Duration = Duration::from_mins(2);
/// Longest time from the first byte of an event to its last. Chosen: loopback takes a millisecond.
const EVENT_TIME: Duration = Duration::from_secs(10);
/// Longest time in which a client takes an event off. Chosen: it may play while it reads.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// A client and what it is in the middle of.
pub(super) struct Connection {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    hub: Arc<Hub>,
    /// Language that the next recording is in, if one was named.
    language: Option<String>,
    recording: Option<Recording>,
    speaking: Option<Speaking>,
}

/// Sound that is coming in while a recogniser works on it.
struct Recording {
    pcm: PcmReader,
    utterance: Utterance,
    /// One task, which ends with the recording.
    transcript: JoinSet<Result<SttFinal, Failure>>,
}

/// A text that is coming in while a voice speaks it.
struct Speaking {
    voice: Option<String>,
    cutter: ClauseCutter,
    n_chars: usize,
    has_begun: bool,
}

/// Why nothing more is read.
enum Over {
    /// The client went away, or is too slow.
    Gone,
    /// Its bytes are no events.
    Frame(FrameError),
}

/// What an event led to.
enum Fault {
    /// The client is told, and may go on.
    Refused(Failure),
    /// Nobody is there to be told.
    Gone,
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

impl Connection {
    pub(super) fn new(stream: TcpStream, hub: Arc<Hub>) -> Self {
        let (reader, writer) = stream.into_split();
        Self { reader: BufReader::new(reader), writer, hub, language: None, recording: None, speaking: None }
    }

    /// Serves the client to its end.
    pub(super) async fn run(mut self) {
        loop {
            let event = match self.read().await {
                Ok(event) => event,
                Err(Over::Gone) => return,
                Err(Over::Frame(error)) => {
                    let failure = Failure::new(Hop::Input, ErrorCode::BadRequest, error.to_string());
                    let _gone = self.refuse(&failure).await;
                    return;
                }
            };
            match self.handle(event).await {
                Ok(()) => {}
                Err(Fault::Refused(failure)) => {
                    tracing::debug!(code = %failure.code, "a Wyoming client was refused");
                    if self.refuse(&failure).await.is_err() {
                        return;
                    }
                }
                Err(Fault::Gone) => return,
            }
        }
    }

    async fn read(&mut self) -> Result<Event, Over> {
        match tokio::time::timeout(IDLE, self.reader.fill_buf()).await {
            Ok(Ok(bytes)) if !bytes.is_empty() => {}
            Ok(_) | Err(_) => return Err(Over::Gone),
        }
        match tokio::time::timeout(EVENT_TIME, codec::read(&mut self.reader)).await {
            Ok(Ok(Some(event))) => Ok(event),
            Ok(Ok(None)) | Ok(Err(FrameError::Io(_))) | Err(_) => Err(Over::Gone),
            Ok(Err(error)) => Err(Over::Frame(error)),
        }
    }

    async fn write(&mut self, event: &Event) -> Result<(), Fault> {
        let bytes = event.encode();
        match tokio::time::timeout(WRITE_TIME, self.writer.write_all(&bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Fault::Gone),
        }
    }

    async fn refuse(&mut self, failure: &Failure) -> Result<(), Fault> {
        self.write(&Event::new("error", json!({"text": failure.message, "code": failure.code}))).await
    }

    async fn handle(&mut self, event: Event) -> Result<(), Fault> {
        match event.kind.as_str() {
            "describe" => {
                let info = info::info(&self.hub);
                self.write(&info).await
            }
            "ping" => self.write(&Event::new("pong", json!({"text": event.text("text")}))).await,
            "transcribe" => {
                self.recording = None;
                self.language = event.text("language").filter(|language| !language.is_empty()).map(str::to_owned);
                Ok(())
            }
            "audio-start" => {
                self.recording = None;
                self.begin_recording(&event)
            }
            "audio-chunk" => self.take_sound(&event),
            "audio-stop" => self.end_recording().await,
            // Sent once more in full for servers that know no streaming.
            "synthesize" if self.speaking.is_some() => Ok(()),
            "synthesize" => self.speak_whole(&event).await,
            "synthesize-start" => {
                let voice = self.voice_of(&event)?;
                let cutter = ClauseCutter::default();
                self.speaking = Some(Speaking { voice, cutter, n_chars: 0, has_begun: false });
                Ok(())
            }
            "synthesize-chunk" => self.speak_more(text_of(&event)?).await,
            "synthesize-stop" => self.speak_rest().await,
            "transcript" => self.answer(&event).await,
            // The protocol asks servers to pass over what they do not know.
            _ => Ok(()),
        }
    }

    fn begin_recording(&mut self, event: &Event) -> Result<(), Fault> {
        let pcm = PcmReader::new(format_of(event)?)?;
        let (utterance, audio) = Utterance::new();
        let hub = Arc::clone(&self.hub);
        let language = self.language.clone().unwrap_or_else(|| hub.config().text("stt.language").to_owned());
        let mut transcript = JoinSet::new();
        transcript.spawn(async move { hub.transcribe(audio, &language).await });
        self.recording = Some(Recording { pcm, utterance, transcript });
        Ok(())
    }

    fn take_sound(&mut self, event: &Event) -> Result<(), Fault> {
        let format = format_of(event)?;
        if self.recording.is_none() {
            // Sound without a beginning, or after a fault that was told: nobody waits for it.
            return Ok(());
        }
        let taken = self.recording.as_mut().map_or(Ok(()), |recording| {
            if recording.pcm.format() != format {
                let message = "the sound changes its format on the way";
                return Err(Failure::new(Hop::Input, ErrorCode::BadAudio, message));
            }
            let samples = recording.pcm.push(&event.payload);
            recording.utterance.push(&samples)
        });
        if taken.is_err() {
            self.recording = None;
        }
        Ok(taken?)
    }

    async fn end_recording(&mut self) -> Result<(), Fault> {
        let Some(Recording { pcm, mut utterance, mut transcript }) = self.recording.take() else {
            return Err(wrong("there is no recording to end: send `audio-start` first").into());
        };
        let rest = pcm.finish();
        utterance.push(&rest)?;
        utterance.end();
        let heard = match transcript.join_next().await {
            Some(Ok(heard)) => heard?,
            Some(Err(_)) | None => {
                return Err(Failure::new(Hop::Stt, ErrorCode::EngineLost, "the recogniser's task ended").into());
            }
        };
        let language = self.language.take();
        self.write(&Event::new("transcript", json!({"text": heard.text, "language": language}))).await
    }

    async fn speak_whole(&mut self, event: &Event) -> Result<(), Fault> {
        let text = text_of(event)?;
        fits(text.chars().count())?;
        let voice = self.voice_of(event)?;
        let clauses = clauses(text);
        if clauses.is_empty() {
            return Err(Failure::new(Hop::Tts, ErrorCode::BadRequest, "there is nothing to pronounce").into());
        }
        if self.speak(clauses, voice, false).await? {
            return self.write(&Event::new("audio-stop", json!({"timestamp": null}))).await;
        }
        Err(Failure::new(Hop::Tts, ErrorCode::EngineFault, "the voice made no sound").into())
    }

    async fn speak_more(&mut self, text: &str) -> Result<(), Fault> {
        let Some(speaking) = &mut self.speaking else {
            return Err(wrong("send `synthesize-start` before `synthesize-chunk`").into());
        };
        speaking.n_chars += text.chars().count();
        if let Err(failure) = fits(speaking.n_chars) {
            self.speaking = None;
            return Err(failure.into());
        }
        let clauses = speaking.cutter.push(text);
        self.speak_streamed(clauses).await
    }

    async fn speak_rest(&mut self) -> Result<(), Fault> {
        let Some(speaking) = &mut self.speaking else {
            return Err(wrong("send `synthesize-start` before `synthesize-stop`").into());
        };
        let rest = speaking.cutter.finish().into_iter().collect();
        self.speak_streamed(rest).await?;
        if self.speaking.take().is_some_and(|speaking| speaking.has_begun) {
            self.write(&Event::new("audio-stop", json!({"timestamp": null}))).await?;
        }
        self.write(&Event::new("synthesize-stopped", Value::Null)).await
    }

    async fn speak_streamed(&mut self, clauses: Vec<String>) -> Result<(), Fault> {
        let Some(speaking) = &mut self.speaking else { return Ok(()) };
        if clauses.is_empty() {
            return Ok(());
        }
        let (voice, has_begun) = (speaking.voice.clone(), speaking.has_begun);
        let spoken = self.speak(clauses, voice, has_begun).await;
        match (&spoken, &mut self.speaking) {
            (Ok(has_begun), Some(speaking)) => speaking.has_begun = *has_begun,
            (Ok(_), None) | (Err(_), _) => self.speaking = None,
        }
        spoken.map(|_| ())
    }

    /// Sends the sound of these clauses, and what goes before the first sound of all; says
    /// whether there was any.
    async fn speak(&mut self, clauses: Vec<String>, voice: Option<String>, mut has_begun: bool) -> Result<bool, Fault> {
        let speed = self.hub.config().number("tts.speed") as f32;
        let mut speech = self.hub.speech(clauses, voice.as_deref(), speed)?;
        loop {
            match speech.next().await? {
                SpeechPiece::Sound(samples) if !samples.is_empty() => {
                    if !std::mem::replace(&mut has_begun, true) {
                        self.write(&audio_start()).await?;
                    }
                    let format = json!({"rate": OUTPUT_SAMPLE_RATE, "width": 2, "channels": 1, "timestamp": null});
                    self.write(&Event::new("audio-chunk", format).with_payload(pcm_to_bytes(&samples))).await?;
                }
                SpeechPiece::Sound(_) | SpeechPiece::ClauseDone(_) => {}
                SpeechPiece::End => return Ok(has_begun),
            }
        }
    }

    /// The voice that an event asks for by name; `None` is the engine's first.
    fn voice_of(&self, event: &Event) -> Result<Option<String>, Failure> {
        if let Some(format) = event.text("text_format").filter(|format| *format != "text") {
            let shown: String = format.chars().take(16).collect();
            return Err(wrong(&format!("texts of format `{shown}` are not spoken: send plain text")));
        }
        let configured = || self.hub.config().text_if_set("tts.voice").map(str::to_owned);
        let name = event.data.get("voice").and_then(|voice| voice.get("name")).and_then(Value::as_str);
        match name {
            None | Some("default") => Ok(configured()),
            Some(name) => {
                let there_are = voices(&self.hub);
                if there_are.iter().any(|voice| voice == name) {
                    return Ok(Some(name.to_owned()));
                }
                Err(wrong(&format!("there is no such voice; there are: {}", there_are.join(", "))))
            }
        }
    }

    /// A sentence becomes a turn; its answer is `handled`, its failure `not-handled`.
    async fn answer(&mut self, event: &Event) -> Result<(), Fault> {
        let text = text_of(event)?.to_owned();
        let context = event.data.get("context").cloned();
        let session = session_of(context.as_ref());
        let running = self.hub.ask_for(PROGRAM, session, text).await;
        let report = running
            .report()
            .await
            .map_err(|_| Failure::new(Hop::Hub, ErrorCode::ShuttingDown, "the hub is stopping"))?;
        let (kind, text) = match report.failure {
            None => ("handled", report.reply),
            Some(failure) if report.reply.is_empty() => ("not-handled", failure.message),
            Some(_) => ("not-handled", report.reply),
        };
        let mut answer = json!({"text": text});
        if let (Some(context), Some(answer)) = (context, answer.as_object_mut()) {
            answer.insert("context".to_owned(), context);
        }
        self.write(&Event::new(kind, answer)).await
    }
}

/// A conversation that the client names goes on; without a name every sentence begins one.
fn session_of(context: Option<&Value>) -> SessionId {
    let name = context.and_then(|context| context.get("conversation_id")).and_then(Value::as_str);
    let bits = name.map_or_else(rand::random, |name| {
        let digest = Sha256::digest(format!("{PROGRAM}:{name}"));
        let (first, _) = digest.split_first_chunk::<8>().map_or((&[0; 8], &[][..]), |it| it);
        u64::from_be_bytes(*first)
    });
    SessionId::from_bits(bits)
}

fn format_of(event: &Event) -> Result<PcmFormat, Failure> {
    let number = |field: &str| {
        let value = event.data.get(field).and_then(Value::as_u64);
        value.ok_or_else(|| wrong(&format!("`{}` has no whole number `{field}`", event.kind)))
    };
    PcmFormat::new(number("rate")?, number("width")?, number("channels")?)
}

fn text_of(event: &Event) -> Result<&str, Failure> {
    event.text("text").ok_or_else(|| wrong(&format!("`{}` has no text", event.kind)))
}

fn fits(n_chars: usize) -> Result<(), Failure> {
    let message = || format!("the text has more than {MAX_SPOKEN} characters");
    if n_chars > MAX_SPOKEN { Err(Failure::new(Hop::Tts, ErrorCode::TextTooLong, message())) } else { Ok(()) }
}

fn audio_start() -> Event {
    Event::new("audio-start", json!({"rate": OUTPUT_SAMPLE_RATE, "width": 2, "channels": 1, "timestamp": null}))
}

fn wrong(message: &str) -> Failure {
    Failure::new(Hop::Input, ErrorCode::BadRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_that_has_a_name_is_one_session() {
        let of = |name: &str| session_of(Some(&json!({"conversation_id": name})));
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a"), of("b"));
        assert_ne!(session_of(None), session_of(None), "nobody hears what another one said");
        assert_ne!(session_of(Some(&json!({}))), session_of(Some(&json!({"conversation_id": 7}))));
    }
}
