//! One slot of the engine: takes the frames of one utterance, runs passes when
//! [`crate::listen`] asks for them, and answers.
//!
//! Deliberately absent: the bus, gaps in the audio and the queue, which are the
//! engine runtime's.

use crate::decode::{DecodeError, Pass, Transcript, max_tokens};
use crate::listen::{Listener, Step};
use crate::mel::{HOP, MelStream};
use crate::recognizer::{Died, Recognizer};
use crate::settings::Settings;
use crate::verdict::{self, Limits, Sound};
use crate::whisper::{LoadError, Model, State, Token};
use loqa_engine::{AudioInput, CancelFlag, Job, SttJob, Worker};
use loqa_protocol::audio::{INPUT_SAMPLE_RATE, MAX_UTTERANCE_SECONDS};
use loqa_protocol::stt::{SttFinal, SttReply, SttRequest};
use loqa_protocol::{ErrorCode, Failure, Hop};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// A quarter of a second more than announced, as the engine's runtime allows for the
/// hub's rounding.
const MAX_SAMPLES: usize = (MAX_UTTERANCE_SECONDS * INPUT_SAMPLE_RATE + INPUT_SAMPLE_RATE / 4) as usize;
/// Less audio than this holds no word. whisper.cpp's own limit.
const SHORTEST_UTTERANCE: usize = INPUT_SAMPLE_RATE as usize / 10;
/// How often a waiting worker looks at the cancel flag.
const GLANCE: Duration = Duration::from_millis(5);
/// Longest hint in tokens; each one costs time in every pass. Chosen.
const MAX_HINT_TOKENS: usize = 64;

/// Transcribes one utterance at a time.
pub struct SttWorker {
    model: Arc<Model>,
    recognizer: Recognizer,
    mel: MelStream,
    settings: Settings,
    limits: Limits,
    /// How long the last complete pass took; partial passes keep their distance.
    last_compute: Duration,
}

impl SttWorker {
    /// Allocates the working state and starts the computing thread.
    ///
    /// # Errors
    /// When there is no memory or no thread.
    pub fn new(model: Arc<Model>, settings: Settings) -> Result<Self, LoadError> {
        let state = State::new(Arc::clone(&model), settings.threads)?;
        let recognizer = Recognizer::start(state).map_err(|error| LoadError::NoState(error.to_string()))?;
        let mel = MelStream::new(model.header.filters.clone());
        let limits = Limits::of(&model.header);
        Ok(Self { model, recognizer, mel, settings, limits, last_compute: Duration::ZERO })
    }

    /// Runs the whole model once over a second of synthetic sound, which brings its
    /// memory in, and says how long that took.
    ///
    /// # Errors
    /// A failure with [`ErrorCode::EngineFault`] when whisper.cpp gives up.
    pub fn warm_up(&mut self) -> Result<Duration, Failure> {
        self.mel.clear();
        self.mel.push(&synthetic_second());
        let mut pass = self.pass(0, None, Vec::new());
        // The decoder is to be warmed and measured too, so the sound may not end the pass.
        pass.no_speech_limit = 1.0;
        pass.max_tokens = 8;
        self.recognizer.begin(pass).map_err(|died| self.died(died))?;
        loop {
            match self.recognizer.wait(Duration::from_secs(60)) {
                Ok(Some(Ok(transcript))) => {
                    self.last_compute = transcript.compute;
                    return Ok(transcript.compute);
                }
                Ok(Some(Err(error))) => return Err(fault(&error)),
                Ok(None) => {}
                Err(died) => return Err(self.died(died)),
            }
        }
    }

