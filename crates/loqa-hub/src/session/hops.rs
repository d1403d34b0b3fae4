//! One task per hop: asks an engine on the bus, passes on what it answers, and
//! asks once more when the engine or the bus went away before it answered.
//!
//! The tasks decide nothing about the turn: deadlines, fallback and order are the
//! state machine's. A task that is dropped leaves a cancel for its engine behind.

use crate::audit::{Leaving, Outside};
use crate::registry::Registry;
use crate::session::{Pins, VoiceInput};
use bytes::Bytes;
use loqa_audit::Status;
use loqa_bus::{Bus, BusError, Message, ReplyStream, ServerState};
use loqa_protocol::engine::{Control, ControlAnswer};
use loqa_protocol::llm::{LlmDone, LlmReply, LlmRequest};
use loqa_protocol::stt::{SttFinal, SttReply, SttRequest};
use loqa_protocol::tts::{TtsDone, TtsReply, TtsRequest};
use loqa_protocol::{ErrorCode, Failure, Hop, InstanceId, PrivacyScope, ToolCall, WorkId, audio, header, subject};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// What a hop's task tells the driver.
#[derive(Debug)]
pub enum HopEvent {
    /// Heard so far.
    Partial(String),
    /// The transcript, and when the end of the audio went out.
    Heard { heard: SttFinal, end_sent: Instant, at: Instant },
    /// More reply text.
    Delta { text: String, at: Instant },
    /// The model calls a tool.
    ModelToolCall { call: ToolCall, confidence: f32, at: Instant },
    /// The model is done.
    ReplyDone(LlmDone),
    /// Sound of a clause.
    Chunk { samples: Vec<i16>, at: Instant },
    /// All sound of a clause has come.
    ClauseDone { clause: u32, done: TtsDone },
    /// The hop failed for good.
    Failed(Failure),
}

/// What every hop needs.
#[derive(Clone)]
pub struct Reach {
    /// The hub's bus client.
    pub bus: Bus,
    /// Who lives.
    pub registry: Registry,
    /// Whether the bus lives.
    pub server: watch::Receiver<ServerState>,
    /// The workers of this session.
    pub pins: Pins,
    /// Records what goes to a server outside.
    pub outside: Arc<Outside>,
    /// How long what is asked may be remembered; told to every engine.
    pub scope: PrivacyScope,
}

/// A running hop; dropping it stops the task and cancels the work.
pub struct Running {
    task: tokio::task::JoinHandle<()>,
    cancel: CancelOnDrop,
}

impl Running {
    /// The hop ended by itself; nothing is left to cancel.
    pub fn finished(mut self) {
        self.cancel.armed = false;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where a hop's work runs, told by the task, used by the cancel.
type Worker = watch::Sender<Option<(InstanceId, WorkId)>>;

struct CancelOnDrop {
    bus: Bus,
    worker: watch::Receiver<Option<(InstanceId, WorkId)>>,
    armed: bool,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let Some((instance, work)) = self.worker.borrow().clone().filter(|_| self.armed) else { return };
        let bus = self.bus.clone();
        tokio::spawn(async move {
            let order = Control::Cancel { work };
            let answer: Result<ControlAnswer, BusError> =
                bus.request(&subject::engine_control(&instance), &order, CANCEL_PATIENCE).await;
            tracing::debug!(?answer, "cancel");
        });
    }
}

/// An engine acknowledges a cancel within 50 ms; ten times that on a busy machine.
const CANCEL_PATIENCE: Duration = Duration::from_millis(500);
/// A worker takes a request as soon as it reads it, whatever else it does; a busy
/// machine needs a fraction of this.
const ACCEPT_PATIENCE: Duration = Duration::from_secs(1);
/// Longest silence within a reply stream. The machine's deadlines are shorter; this
/// bounds the task itself.
const STREAM_PATIENCE: Duration = Duration::from_mins(10);
/// How long a hop waits for an engine to come back before it gives up. Chosen: a
/// starter engine is back within 300 ms, the machine's deadlines end it earlier.
const COMEBACK_PATIENCE: Duration = Duration::from_secs(10);
/// Pause before a request is sent again when nobody listens yet.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// How often a hop is asked again. Chosen: one crash of the engine and one of the bus;
/// the many short waits for an engine that is not subscribed yet are counted apart.
#[derive(Default)]
struct Retries {
    losses: u32,
    nobody: u32,
}

impl Retries {
    const MAX_LOSSES: u32 = 2;
    const MAX_NOBODY: u32 = 200;

