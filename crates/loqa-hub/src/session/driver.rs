//! Drives one turn: feeds the state machine with what happens and performs the
//! actions it returns. One loop, one `enum` of everything that can wake it.
//!
//! The driver decides nothing: order, deadlines and fallback are `loqa-turn`'s.

use crate::consent::Prompts;
use crate::recorder::Recorder;
use crate::session::hops::{HopEvent, Reach, Running};
use crate::session::stopwatch::Stopwatch;
use crate::session::{Session, TurnTaint, VoiceInput};
use crate::sink::{AudioSink, SinkCommand, SinkEvent};
use loqa_protocol::client::TurnReport;
use loqa_protocol::event::{PlannedBy, TurnSource};
use loqa_protocol::llm::{ChatMessage, LlmRequest, Role};
use loqa_protocol::stt::SttRequest;
use loqa_protocol::tts::TtsRequest;
use loqa_protocol::{
    ErrorCode, Failure, Hop, SessionId, TimedEvent, ToolCall, ToolOutcome, ToolSpec, TurnClass, TurnEvent, TurnId,
    WorkId,
};
use loqa_skills::{Invocation, Said, SkillHost, Taint};
use loqa_turn::intent::IntentIndex;
use loqa_turn::state::{Action, Input, Start, Turn, TurnSettings};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// What all turns of a hub share.
#[derive(Clone)]
pub struct TurnContext {
    /// Bus, registry, server state.
    pub reach: Reach,
    /// Deadlines and tiers.
    pub settings: Arc<TurnSettings>,
    /// Declared utterances of the enabled skills.
    pub intents: Arc<IntentIndex>,
    /// Tools of the enabled skills.
    pub tools: Arc<Vec<ToolSpec>>,
    /// Runs tool calls.
    pub skills: Arc<SkillHost>,
    /// Questions to the person.
    pub prompts: Arc<Prompts>,
    /// Takes the events.
    pub recorder: Recorder,
    /// Whether what is said in this turn is kept as a recording.
    pub keep_audio: bool,
    /// Which engines answer and how.
    pub voice: Arc<VoiceSettings>,
}

/// Engine choices that do not change during a turn.
#[derive(Debug, Clone)]
pub struct VoiceSettings {
    /// Capability that listens, if one is configured.
    pub stt: Option<String>,
    /// Language for the recogniser.
    pub language: String,
    /// Capability that speaks, if one is configured.
    pub tts: Option<String>,
    /// Voice name, or the engine's first.
    pub voice: Option<String>,
    /// Speaking rate.
    pub speed: f32,
    /// First message of every chat.
    pub system_prompt: String,
    /// Longest wait for the transcript, told to the engine.
    pub stt_deadline: Duration,
    /// Longest time for a reply, told to the engine.
    pub llm_deadline: Duration,
    /// Longest time for a clause, told to the engine.
    pub tts_deadline: Duration,
    /// Longest time of a tool call.
    pub skill_budget: Duration,
}

/// What begins a turn.
pub enum TurnInput {
    /// Typed text.
    Text(String),
    /// Speech, frame by frame.
    Voice {
        /// How the end is found.
        source: TurnSource,
        /// The frames.
        audio: mpsc::Receiver<VoiceInput>,
    },
}

/// Orders to a running turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnOrder {
    /// The user stopped it.
    Cancel,
    /// The user speaks over it.
    BargeIn,
}

/// Everything that can wake the driver.
enum Wake {
    Voice(VoiceInput),
    Hop(u32, HopEvent),
    Tool(u32, Result<ToolOutcome, Failure>, Taint),
    /// Whether the person is being asked.
    Asking(bool),
    Sink(SinkEvent),
    Order(TurnOrder),
    Deadline,
}

/// Tokens of one reply. Chosen: about a minute of speech.
const MAX_REPLY_TOKENS: u32 = 256;
/// Longest recording of a turn in samples: what the recogniser takes.
const MAX_RECORDED: usize =
    (loqa_protocol::audio::MAX_UTTERANCE_SECONDS * loqa_protocol::audio::INPUT_SAMPLE_RATE) as usize;
/// Hop events that may wait for the driver; a full channel makes the hop wait.
const HOP_EVENTS: usize = 256;