    /// Transcribes one utterance: reads `audio` to its end and hands partial replies
    /// and the final one to `send`.
    ///
    /// # Errors
    /// [`ErrorCode::Cancelled`], [`ErrorCode::AudioTooLong`], [`ErrorCode::DeadlineExceeded`],
    /// [`ErrorCode::BadRequest`] for an unknown language, [`ErrorCode::EngineFault`].
    pub fn transcribe(
        &mut self,
        request: &SttRequest,
        audio: &Receiver<AudioInput>,
        cancel: &CancelFlag,
        send: &mut dyn FnMut(&SttReply),
    ) -> Result<(), Failure> {
        self.mel.clear();
        self.recognizer.stop();
        let language = self.language(request)?;
        let hint = self.hint(request);
        let mut listener = Listener::new(self.settings.pacing);
        let mut bet: Option<Bet> = None;
        let mut shown = String::new();

        let received = loop {
            if cancel.is_cancelled() {
                return Err(cancelled());
            }
            self.collect(&mut bet, &listener, request, &mut shown, send)?;
            match audio.recv_timeout(GLANCE) {
                Ok(AudioInput::Frame { samples, voiced }) => {
                    if self.mel.n_samples() + samples.len() > MAX_SAMPLES {
                        let message = format!("an utterance may last {MAX_UTTERANCE_SECONDS} s at most");
                        return Err(Failure::new(Hop::Stt, ErrorCode::AudioTooLong, message));
                    }
                    self.mel.push(&samples);
                    match listener.frame(&samples, voiced) {
                        Step::Wait => {}
                        Step::Partial => {
                            let distance = self.last_compute * 4;
                            let far_enough = listener.since_last_pass() >= distance;
                            if request.partials && !self.recognizer.is_busy() && far_enough {
                                self.begin(&listener, language, &hint)?;
                                listener.partial_began();
                            }
                        }
                        Step::Speculate => {
                            self.begin(&listener, language, &hint)?;
                            bet = Some(Bet::Running);
                        }
                        Step::Abandon => {
                            // The transcript of the pause is still the newest one to show.
                            bet = None;
                        }
                    }
                }
                Ok(AudioInput::End { received }) => break received,
                Err(RecvTimeoutError::Timeout) => {}
                // The runtime hangs up when the work was cancelled or the audio had a gap;
                // it has already told the hub which of them.
                Err(RecvTimeoutError::Disconnected) => return Err(cancelled()),
            }
        };

        let (transcript, speculative) = match bet {
            Some(Bet::Won(transcript)) => (Some(transcript), true),
            Some(Bet::Running) => (self.finish(received, request, cancel)?, true),
            None if !self.worth_a_pass(&listener) => (None, false),
            None => {
                self.begin(&listener, language, &hint)?;
                (self.finish(received, request, cancel)?, false)
            }
        };
        send(&SttReply::Final(self.last_word(transcript, speculative, &listener, received)));
        Ok(())
    }

    /// Takes the result of a pass that ran while frames arrived.
    fn collect(
        &mut self,
        bet: &mut Option<Bet>,
        listener: &Listener,
        request: &SttRequest,
        shown: &mut String,
        send: &mut dyn FnMut(&SttReply),
    ) -> Result<(), Failure> {
        let Some(result) = self.recognizer.poll().map_err(|died| self.died(died))? else { return Ok(()) };
        let transcript = match result {
            Ok(transcript) => transcript,
            Err(DecodeError::Stopped) => return Ok(()),
            Err(error) => return Err(fault(&error)),
        };
        self.last_compute = transcript.compute;
        if request.partials {
            let (text, _) = verdict::weigh(&transcript, self.sound(listener), &self.limits);
            if !text.is_empty() && text != *shown {
                send(&SttReply::Partial { text: text.clone(), audio_ms: self.audio_ms() });
                *shown = text;
            }
        }
        if let Some(Bet::Running) = bet {
            *bet = Some(Bet::Won(transcript));
        }
        Ok(())
    }

    /// Waits for the pass that gives the final transcript.
    fn finish(
        &mut self,
        received: Instant,
        request: &SttRequest,
        cancel: &CancelFlag,
    ) -> Result<Option<Transcript>, Failure> {
        let limit = Duration::from_millis(request.deadline_ms);
        loop {
            match self.recognizer.wait(GLANCE).map_err(|died| self.died(died))? {
                Some(Ok(transcript)) => {
                    self.last_compute = transcript.compute;
                    return Ok(Some(transcript));
                }
                Some(Err(error)) => return Err(fault(&error)),
                None if cancel.is_cancelled() => {
                    self.recognizer.stop();
                    return Err(cancelled());
                }
                None if received.elapsed() >= limit => {
                    self.recognizer.stop();
                    let message = format!("no transcript {} ms after the end of the audio", request.deadline_ms);
                    return Err(Failure::new(Hop::Stt, ErrorCode::DeadlineExceeded, message));
                }
                None => {}
            }
        }
    }

    fn last_word(
        &self,
        transcript: Option<Transcript>,
        speculative: bool,
        listener: &Listener,
        received: Instant,
    ) -> SttFinal {
        let (text, confidence) = transcript
            .as_ref()
            .map(|transcript| verdict::weigh(transcript, self.sound(listener), &self.limits))
            .unwrap_or_default();
        let decode = transcript.as_ref().map_or(Duration::ZERO, |transcript| transcript.compute);
        tracing::debug!(
            audio_ms = self.audio_ms(),
            decode_us = micros(decode),
            speculative,
            no_speech = transcript.as_ref().map_or(1.0, |transcript| transcript.no_speech),
            looped = transcript.as_ref().is_some_and(|transcript| transcript.looped),
            "transcribed"
        );
        SttFinal {
            text,
            confidence,
            audio_ms: self.audio_ms(),
            tail_us: micros(received.elapsed()),
            decode_us: micros(decode),
            speculative,
        }
    }