    fn allows(&mut self, failure: &Failure) -> bool {
        let (count, limit) = match failure.code {
            // One that ends refuses what still reaches it; its successor is there already or comes soon.
            ErrorCode::EngineMissing | ErrorCode::ShuttingDown => (&mut self.nobody, Self::MAX_NOBODY),
            _ => (&mut self.losses, Self::MAX_LOSSES),
        };
        *count += 1;
        *count <= limit
    }
}

/// Why an attempt ended.
enum Ended {
    /// The engine said why; asking again would not help.
    Refused(Failure),
    /// Engine or bus went away.
    Lost(Failure),
}

fn lost(hop: Hop, code: ErrorCode, message: &str) -> Ended {
    Ended::Lost(Failure::new(hop, code, message))
}

impl Reach {
    /// Runs the recogniser over the frames of `audio`.
    pub fn listen(
        &self,
        capability: String,
        request: SttRequest,
        audio: mpsc::Receiver<VoiceInput>,
        events: mpsc::Sender<(u32, HopEvent)>,
        run: u32,
    ) -> Running {
        self.spawn(tracing::info_span!("stt", capability = %capability), move |reach, worker| async move {
            let mut utterance = Utterance { audio, frames: Vec::new(), samples: 0, end: None };
            let mut retries = Retries::default();
            let event = loop {
                match reach.listen_once(&capability, &request, &mut utterance, &worker, &events, run).await {
                    Ok((heard, end_sent)) => break HopEvent::Heard { heard, end_sent, at: Instant::now() },
                    Err(Ended::Lost(failure)) if retries.allows(&failure) => {
                        tracing::info!(%failure, "listening again");
                        reach.comeback(&capability).await;
                    }
                    Err(Ended::Refused(failure) | Ended::Lost(failure)) => break HopEvent::Failed(failure),
                }
            };
            let _ = events.send((run, event)).await;
        })
    }

    async fn listen_once(
        &self,
        capability: &str,
        request: &SttRequest,
        utterance: &mut Utterance,
        worker: &Worker,
        events: &mpsc::Sender<(u32, HopEvent)>,
        run: u32,
    ) -> Result<(SttFinal, Instant), Ended> {
        // Frames wait in their channel until a worker has taken the work.
        let (mut stream, instance) = self
            .open(Hop::Stt, capability, request, &request.work, worker, |reply| match reply {
                SttReply::Accepted { instance } => Ok(instance),
                SttReply::Failed { failure } => Err(ended(failure)),
                SttReply::Partial { .. } | SttReply::Final(_) => Err(confused(Hop::Stt)),
            })
            .await?;
        let audio_subject = subject::audio(&instance, &request.work);
        let mut sent = 0;
        let mut end_sent = None;
        loop {
            while sent < utterance.frames.len() {
                let (samples, voiced) = &utterance.frames[sent];
                let headers = [
                    (header::SEQ, &*sent.to_string()),
                    (header::VOICED, if *voiced { "1" } else { "0" }),
                    (header::PRIVACY, self.scope.as_str()),
                ];
                self.publish(&audio_subject, &headers, audio::pcm_to_bytes(samples)).await?;
                sent += 1;
            }
            if utterance.end.is_some() && end_sent.is_none() {
                end_sent = Some(Instant::now());
                let total = utterance.samples.to_string();
                self.publish(&audio_subject, &[(header::END, &total)], Vec::new()).await?;
            }
            tokio::select! {
                biased;
                message = stream.next(STREAM_PATIENCE) => match read::<SttReply>(Hop::Stt, message)? {
                    SttReply::Accepted { .. } => {}
                    SttReply::Partial { text, .. } => {
                        let _ = events.send((run, HopEvent::Partial(text))).await;
                    }
                    SttReply::Final(heard) => {
                        let Some(end_sent) = end_sent else { return Err(confused(Hop::Stt)) };
                        return Ok((heard, end_sent));
                    }
                    SttReply::Failed { failure } => return Err(ended(failure)),
                },
                () = self.registry.lost(&instance) => {
                    return Err(lost(Hop::Stt, ErrorCode::EngineLost, "the recogniser went away"));
                }
                () = self.bus_lost() => return Err(lost(Hop::Stt, ErrorCode::BusUnavailable, "the bus went away")),
                more = utterance.audio.recv(), if utterance.end.is_none() => utterance.take(more)?,
            }
        }
    }

