//! The worker that answers with llama.cpp in this process.

use crate::chat::{ChatDialect, ChatReader};
use crate::decode::{Decoder, LoadOptions, Sampling, Stop, failure};
use crate::gguf::{self, GgufHeader};
use crate::reflex::{self, ReflexMap, ReflexReader};
use crate::schema::Schema;
use crate::tools;
use loqa_engine::{CancelFlag, Job, Worker};
use loqa_protocol::llm::{LlmDone, LlmReply, LlmRequest};
use loqa_protocol::{ErrorCode, Failure, ToolCall, ToolSpec};
use std::path::Path;
use std::time::{Duration, Instant};

/// Highest confidence of a call in which the grammar overruled the model. Below any
/// gate that makes sense: the model wanted to say something that it may not.
pub const STEERED_CONFIDENCE: f32 = 0.1;

/// A loaded model with its dialect.
pub struct LocalModel {
    dialect: Dialect,
    decoder: Decoder,
    header: GgufHeader,
}

enum Dialect {
    Chat(Box<ChatDialect>),
    Reflex(Box<ReflexMap>),
}

enum Reader {
    Chat(ChatReader),
    Reflex(ReflexReader),
}

/// One request as the model sees it.
pub struct Ask<'a> {
    /// The request.
    pub request: &'a LlmRequest,
    /// When it arrived.
    pub received: Instant,
    /// Set when it is to stop.
    pub cancel: &'a CancelFlag,
}

impl LocalModel {
    /// Checks and loads a GGUF file.
    pub fn load(path: &Path, options: LoadOptions) -> Result<Self, Failure> {
        let header = gguf::check_file(path)
            .map_err(|error| failure(ErrorCode::ModelInvalid, format!("`{}`: {error}", path.display())))?;
        let decoder = Decoder::load(path, &header, options)?;
        let dialect = if reflex::is_reflex(decoder.model()) {
            Dialect::Reflex(Box::new(ReflexMap::beside(path)?))
        } else {
            Dialect::Chat(Box::new(ChatDialect::of(decoder.model())?))
        };
        Ok(Self { dialect, decoder, header })
    }

    /// What the file says about itself.
    #[must_use]
    pub fn header(&self) -> &GgufHeader {
        &self.header
    }

    /// The decoder, for measurements.
    pub fn decoder(&mut self) -> &mut Decoder {
        &mut self.decoder
    }

    /// Whether this is the reflex model.
    #[must_use]
    pub fn is_reflex(&self) -> bool {
        matches!(self.dialect, Dialect::Reflex(_))
    }

    /// Answers one request through `send`, up to and with `Done`.
    pub fn answer(
        &mut self,
        ask: &Ask<'_>,
        send: &mut dyn FnMut(LlmReply) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Ask { request, received, cancel } = *ask;
        tools::check_request(request)?;
        let stop = Stop { cancel, deadline: received + Duration::from_millis(request.deadline_ms) };
        stop.check()?;
        let tools = tools::read(&request.tools)?;
        let (prompt, prefix, grammar, reader) = self.prepare(request, &tools)?;
        let mut grammar = grammar.map(|text| self.decoder.grammar(&text)).transpose()?;
        let cached = self.decoder.prefill(&prompt, prefix, stop)?;

        let mut reply = Reply { reader, pieces: Utf8Pieces::default(), first_token: None };
        // The reflex model answers in one way or not at all.
        let temperature = if self.is_reflex() { 0.0 } else { sane_temperature(request.temperature) };
        let mut sampling = Sampling { temperature, seed: seed(request) };
        let room = self.decoder.n_ctx() - prompt.len();
        let most = (request.max_tokens as usize).min(room);
        let mut confidence = 1.0_f32;
        let mut steered = false;
        let mut output_tokens = 0_u32;
        let mut truncated = false;
        loop {
            stop.check()?;
            if output_tokens as usize >= most {
                truncated = true;
                break;
            }
            if reply.in_call() {
                // Chance may choose words, not arguments.
                sampling.temperature = 0.0;
            }
            let picked = self.decoder.pick(grammar.as_mut(), &mut sampling)?;
            confidence = confidence.min(picked.probability);
            steered |= picked.steered;
            let vocab = self.decoder.model().vocab();
            if vocab.is_eog(picked.token) {
                break;
            }
            if let Some(grammar) = grammar.as_mut() {
                grammar.try_accept(picked.token).map_err(|_| {
                    failure(ErrorCode::EngineFault, "llama.cpp refused a token that its grammar had allowed")
                })?;
            }
            // Markers such as `<tool_call>` may be control tokens; they matter only where calls can be.
            let piece = vocab.token_to_piece(picked.token, grammar.is_some(), None);
            output_tokens += 1;
            if let Some(text) = reply.push(&piece) {
                if reply.first_token.is_none() {
                    reply.first_token = Some(received.elapsed());
                }
                send(LlmReply::Delta { text })?;
            }
            if reply.is_complete() {
                break;
            }
            self.decoder.advance(picked.token, stop)?;
        }
        if let Some(call) = self.finished_call(&mut reply, &tools, truncated)? {
            if let Dialect::Reflex(map) = &self.dialect {
                confidence = map.confidence(confidence);
            }
            if steered {
                confidence = confidence.min(STEERED_CONFIDENCE);
            }
            reply.first_token = Some(received.elapsed());
            send(LlmReply::ToolCall { call, confidence })?;
        } else if let Some(text) = reply.pieces.finish() {
            send(LlmReply::Delta { text })?;
        }
        let total = received.elapsed();
        send(LlmReply::Done(LlmDone {
            prompt_tokens: count(prompt.len()),
            cached_tokens: count(cached),
            output_tokens,
            first_token_us: micros(reply.first_token.unwrap_or(total)),
            total_us: micros(total),
            truncated,
        }))
    }