/// Runs one turn to its end and reports it. Never fails: a failed turn is a report
/// with a failure. `said` tells where its words come from.
#[tracing::instrument(name = "turn", skip_all, fields(turn = %turn, session = %session.id))]
pub async fn run_turn(
    context: &TurnContext,
    session: &mut Session,
    turn: TurnId,
    input: TurnInput,
    sink: AudioSink,
    orders: mpsc::Receiver<TurnOrder>,
    said: Taint,
) -> TurnReport {
    let now = Instant::now();
    let (start, voice) = match input {
        TurnInput::Text(text) => (Start::Text { text }, None),
        TurnInput::Voice { source, audio } => (Start::Voice { source }, Some(audio)),
    };
    let typed = voice.is_none();
    let context =
        &TurnContext { reach: Reach { pins: session.pins.clone(), ..context.reach.clone() }, ..context.clone() };
    let (machine, actions) = Turn::new(start, context.settings.clone(), context.intents.clone(), now);
    let (hop_sender, hop_events) = mpsc::channel(HOP_EVENTS);
    let (tool_sender, tool_events) = mpsc::channel(4);
    let mut driver = Driver {
        context,
        session,
        machine,
        voice,
        sink,
        orders,
        hop_sender,
        hop_events,
        tool_sender,
        tool_events,
        listening: None,
        to_recogniser: None,
        replying: None,
        speaking: None,
        clauses: None,
        tool: None,
        taint: TurnTaint::new(said),
        asking: context.prompts.asking(),
        is_asked: false,
        runs: Runs::default(),
        stopwatch: Stopwatch { speech_ended: typed.then_some(now), ..Stopwatch::default() },
        asked_model: None,
        called_tool: None,
        clauses_left: 0,
        speech_complete: false,
        sound_begun: false,
        sink_asked: false,
        first_clause_cached: false,
        samples: 0,
        recorded: Vec::new(),
        started: now,
        seq: 0,
        report: TurnReport {
            session: SessionId::from_bits(0),
            turn: turn.clone(),
            transcript: String::new(),
            class: TurnClass::None,
            tool: None,
            reply: String::new(),
            latency_ms: None,
            failure: None,
        },
        pending: VecDeque::new(),
    };
    driver.report.session = driver.session.id.clone();
    driver.perform(actions).await;
    driver.run().await;
    let (report, taint, recorded) = (driver.report, driver.taint, std::mem::take(&mut driver.recorded));
    if !recorded.is_empty() {
        context.recorder.record_audio(report.turn.clone(), recorded, context.reach.scope);
    }
    if report.failure.is_none() {
        session.remember((&report.transcript, taint.said()), (&report.reply, &taint.of_reply()));
    }
    report
}

/// Numbers of the latest run of each hop: what an earlier one still says is ignored.
#[derive(Default)]
struct Runs {
    next: u32,
    stt: u32,
    llm: u32,
    tts: u32,
    tool: u32,
}

impl Runs {
    fn take(&mut self) -> u32 {
        self.next += 1;
        self.next
    }
}

struct Driver<'a> {
    context: &'a TurnContext,
    session: &'a mut Session,
    machine: Turn,
    voice: Option<mpsc::Receiver<VoiceInput>>,
    sink: AudioSink,
    orders: mpsc::Receiver<TurnOrder>,
    hop_sender: mpsc::Sender<(u32, HopEvent)>,
    hop_events: mpsc::Receiver<(u32, HopEvent)>,
    tool_sender: mpsc::Sender<(u32, Result<ToolOutcome, Failure>, Taint)>,
    tool_events: mpsc::Receiver<(u32, Result<ToolOutcome, Failure>, Taint)>,
    listening: Option<Running>,
    to_recogniser: Option<mpsc::Sender<VoiceInput>>,
    replying: Option<Running>,
    speaking: Option<Running>,
    clauses: Option<mpsc::Sender<(u32, TtsRequest)>>,
    tool: Option<RunningTool>,
    taint: TurnTaint,
    asking: watch::Receiver<BTreeSet<TurnId>>,
    is_asked: bool,
    runs: Runs,
    stopwatch: Stopwatch,
    asked_model: Option<Instant>,
    called_tool: Option<Instant>,
    clauses_left: usize,
    speech_complete: bool,
    sound_begun: bool,
    sink_asked: bool,
    first_clause_cached: bool,
    samples: u64,
    /// What was said, where it is kept.
    recorded: Vec<i16>,
    started: Instant,
    seq: u32,
    report: TurnReport,
    /// Inputs that performing an action brought about; fed before anything else.
    pending: VecDeque<Input>,
}

