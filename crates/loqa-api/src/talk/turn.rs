//! The turn that runs on a socket: its sound on the way in, its output on the way out.

use super::{Playback, Wake, is_last};
use crate::problem::{ApiResult, Problem};
use crate::turns::{CancelOnDrop, check_text};
use loqa_audio::Vad;
use loqa_hub::Hub;
use loqa_hub::hub::TurnOptions;
use loqa_hub::session::VoiceInput;
use loqa_hub::session::driver::{TurnInput, TurnOrder};
use loqa_hub::sink::{AudioSink, SinkDriver, SinkEvent};
use loqa_protocol::audio::{INPUT_FRAME_SAMPLES, OUTPUT_SAMPLE_RATE};
use loqa_protocol::client::TurnReport;
use loqa_protocol::event::TurnSource;
use loqa_protocol::{ErrorCode, SessionId, TurnEvent, TurnId};
use std::pin::Pin;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Frames that may wait: 40 seconds, more than a turn accepts.
const FRAMES: usize = 2_000;
/// How much longer than the sound itself a client may take to say that it was played. Chosen.
const PLAYING_SLACK: Duration = Duration::from_secs(5);

type Report = Pin<Box<dyn Future<Output = anyhow::Result<TurnReport>> + Send>>;

/// A turn of this socket. Dropping it cancels it.
pub(super) struct RunningTalk {
    pub session: SessionId,
    pub turn: TurnId,
    /// Whether its last event was passed on.
    pub is_ended: bool,
    cancel: CancelOnDrop,
    report: Report,
    input: Option<Input>,
    /// `None` once nothing more comes.
    output: Option<SinkDriver>,
    playback: Playback,
    samples_out: u64,
    /// When the answer counts as played at the latest; set while that is waited for.
    unplayed: Option<Instant>,
}

struct Input {
    frames: mpsc::Sender<VoiceInput>,
    vad: Vad,
    /// Samples of a frame that is not full yet.
    rest: Vec<i16>,
}

impl RunningTalk {
    /// Begins a typed turn, or a spoken one when there is no text.
    pub async fn begin(
        hub: &Hub,
        text: Option<String>,
        options: TurnOptions,
        speak: bool,
        playback: Playback,
    ) -> ApiResult<Self> {
        let session = options.session.clone().unwrap_or_else(|| SessionId::from_bits(rand::random()));
        let options = TurnOptions { session: Some(session.clone()), ..options };
        let (input, turn_input) = match text {
            Some(text) => {
                check_text(&text)?;
                (None, TurnInput::Text(text))
            }
            None => {
                let (frames, audio) = mpsc::channel(FRAMES);
                let input = Input { frames, vad: Vad::default(), rest: Vec::new() };
                (Some(input), TurnInput::Voice { source: TurnSource::PushToTalk, audio })
            }
        };
        let (running, output) = if speak {
            let (sink, driver) = AudioSink::pair();
            (hub.begin_with(options, turn_input, sink).await, Some(driver))
        } else {
            (hub.begin_silent(options, turn_input).await, None)
        };
        Ok(Self {
            session,
            turn: running.turn.clone(),
            is_ended: false,
            cancel: CancelOnDrop(running.orders()),
            report: Box::pin(running.report()),
            input,
            output,
            playback,
            samples_out: 0,
            unplayed: None,
        })
    }

    /// What the turn has to say next.
    pub async fn next(&mut self) -> Wake {
        let unplayed = self.unplayed;
        let late = async {
            match unplayed {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let output = async {
            match &mut self.output {
                Some(output) => output.commands.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            command = output => Wake::Sink(command),
            report = &mut self.report => Wake::Ended(report),
            () = late => Wake::Unplayed,
        }
    }

    /// Takes sound; sound that nobody listens to any more is dropped.
    pub fn hear(&mut self, bytes: &[u8]) -> ApiResult<()> {
        let Some(input) = &mut self.input else { return Ok(()) };
        let (pairs, odd) = bytes.as_chunks::<2>();
        if !odd.is_empty() {
            self.order(TurnOrder::Cancel);
            let detail = "the sound has half a sample: it is PCM of 16 bit, so every message has an even length";
            return Err(Problem::new(ErrorCode::BadAudio, detail));
        }
        input.rest.extend(pairs.iter().map(|pair| i16::from_le_bytes(*pair)));
        let whole = input.rest.len() - input.rest.len() % INPUT_FRAME_SAMPLES;
        let frames: Vec<i16> = input.rest.drain(..whole).collect();
        let all_taken = frames.chunks(INPUT_FRAME_SAMPLES).all(|frame| input.push(frame));
        if !all_taken {
            self.input = None;
            self.order(TurnOrder::Cancel);
            return Err(Problem::new(ErrorCode::AudioTooLong, "the utterance is longer than a turn accepts"));
        }
        Ok(())
    }

    /// The key is up.
    pub fn end_of_speech(&mut self) {
        let Some(mut input) = self.input.take() else { return };
        let rest = std::mem::take(&mut input.rest);
        if !rest.is_empty() {
            input.push(&rest);
        }
        // Without it the turn ends its listening anyway, because the channel closes.
        let _full = input.frames.try_send(VoiceInput::End { at: Instant::now() });
    }

    /// Gives an order; too late is no fault.
    pub fn order(&self, order: TurnOrder) {
        let _late = self.cancel.0.try_send(order);
    }

    /// Takes note of an event that was passed on.
    pub fn saw(&mut self, event: &TurnEvent) {
        self.is_ended |= is_last(event);
    }

    /// Sound goes out; `true` for the first piece.
    pub fn chunk(&mut self, samples: usize) -> bool {
        let first = self.samples_out == 0;
        self.samples_out += samples as u64;
        first
    }

    /// The first piece has left.
    pub fn first_sample(&mut self, at: Instant) {
        self.tell(SinkEvent::FirstSample { at, device_latency: Duration::ZERO });
    }

    /// All sound was sent; `true` if there was any.
    pub fn finish(&mut self) -> bool {
        let sound = self.samples_out > 0;
        if sound && self.playback == Playback::Reported {
            let length = Duration::from_secs_f64(self.samples_out as f64 / f64::from(OUTPUT_SAMPLE_RATE));
            self.unplayed = Some(Instant::now() + length + PLAYING_SLACK);
        } else {
            self.tell(SinkEvent::Drained);
        }
        sound
    }

    /// The answer is to be silent at once; `true` if there was sound.
    pub fn stop(&mut self) -> bool {
        self.unplayed = None;
        self.tell(SinkEvent::Drained);
        self.samples_out > 0
    }

    /// The answer was played, or counts as played.
    pub fn played(&mut self) {
        if self.unplayed.take().is_some() {
            self.tell(SinkEvent::Drained);
        }
    }

    /// Nothing more goes out.
    pub fn sink_is_gone(&mut self) {
        self.output = None;
    }

    fn tell(&self, event: SinkEvent) {
        if let Some(output) = &self.output {
            // At most a handful of these in a turn; the channel holds them.
            let _full = output.events.try_send(event);
        }
    }
}

impl Input {
    fn push(&mut self, frame: &[i16]) -> bool {
        let input = VoiceInput::Frame { samples: frame.to_vec(), voiced: self.vad.is_voiced(frame) };
        match self.frames.try_send(input) {
            // A turn that has ended listens no more, which is no fault of the client.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => true,
            Err(mpsc::error::TrySendError::Full(_)) => false,
        }
    }
}