    /// Asks a language model.
    pub fn reply(
        &self,
        capability: String,
        request: LlmRequest,
        events: mpsc::Sender<(u32, HopEvent)>,
        run: u32,
    ) -> Running {
        self.spawn(tracing::info_span!("llm", capability = %capability), move |reach, worker| async move {
            let mut retries = Retries::default();
            loop {
                let mut delivered = false;
                match reach.reply_recorded(&capability, &request, &worker, &events, run, &mut delivered).await {
                    Ok(done) => {
                        let _ = events.send((run, HopEvent::ReplyDone(done))).await;
                        return;
                    }
                    // Once words were said they cannot be unsaid.
                    Err(Ended::Lost(failure)) if !delivered && retries.allows(&failure) => {
                        tracing::info!(%failure, "asking again");
                        reach.comeback(&capability).await;
                    }
                    Err(Ended::Refused(failure) | Ended::Lost(failure)) => {
                        let _ = events.send((run, HopEvent::Failed(failure))).await;
                        return;
                    }
                }
            }
        })
    }

    /// Asks once; what leaves the machine by it is on record before it leaves.
    async fn reply_recorded(
        &self,
        capability: &str,
        request: &LlmRequest,
        worker: &Worker,
        events: &mpsc::Sender<(u32, HopEvent)>,
        run: u32,
        delivered: &mut bool,
    ) -> Result<LlmDone, Ended> {
        let mut leaving = self.leaving(capability, request).await.map_err(Ended::Refused)?;
        let result = self.reply_once(capability, request, worker, events, run, delivered, leaving.as_mut()).await;
        if let Some(leaving) = &mut leaving {
            leaving.ended(if result.is_ok() { Status::Ok } else { Status::Error });
        }
        result
    }

    async fn leaving(&self, capability: &str, request: &LlmRequest) -> Result<Option<Leaving>, Failure> {
        // A model on this machine is asked at once: between speech and sound every copy and thread counts.
        if !self.outside.goes_out(capability) {
            return Ok(None);
        }
        let (outside, capability, request) = (Arc::clone(&self.outside), capability.to_owned(), request.clone());
        // Waits for the disk.
        tokio::task::spawn_blocking(move || outside.leaving(&capability, &request))
            .await
            .unwrap_or_else(|e| Err(Failure::new(Hop::Llm, ErrorCode::StorageFault, e.to_string())))
    }

    #[expect(clippy::too_many_arguments, reason = "one private place where a reply is put together")]
    async fn reply_once(
        &self,
        capability: &str,
        request: &LlmRequest,
        worker: &Worker,
        events: &mpsc::Sender<(u32, HopEvent)>,
        run: u32,
        delivered: &mut bool,
        leaving: Option<&mut Leaving>,
    ) -> Result<LlmDone, Ended> {
        let (mut stream, _) = self
            .open(Hop::Llm, capability, request, &request.work, worker, |reply| match reply {
                LlmReply::Accepted { instance } => Ok(instance),
                LlmReply::Failed { failure } => Err(ended(failure)),
                LlmReply::Delta { .. } | LlmReply::ToolCall { .. } | LlmReply::Done(_) => Err(confused(Hop::Llm)),
            })
            .await?;
        if let Some(leaving) = leaving {
            leaving.sent();
        }
        loop {
            let message = self.next(Hop::Llm, &mut stream, worker).await?;
            let at = Instant::now();
            let event = match read::<LlmReply>(Hop::Llm, Ok(message))? {
                LlmReply::Accepted { .. } => continue,
                LlmReply::Delta { text } => HopEvent::Delta { text, at },
                LlmReply::ToolCall { call, confidence } => HopEvent::ModelToolCall { call, confidence, at },
                LlmReply::Done(done) => return Ok(done),
                LlmReply::Failed { failure } => return Err(ended(failure)),
            };
            *delivered = true;
            let _ = events.send((run, event)).await;
        }
    }