impl Driver<'_> {
    async fn run(&mut self) {
        loop {
            while let Some(input) = self.pending.pop_front() {
                let actions = self.machine.handle(input, Instant::now());
                self.perform(actions).await;
            }
            if self.machine.is_ended() {
                return;
            }
            let wake = self.wait().await;
            if let Some(input) = self.translate(wake).await {
                self.pending.push_back(input);
            }
        }
    }

    async fn wait(&mut self) -> Wake {
        let deadline = self.machine.next_deadline();
        let voice = async {
            match &mut self.voice {
                Some(audio) => audio.recv().await,
                None => std::future::pending().await,
            }
        };
        let sleep = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(order) = self.orders.recv() => Wake::Order(order),
            Some((run, event)) = self.hop_events.recv() => Wake::Hop(run, event),
            Some((run, result, taint)) = self.tool_events.recv() => Wake::Tool(run, result, taint),
            is_asked = asking_changed(&mut self.asking, &self.report.turn, self.is_asked) => Wake::Asking(is_asked),
            Some(event) = self.sink.events.recv() => Wake::Sink(event),
            // Whoever feeds the turn went away without an end: what was said stands.
            frame = voice => Wake::Voice(frame.unwrap_or(VoiceInput::End { at: Instant::now() })),
            () = sleep => Wake::Deadline,
        }
    }

    /// Takes note of what happened and says it to the machine in its own words.
    async fn translate(&mut self, wake: Wake) -> Option<Input> {
        match wake {
            Wake::Deadline => Some(Input::Tick),
            Wake::Order(TurnOrder::Cancel) => Some(Input::Cancel),
            Wake::Order(TurnOrder::BargeIn) => Some(Input::BargeIn),
            Wake::Voice(VoiceInput::Frame { samples, voiced }) => {
                let first = self.samples == 0;
                self.samples += samples.len() as u64;
                if self.context.keep_audio && self.recorded.len() < MAX_RECORDED {
                    self.recorded.extend_from_slice(&samples);
                }
                if let Some(recogniser) = &self.to_recogniser {
                    // The channel holds a whole utterance; a full one means more than that.
                    if recogniser.try_send(VoiceInput::Frame { samples, voiced }).is_err() {
                        return Some(Input::Failed {
                            failure: Failure::new(Hop::Input, ErrorCode::AudioTooLong, "the utterance is too long"),
                        });
                    }
                }
                first.then_some(Input::SpeechStarted)
            }
            Wake::Voice(VoiceInput::End { at }) => {
                self.voice = None;
                self.stopwatch.speech_ended = Some(at);
                Some(Input::SpeechEnded {
                    audio_ms: self.samples * 1000 / u64::from(loqa_protocol::audio::INPUT_SAMPLE_RATE),
                })
            }
            Wake::Hop(run, event) => self.translate_hop(run, event).await,
            Wake::Asking(is_asked) => {
                self.is_asked = is_asked;
                Some(if is_asked { Input::ConsentPending } else { Input::ConsentOver })
            }
            Wake::Tool(run, result, taint) => {
                if run != self.runs.tool {
                    return None;
                }
                self.tool = None;
                self.taint.tool_has_brought(&taint);
                let now = Instant::now();
                if let Some(called) = self.called_tool.take() {
                    self.stopwatch.skill += now - called;
                }
                self.stopwatch.reply_text.get_or_insert(now);
                Some(match result {
                    Ok(outcome) => Input::ToolReturned { outcome },
                    Err(failure) => Input::ToolDenied { failure },
                })
            }
            Wake::Sink(SinkEvent::FirstSample { at, device_latency }) => {
                self.stopwatch.first_sound.get_or_insert(at + device_latency);
                Some(Input::FirstSound)
            }
            Wake::Sink(SinkEvent::Drained) => Some(Input::PlaybackFinished),
            Wake::Sink(SinkEvent::Failed(reason)) => {
                Some(Input::Failed { failure: Failure::new(Hop::Output, ErrorCode::EngineFault, reason) })
            }
        }
    }

    async fn translate_hop(&mut self, run: u32, event: HopEvent) -> Option<Input> {
        match event {
            HopEvent::Partial(text) => (run == self.runs.stt).then_some(Input::TranscriptPartial { text }),
            HopEvent::Heard { heard, end_sent, at } => {
                if run != self.runs.stt {
                    return None;
                }
                if let Some(hop) = self.listening.take() {
                    hop.finished();
                }
                self.stopwatch.end_passed_on = Some(end_sent);
                self.stopwatch.transcript = Some(at);
                self.stopwatch.stt_engine = Duration::from_micros(heard.tail_us);
                Some(Input::TranscriptFinal { text: heard.text, confidence: heard.confidence })
            }
            HopEvent::Delta { text, at } => {
                if run != self.runs.llm {
                    return None;
                }
                self.note_model_answer(at);
                self.stopwatch.reply_text.get_or_insert(at);
                Some(Input::ReplyDelta { text })
            }
            HopEvent::ModelToolCall { call, confidence, at } => {
                if run != self.runs.llm {
                    return None;
                }
                self.note_model_answer(at);
                Some(Input::ModelToolCall { call, confidence })
            }
            HopEvent::ReplyDone(done) => {
                if run != self.runs.llm {
                    return None;
                }
                if let Some(hop) = self.replying.take() {
                    hop.finished();
                }
                if self.stopwatch.first_sound.is_none() {
                    self.stopwatch.llm_engine += Duration::from_micros(done.first_token_us);
                }
                Some(Input::ReplyDone)
            }
            HopEvent::Chunk { samples, at } => {
                if run != self.runs.tts {
                    return None;
                }
                self.stopwatch.first_chunk.get_or_insert(at);
                self.sound_begun = true;
                self.tell_sink(SinkCommand::Chunk(samples)).await
            }
            HopEvent::ClauseDone { clause, done } => {
                if run != self.runs.tts {
                    return None;
                }
                if clause == 0 {
                    self.stopwatch.tts_engine = Duration::from_micros(done.first_chunk_us);
                    self.first_clause_cached = done.cached;
                }
                self.clauses_left = self.clauses_left.saturating_sub(1);
                self.pending.push_back(Input::ClauseSpoken { clause });
                self.finish_sound().await;
                None
            }
            HopEvent::Failed(failure) => {
                let current = match failure.hop {
                    Hop::Stt | Hop::Input => self.runs.stt,
                    Hop::Llm => self.runs.llm,
                    Hop::Tts => self.runs.tts,
                    Hop::Plan | Hop::Skill | Hop::Output | Hop::Hub => run,
                };
                (run == current).then_some(Input::Failed { failure })
            }
        }
    }

    fn note_model_answer(&mut self, at: Instant) {
        if let Some(asked) = self.asked_model.take()
            && self.stopwatch.first_sound.is_none()
        {
            self.stopwatch.llm_wait += at.saturating_duration_since(asked);
        }
    }

    async fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::OpenStt => self.open_stt(),
                Action::EndAudio => {
                    let at = self.stopwatch.speech_ended.unwrap_or_else(Instant::now);
                    if let Some(recogniser) = self.to_recogniser.take() {
                        let _ = recogniser.try_send(VoiceInput::End { at });
                    }
                }
                Action::CallTool { call } => self.call_tool(call),
                Action::StartReply { capability, prompt_text, degraded: _, tool_result } => {
                    self.start_reply(capability, &prompt_text, tool_result);
                }
                Action::Speak { clause, text } => self.speak(clause, text).await,
                Action::SpeechComplete => {
                    self.speech_complete = true;
                    // The task that speaks ends when its channel of clauses does.
                    self.clauses = None;
                    self.finish_sound().await;
                }
                Action::Cancel { hop } => match hop {
                    Hop::Stt | Hop::Input => {
                        self.voice = None;
                        self.to_recogniser = None;
                        self.listening = None;
                        self.runs.stt = self.runs.take();
                    }
                    Hop::Llm => {
                        self.replying = None;
                        self.runs.llm = self.runs.take();
                    }
                    Hop::Skill => {
                        self.tool = None;
                        self.runs.tool = self.runs.take();
                    }
                    Hop::Tts => self.stop_tts(),
                    Hop::Plan | Hop::Output | Hop::Hub => {}
                },
                Action::StopSpeaking => {
                    self.stop_tts();
                    self.speech_complete = true;
                    if let Some(input) = self.tell_sink(SinkCommand::Stop).await {
                        self.pending.push_back(input);
                    }
                }
                Action::Emit(event) => self.emit(event),
            }
        }
    }

    fn open_stt(&mut self) {
        let run = self.runs.take();
        self.runs.stt = run;
        let Some(capability) = self.context.voice.stt.clone() else {
            self.pending.push_back(Input::Failed {
                failure: Failure::new(
                    Hop::Stt,
                    ErrorCode::EngineMissing,
                    "no recogniser is configured, set `stt.enabled`",
                ),
            });
            return;
        };
        let frames = (loqa_protocol::audio::MAX_UTTERANCE_SECONDS * 60) as usize;
        let (to_recogniser, audio) = mpsc::channel(frames);
        self.to_recogniser = Some(to_recogniser);
        let request = SttRequest {
            work: WorkId::from_bits(rand::random()),
            turn: self.report.turn.clone(),
            session: self.session.id.clone(),
            language: Some(self.context.voice.language.clone()).filter(|language| !language.is_empty()),
            hint: String::new(),
            partials: true,
            deadline_ms: to_millis(self.context.voice.stt_deadline),
        };
        self.listening = Some(self.context.reach.listen(capability, request, audio, self.hop_sender.clone(), run));
    }

    fn call_tool(&mut self, call: ToolCall) {
        let run = self.runs.take();
        self.runs.tool = run;
        let now = Instant::now();
        self.stopwatch.planned.get_or_insert(now);
        self.called_tool = Some(now);
        self.report.tool = Some(call.clone());
        let cancel = Arc::new(AtomicBool::new(false));
        self.tool = Some(RunningTool(cancel.clone()));
        let skills = self.context.skills.clone();
        let budget = skills.budget(&call.name, self.context.voice.skill_budget);
        let invocation = Invocation {
            session: self.session.id.clone(),
            turn: self.report.turn.clone(),
            scope: self.context.reach.scope,
            call,
            taint: self.taint.of_call().clone(),
            said: Said {
                utterance: self.report.transcript.clone(),
                history: self.session.history.iter().map(|remembered| remembered.message.clone()).collect(),
                taint: self.taint.with_history(&self.session.history),
            },
            budget,
            cancel,
        };
        let results = self.tool_sender.clone();
        let span = tracing::info_span!("skill", tool = %invocation.call.name);
        tokio::task::spawn_blocking(move || {
            let _entered = span.enter();
            let (result, taint) = skills.call_tainted(&invocation);
            // The turn may have ended meanwhile; then nobody waits.
            let _ = results.blocking_send((run, result, taint));
        });
    }

    fn start_reply(&mut self, capability: String, text: &str, tool_result: Option<(ToolCall, ToolOutcome)>) {
        let run = self.runs.take();
        self.runs.llm = run;
        let now = Instant::now();
        self.stopwatch.planned.get_or_insert(now);
        self.asked_model = Some(now);
        let mut messages = vec![ChatMessage { role: Role::System, content: self.context.voice.system_prompt.clone() }];
        self.taint.model_is_asked(&self.session.history);
        messages.extend(self.session.history.iter().map(|remembered| remembered.message.clone()));
        messages.push(ChatMessage { role: Role::User, content: text.to_owned() });
        if let Some((call, outcome)) = tool_result {
            let called = serde_json::to_string(&call).unwrap_or_default();
            messages.push(ChatMessage { role: Role::Assistant, content: called });
            messages.push(ChatMessage { role: Role::Tool, content: outcome.data.to_string() });
        }
        let request = LlmRequest {
            work: WorkId::from_bits(rand::random()),
            turn: self.report.turn.clone(),
            session: self.session.id.clone(),
            messages,
            tools: self.context.tools.to_vec(),
            max_tokens: MAX_REPLY_TOKENS,
            temperature: 0.0,
            deadline_ms: to_millis(self.context.voice.llm_deadline),
        };
        if !self.context.reach.registry.offers(&capability) {
            self.pending.push_back(Input::Failed {
                failure: Failure::new(Hop::Llm, ErrorCode::EngineMissing, format!("no engine offers `{capability}`")),
            });
            return;
        }
        self.replying = Some(self.context.reach.reply(capability, request, self.hop_sender.clone(), run));
    }

    async fn speak(&mut self, clause: u32, text: String) {
        let now = Instant::now();
        self.stopwatch.planned.get_or_insert(now);
        self.stopwatch.reply_text.get_or_insert(now);
        self.stopwatch.first_clause.get_or_insert(now);
        if !self.report.reply.is_empty() {
            self.report.reply.push(' ');
        }
        self.report.reply.push_str(text.trim());
        let Some(capability) = self.context.voice.tts.clone() else {
            // A hub without a voice answers in text; the clause counts as spoken.
            self.pending.push_back(Input::ClauseSpoken { clause });
            if self.tool.is_some() {
                // Said before the answer is known, so no end of the answer takes its place.
                self.pending.push_back(Input::FirstSound);
            }
            return;
        };
        if self.clauses.is_none() {
            let run = self.runs.take();
            self.runs.tts = run;
            let (clauses, queue) = mpsc::channel(32);
            self.clauses = Some(clauses);
            self.speaking = Some(self.context.reach.speak(capability, queue, self.hop_sender.clone(), run));
        }
        let request = TtsRequest {
            work: WorkId::from_bits(rand::random()),
            turn: self.report.turn.clone(),
            session: self.session.id.clone(),
            text,
            voice: self.context.voice.voice.clone(),
            speed: self.context.voice.speed,
            deadline_ms: to_millis(self.context.voice.tts_deadline),
        };
        self.clauses_left += 1;
        if let Some(clauses) = &self.clauses
            && clauses.send((clause, request)).await.is_err()
        {
            tracing::debug!("the speaking hop ended before its clause");
        }
    }

    fn stop_tts(&mut self) {
        self.clauses = None;
        self.speaking = None;
        self.clauses_left = 0;
        self.runs.tts = self.runs.take();
    }

    /// Tells the output that no more sound comes, once that is so.
    async fn finish_sound(&mut self) {
        if !self.speech_complete || self.clauses_left > 0 || self.sink_asked {
            return;
        }
        self.sink_asked = true;
        if let Some(hop) = self.speaking.take() {
            hop.finished();
        }
        if self.sound_begun {
            if let Some(input) = self.tell_sink(SinkCommand::Finish).await {
                self.pending.push_back(input);
            }
        } else {
            self.pending.push_back(Input::PlaybackFinished);
        }
    }

    async fn tell_sink(&mut self, command: SinkCommand) -> Option<Input> {
        let gone = self.sink.commands.send(command).await.is_err();
        gone.then(|| Input::Failed {
            failure: Failure::new(Hop::Output, ErrorCode::EngineFault, "the sound output went away"),
        })
    }

    fn emit(&mut self, event: TurnEvent) {
        let event = match event {
            TurnEvent::TurnEnded { end, class, latency_ms: _ } => {
                let class =
                    if self.first_clause_cached && class != TurnClass::None { TurnClass::Cached } else { class };
                let latency_ms = self.stopwatch.split();
                self.report.class = class;
                self.report.latency_ms = latency_ms;
                TurnEvent::TurnEnded { end, class, latency_ms }
            }
            TurnEvent::TranscriptFinal { ref text, .. } => {
                self.report.transcript.clone_from(text);
                event
            }
            TurnEvent::TurnFailed { ref failure } => {
                self.report.failure = Some(failure.clone());
                event
            }
            TurnEvent::ToolCalled { ref planned_by, .. } => {
                match planned_by {
                    PlannedBy::Intent { template, .. } => tracing::debug!(template, "planned by an intent"),
                    PlannedBy::Model { capability } => tracing::debug!(capability, "planned by a model"),
                }
                event
            }
            other => other,
        };
        let seq = self.seq;
        self.seq += 1;
        let timed = TimedEvent {
            session: self.session.id.clone(),
            turn: self.report.turn.clone(),
            seq,
            at_us: u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            event,
        };
        self.context.recorder.record(timed, self.context.reach.scope);
    }
}

/// A tool call that runs; dropping it tells the skill host to stop it, so that a turn
/// that is dropped in its middle leaves no call behind.
struct RunningTool(Arc<AtomicBool>);

impl Drop for RunningTool {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until the person begins or stops being asked on behalf of this turn.
async fn asking_changed(asking: &mut watch::Receiver<BTreeSet<TurnId>>, turn: &TurnId, is_asked: bool) -> bool {
    let has_changed = asking.wait_for(|turns| turns.contains(turn) != is_asked).await.is_ok();
    if has_changed { !is_asked } else { std::future::pending().await }
}

fn to_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