    /// Begins a pass over the audio so far.
    fn begin(&mut self, listener: &Listener, language: Option<Token>, hint: &[Token]) -> Result<(), Failure> {
        let pass = self.pass(listener.first_sample() / HOP, language, hint.to_vec());
        self.recognizer.begin(pass).map_err(|died| self.died(died))
    }

    fn pass(&mut self, first_frame: usize, language: Option<Token>, hint: Vec<Token>) -> Pass {
        let n_frames = self.mel.n_frames().saturating_sub(first_frame);
        let frames = 2 * self.settings.audio_ctx.for_frames(n_frames);
        let audio = Duration::from_millis(10 * n_frames as u64);
        Pass {
            mel: self.mel.window(first_frame, frames),
            language,
            hint,
            max_tokens: max_tokens(audio),
            no_speech_limit: self.limits.no_speech,
        }
    }

    /// Silence that neither the detector nor the meter noticed needs no decoding.
    fn worth_a_pass(&self, listener: &Listener) -> bool {
        self.mel.n_samples() >= SHORTEST_UTTERANCE
            && (listener.heard_speech() || self.mel.loudest() >= verdict::INAUDIBLE)
    }

    fn language(&self, request: &SttRequest) -> Result<Option<Token>, Failure> {
        let Some(tag) = request.language.as_deref() else { return Ok(None) };
        let language = tag.split(['-', '_']).next().unwrap_or(tag).to_ascii_lowercase();
        let known = self.model.languages();
        if !known.contains(&language.as_str()) {
            let message = format!("the speech model does not know language `{tag}`, but: {}", known.join(", "));
            return Err(Failure::new(Hop::Stt, ErrorCode::BadRequest, message));
        }
        Ok(self.model.language_token(&language))
    }

    /// Words to expect, as tokens. The starter model was not trained with a prompt.
    fn hint(&self, request: &SttRequest) -> Vec<Token> {
        if request.hint.trim().is_empty() || self.model.header.is_starter_class() {
            return Vec::new();
        }
        let mut tokens = self.model.tokenize(&format!(" {}", request.hint.trim()));
        tokens.truncate(MAX_HINT_TOKENS);
        tokens
    }

    fn sound(&self, listener: &Listener) -> Sound {
        Sound { voiced: listener.heard_speech(), loudest: self.mel.loudest() }
    }

    fn audio_ms(&self) -> u64 {
        self.mel.n_samples() as u64 * 1_000 / u64::from(INPUT_SAMPLE_RATE)
    }

    fn died(&mut self, died: Died) -> Failure {
        self.recognizer.resume_panic();
        Failure::new(Hop::Stt, ErrorCode::EngineFault, died.to_string())
    }
}

impl Worker for SttWorker {
    fn run(&mut self, job: Job) -> Result<(), Failure> {
        let result = match job {
            Job::Stt(SttJob { request, audio, replies, cancel }) => {
                // When nobody listens any more the runtime sets the cancel flag.
                self.transcribe(&request, &audio, &cancel, &mut |reply| {
                    let _ = replies.send_stt(reply);
                })
            }
            Job::Llm(_) | Job::Tts(_) => {
                Err(Failure::new(Hop::Stt, ErrorCode::BadRequest, "a speech engine transcribes and does nothing else"))
            }
        };
        self.recognizer.stop();
        result
    }
}

/// The bet that the user has finished.
#[derive(Debug)]
enum Bet {
    /// The pass is running.
    Running,
    /// Its transcript is here.
    Won(Transcript),
}

fn cancelled() -> Failure {
    Failure::new(Hop::Stt, ErrorCode::Cancelled, "the transcription was cancelled")
}

fn fault(error: &DecodeError) -> Failure {
    Failure::new(Hop::Stt, ErrorCode::EngineFault, error.to_string())
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A gliding tone with overtones that swells four times, like syllables.
fn synthetic_second() -> Vec<i16> {
    use std::f32::consts::TAU;
    let rate = INPUT_SAMPLE_RATE as f32;
    (0..INPUT_SAMPLE_RATE)
        .map(|n| {
            let t = n as f32 / rate;
            let tone: f32 = (1..=12).map(|k| (TAU * (110.0 + 20.0 * t) * k as f32 * t).sin() / k as f32).sum();
            let swell = (TAU * 2.0 * t).sin().abs();
            (tone * swell * 5_000.0) as i16
        })
        .collect()
}