    /// Speaks clauses one after the other, as they come.
    pub fn speak(
        &self,
        capability: String,
        mut clauses: mpsc::Receiver<(u32, TtsRequest)>,
        events: mpsc::Sender<(u32, HopEvent)>,
        run: u32,
    ) -> Running {
        self.spawn(tracing::info_span!("tts", capability = %capability), move |reach, worker| async move {
            while let Some((clause, mut request)) = clauses.recv().await {
                let mut retries = Retries::default();
                loop {
                    let mut delivered = false;
                    // The model may have become another one since the turn began.
                    if let Some(voice) = request.voice.take_if(|voice| !reach.registry.has_voice(&capability, voice)) {
                        tracing::warn!(voice, capability, "no engine has this voice, the model's first one speaks");
                    }
                    match reach.speak_once(&capability, &request, &worker, &events, run, &mut delivered).await {
                        Ok(done) => {
                            let _ = events.send((run, HopEvent::ClauseDone { clause, done })).await;
                            break;
                        }
                        Err(Ended::Lost(failure)) if !delivered && retries.allows(&failure) => {
                            tracing::info!(%failure, "speaking again");
                            reach.comeback(&capability).await;
                        }
                        Err(Ended::Refused(failure) | Ended::Lost(failure)) => {
                            let _ = events.send((run, HopEvent::Failed(failure))).await;
                            return;
                        }
                    }
                }
            }
        })
    }

    async fn speak_once(
        &self,
        capability: &str,
        request: &TtsRequest,
        worker: &Worker,
        events: &mpsc::Sender<(u32, HopEvent)>,
        run: u32,
        delivered: &mut bool,
    ) -> Result<TtsDone, Ended> {
        let (mut stream, _) = self
            .open(Hop::Tts, capability, request, &request.work, worker, |reply| match reply {
                TtsReply::Accepted { instance } => Ok(instance),
                TtsReply::Failed { failure } => Err(ended(failure)),
                TtsReply::Done(_) => Err(confused(Hop::Tts)),
            })
            .await?;
        let mut chunks = 0u64;
        loop {
            let message = self.next(Hop::Tts, &mut stream, worker).await?;
            if message.header(header::KIND) == Some(header::KIND_PCM) {
                let at = Instant::now();
                let seq = message.header(header::SEQ).and_then(|seq| seq.parse::<u64>().ok());
                let samples = audio::pcm_from_bytes(&message.payload).filter(|_| seq == Some(chunks));
                let Some(samples) = samples else {
                    return Err(Ended::Refused(Failure::new(
                        Hop::Tts,
                        ErrorCode::BadAudio,
                        format!("expected chunk {chunks}, got {seq:?} of {} bytes", message.payload.len()),
                    )));
                };
                chunks += 1;
                *delivered = true;
                let _ = events.send((run, HopEvent::Chunk { samples, at })).await;
                continue;
            }
            match read::<TtsReply>(Hop::Tts, Ok(message))? {
                TtsReply::Accepted { .. } => {}
                TtsReply::Done(done) if done.chunks == chunks => return Ok(done),
                TtsReply::Done(done) => {
                    return Err(Ended::Refused(Failure::new(
                        Hop::Tts,
                        ErrorCode::BadAudio,
                        format!("{} of {} chunks arrived", chunks, done.chunks),
                    )));
                }
                TtsReply::Failed { failure } => return Err(ended(failure)),
            }
        }
    }

    fn spawn<F, Fut>(&self, span: tracing::Span, hop: F) -> Running
    where
        F: FnOnce(Self, Worker) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (worker, told) = watch::channel(None);
        let cancel = CancelOnDrop { bus: self.bus.clone(), worker: told, armed: true };
        let task = hop(self.clone(), worker);
        Running { task: tokio::spawn(tracing::Instrument::instrument(task, span)), cancel }
    }