    fn prepare(
        &mut self,
        request: &LlmRequest,
        tools: &[(&ToolSpec, Schema)],
    ) -> Result<(Vec<llama_cpp_2::token::LlamaToken>, usize, Option<String>, Reader), Failure> {
        match &mut self.dialect {
            Dialect::Chat(chat) => {
                let prompt = chat.prompt(&self.decoder, request)?;
                let reader = ChatReader::new(chat.style(), !tools.is_empty());
                Ok((prompt.tokens, prompt.prefix, chat.grammar(tools), Reader::Chat(reader)))
            }
            Dialect::Reflex(map) => {
                let offer = map.matched(tools);
                let prompt = reflex::prompt(&self.decoder, request, &offer)?;
                let grammar = offer.grammar(&prompt.command);
                Ok((prompt.tokens, prompt.prefix, Some(grammar), Reader::Reflex(ReflexReader::default())))
            }
        }
    }

    fn finished_call(
        &self,
        reply: &mut Reply,
        tools: &[(&ToolSpec, Schema)],
        truncated: bool,
    ) -> Result<Option<ToolCall>, Failure> {
        if !reply.in_call() {
            return Ok(None);
        }
        let cut = || failure(ErrorCode::EngineFault, "the tool call was cut off at `max_tokens`");
        match (&self.dialect, &reply.reader) {
            (Dialect::Reflex(map), Reader::Reflex(reader)) => {
                if truncated && !reader.is_complete() {
                    return Err(cut());
                }
                map.matched(tools).call(reader.answer()).map(Some)
            }
            (_, Reader::Chat(reader)) => match reader.call() {
                None if truncated => Err(cut()),
                None => Err(failure(ErrorCode::EngineFault, "the model wrote a broken tool call")),
                Some(call) => tools::check_call(tools, call).map(Some),
            },
            (Dialect::Chat(_), Reader::Reflex(_)) => {
                Err(failure(ErrorCode::EngineFault, "the reader is of another dialect"))
            }
        }
    }
}

impl Worker for LocalModel {
    fn run(&mut self, job: Job) -> Result<(), Failure> {
        let Job::Llm(job) = job else {
            return Err(failure(ErrorCode::BadRequest, "this engine is a language model"));
        };
        let ask = Ask { request: &job.request, received: job.received, cancel: &job.cancel };
        self.answer(&ask, &mut |reply| {
            job.replies.send_llm(&reply).map_err(|e| failure(ErrorCode::Cancelled, e.to_string()))
        })
    }
}

/// A reply while it grows.
struct Reply {
    reader: Reader,
    pieces: Utf8Pieces,
    first_token: Option<Duration>,
}

impl Reply {
    fn push(&mut self, bytes: &[u8]) -> Option<String> {
        let text = self.pieces.push(bytes)?;
        let shown = match &mut self.reader {
            Reader::Chat(reader) => reader.push(&text),
            Reader::Reflex(reader) => reader.push(&text),
        };
        (!shown.is_empty()).then_some(shown)
    }

    fn in_call(&self) -> bool {
        match &self.reader {
            Reader::Chat(reader) => reader.in_call(),
            Reader::Reflex(reader) => reader.in_call(),
        }
    }

    fn is_complete(&self) -> bool {
        match &self.reader {
            Reader::Chat(reader) => reader.in_call() && reader.call().is_some(),
            Reader::Reflex(reader) => reader.is_complete(),
        }
    }
}

/// Tokens end anywhere in a character; pieces of text do not.
#[derive(Debug, Default)]
pub struct Utf8Pieces {
    pending: Vec<u8>,
}

impl Utf8Pieces {
    /// Takes bytes, gives the text that is complete; `None` where there is none yet.
    pub fn push(&mut self, bytes: &[u8]) -> Option<String> {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.pending) {
                Ok(rest) => {
                    text.push_str(rest);
                    self.pending.clear();
                    break;
                }
                Err(error) => {
                    let (valid, rest) = self.pending.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(bad) = error.error_len() else {
                        self.pending = rest.to_vec();
                        break;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    self.pending = rest[bad..].to_vec();
                }
            }
        }
        (!text.is_empty()).then_some(text)
    }

    /// What is left when no more bytes come.
    pub fn finish(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.pending);
        (!rest.is_empty()).then(|| char::REPLACEMENT_CHARACTER.to_string())
    }
}

fn sane_temperature(temperature: f32) -> f32 {
    if temperature.is_finite() { temperature.clamp(0.0, 2.0) } else { 0.0 }
}

/// The same work gives the same words.
fn seed(request: &LlmRequest) -> u64 {
    // FNV-1a.
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    request.work.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, hash) | 1
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_text_end_between_characters() {
        let text = "Grüße, 東京 ☕";
        for size in 1..6 {
            let mut pieces = Utf8Pieces::default();
            let mut got: String = text.as_bytes().chunks(size).filter_map(|bytes| pieces.push(bytes)).collect();
            got.extend(pieces.finish());
            assert_eq!(got, text, "cut every {size} bytes");
        }
        let mut pieces = Utf8Pieces::default();
        assert_eq!(pieces.push(b"a\xffb\xe2\x98"), Some("a\u{fffd}b".into()), "what is broken is marked");
        assert_eq!(pieces.finish(), Some("\u{fffd}".into()), "and so is half a character at the end");
    }
}