    /// Opens work with the session's own worker while that lives, else with any, and
    /// waits until one has taken it.
    async fn open<T: Serialize, R: DeserializeOwned>(
        &self,
        hop: Hop,
        capability: &str,
        request: &T,
        work: &WorkId,
        worker: &Worker,
        taken_by: impl Fn(R) -> Result<InstanceId, Ended>,
    ) -> Result<(ReplyStream, InstanceId), Ended> {
        worker.send_replace(None);
        let pin = self.pins.get(capability).filter(|instance| self.registry.lives(instance));
        let subject = match &pin {
            Some(instance) => subject::work_at(capability, instance),
            None => subject::work(capability),
        };
        let Some(subject) = subject else {
            let message = format!("not a capability: `{capability}`");
            return Err(Ended::Refused(Failure::new(hop, ErrorCode::EngineMissing, message)));
        };
        let headers = [(header::PRIVACY, self.scope.as_str())];
        let mut stream =
            self.bus.open_stream_with(&subject, &headers, request).await.map_err(|e| bus_ended(hop, &e))?;
        let pin_lost = async {
            match &pin {
                Some(instance) => self.registry.lost(instance).await,
                None => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            biased;
            message = stream.next(ACCEPT_PATIENCE) => match message {
                // Whoever was given the request died with it.
                Err(e) if e.code() == ErrorCode::DeadlineExceeded => {
                    return Err(lost(hop, ErrorCode::EngineLost, "no worker took the work"));
                }
                message => message,
            },
            () = pin_lost => return Err(lost(hop, ErrorCode::EngineLost, "the session's worker went away")),
            () = self.bus_lost() => return Err(lost(hop, ErrorCode::BusUnavailable, "the bus went away")),
        };
        let instance = taken_by(read(hop, message)?)?;
        worker.send_replace(Some((instance.clone(), work.clone())));
        self.pins.set(capability, Some(instance.clone()));
        Ok((stream, instance))
    }

    async fn publish(&self, subject: &str, headers: &[(&str, &str)], payload: Vec<u8>) -> Result<(), Ended> {
        self.bus.publish_bytes(subject, headers, Bytes::from(payload)).await.map_err(|e| bus_ended(Hop::Stt, &e))
    }

    async fn next(&self, hop: Hop, stream: &mut ReplyStream, worker: &Worker) -> Result<Message, Ended> {
        let at_work = worker.borrow().clone();
        let engine_lost = async {
            match &at_work {
                Some((instance, _)) => self.registry.lost(instance).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            message = stream.next(STREAM_PATIENCE) => message.map_err(|e| bus_ended(hop, &e)),
            () = engine_lost => Err(lost(hop, ErrorCode::EngineLost, "the engine went away")),
            () = self.bus_lost() => Err(lost(hop, ErrorCode::BusUnavailable, "the bus went away")),
        }
    }

    /// Ends when the bus is not ready; never, while it is.
    async fn bus_lost(&self) {
        let mut server = self.server.clone();
        if server.wait_for(|state| !matches!(state, ServerState::Ready)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until bus and engine are back, so that asking again makes sense.
    async fn comeback(&self, capability: &str) {
        self.pins.set(capability, None);
        let mut server = self.server.clone();
        let back = server.wait_for(|state| matches!(state, ServerState::Ready));
        let _ = tokio::time::timeout(COMEBACK_PATIENCE, back).await;
        tokio::time::sleep(RETRY_PAUSE).await;
        self.registry.wait_for(capability, COMEBACK_PATIENCE).await;
    }
}

/// What was said so far, kept so that another engine can hear it again.
struct Utterance {
    audio: mpsc::Receiver<VoiceInput>,
    frames: Vec<(Vec<i16>, bool)>,
    samples: usize,
    end: Option<Instant>,
}

impl Utterance {
    fn take(&mut self, more: Option<VoiceInput>) -> Result<(), Ended> {
        match more {
            Some(VoiceInput::Frame { samples, voiced }) => {
                self.samples += samples.len();
                self.frames.push((samples, voiced));
                let limit = (audio::MAX_UTTERANCE_SECONDS * audio::INPUT_SAMPLE_RATE) as usize;
                if self.samples > limit {
                    return Err(Ended::Refused(Failure::new(
                        Hop::Input,
                        ErrorCode::AudioTooLong,
                        format!("an utterance may last {} s", audio::MAX_UTTERANCE_SECONDS),
                    )));
                }
            }
            Some(VoiceInput::End { at }) => self.end = Some(at),
            // Whoever feeds the turn went away without an end: what was said stands.
            None => self.end = Some(Instant::now()),
        }
        Ok(())
    }
}

fn read<T: DeserializeOwned>(hop: Hop, message: Result<Message, BusError>) -> Result<T, Ended> {
    let message = message.map_err(|e| bus_ended(hop, &e))?;
    message.json().map_err(|e| bus_ended(hop, &e))
}

fn confused(hop: Hop) -> Ended {
    Ended::Refused(Failure::new(hop, ErrorCode::EngineFault, "the engine's messages came out of order"))
}

fn ended(failure: Failure) -> Ended {
    match failure.code {
        // Another worker may have room or be there; the session's own one is let go of.
        ErrorCode::EngineLost | ErrorCode::ShuttingDown | ErrorCode::EngineBusy => Ended::Lost(failure),
        _ => Ended::Refused(failure),
    }
}

fn bus_ended(hop: Hop, error: &BusError) -> Ended {
    let failure = Failure::new(hop, error.code(), error.to_string());
    match failure.code {
        ErrorCode::BadRequest => Ended::Refused(failure),
        _ => Ended::Lost(failure),
    }
}
