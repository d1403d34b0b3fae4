//! The worker that asks a server which speaks OpenAI's chat completions: Ollama's
//! `/v1`, llama-server, LM Studio, vLLM.
//!
//! What is said at home goes to this machine or its network only, unless the user
//! allowed more; redirects and proxies are refused, because they would undo that.
//! Deliberately absent: grammars. The server may hold its model to the schema or not;
//! a call that does not fit is refused here.

pub mod endpoint;
pub mod stream;

use crate::decode::{Stop, failure};
use crate::local::micros;
use crate::openai::endpoint::{Endpoint, LanResolver};
use crate::openai::stream::{Completion, SseLines};
use crate::schema::Schema;
use crate::settings::Settings;
use crate::tools;
use loqa_engine::{CancelFlag, Capability, EngineBoot, Job, Loaded, Worker};
use loqa_protocol::llm::{ChatMessage, LlmDone, LlmReply, LlmRequest, Role};
use loqa_protocol::{ErrorCode, Failure, SessionId, ToolCall, ToolSpec, TurnId, WorkId};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A server that does not accept a connection in this time is not there.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// For the list of models at start.
const LIST_DEADLINE: Duration = Duration::from_secs(5);
/// For the first reply, which makes the server load its model.
const WARM_UP_DEADLINE: Duration = Duration::from_secs(60);
/// How often the cancel flag is looked at.
const CANCEL_POLL: Duration = Duration::from_millis(5);
/// Longest answer that is read, in bytes. Chosen: a thousand times a spoken reply.
const MAX_ANSWER: usize = 4 << 20;

/// A server and the model it is asked for.
pub struct RemoteModel {
    // The connections of the client run on the runtime: it goes last.
    client: reqwest::Client,
    endpoint: Endpoint,
    model: String,
    api_key: Option<String>,
    runtime: tokio::runtime::Runtime,
}

/// Connects, looks for the model and measures it.
pub fn load(boot: &EngineBoot, settings: &Settings) -> Result<Loaded, Failure> {
    let mut remote = RemoteModel::connect(boot, settings)?;
    remote.find_model()?;
    let measured_speed = remote.measure();
    tracing::info!(endpoint = %remote.endpoint, model = %remote.model, "language model server found");
    let capability = Capability {
        name: boot.capability.clone(),
        model: boot.model.clone(),
        quantisation: "unknown".into(),
        languages: settings.languages.clone().unwrap_or_else(|| vec!["en".into()]),
        sample_rate: None,
        voices: Vec::new(),
        measured_speed,
    };
    Ok(Loaded { workers: vec![Box::new(remote)], capabilities: vec![capability] })
}

impl RemoteModel {
    /// Checks the endpoint's address; nothing is sent yet.
    pub fn connect(boot: &EngineBoot, settings: &Settings) -> Result<Self, Failure> {
        let endpoint = settings.endpoint.as_deref().ok_or_else(|| {
            failure(ErrorCode::BadRequest, "the setting `endpoint` is missing, for example `http://127.0.0.1:11434/v1`")
        })?;
        let endpoint = Endpoint::parse(endpoint, settings.allow_remote)
            .map_err(|error| failure(ErrorCode::BadRequest, error.to_string()))?;
        // reqwest is built without a provider of its own. An error says that one is set already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_DEADLINE)
            .dns_resolver(LanResolver { allow_remote: settings.allow_remote })
            .user_agent(concat!("loqa/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| failure(ErrorCode::EngineFault, format!("prepare the HTTP client: {error}")))?;
        // A thread of its own, so that a dropped connection is closed at once and not
        // with the next request.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("loqa-llm-http")
            .enable_all()
            .build()
            .map_err(|error| failure(ErrorCode::EngineFault, format!("start the HTTP client: {error}")))?;
        Ok(Self {
            client,
            endpoint,
            model: settings.remote_model.clone().unwrap_or_else(|| boot.model.clone()),
            api_key: settings.api_key.clone(),
            runtime,
        })
    }

    /// Asks the server which models it has.
    fn find_model(&self) -> Result<(), Failure> {
        let cancel = CancelFlag::new();
        let stop = Stop { cancel: &cancel, deadline: Instant::now() + LIST_DEADLINE };
        let request = self.authorised(self.client.get(self.endpoint.join("models")));
        let listed = self.runtime.block_on(until(stop, async {
            let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
            if answer.status() == reqwest::StatusCode::NOT_FOUND {
                // Not every server lists its models; the first request will tell.
                return Ok(None);
            }
            self.accept(&answer)?;
            self.read_all(answer).await.map(Some)
        }))?;
        let Some(text) = listed else { return Ok(()) };
        let models: Value = serde_json::from_slice(&text).map_err(|_| self.fault("did not list its models in JSON"))?;
        let names: Vec<&str> =
            models["data"].as_array().into_iter().flatten().filter_map(|model| model["id"].as_str()).collect();
        // Ollama's `llama3.2` is listed as `llama3.2:latest`.
        let known = |name: &&str| *name == self.model || name.strip_suffix(":latest") == Some(&self.model);
        if names.is_empty() || names.iter().any(known) {
            return Ok(());
        }
        let mut shown = names.iter().take(8).copied().collect::<Vec<_>>().join("`, `");
        if names.len() > 8 {
            shown.push_str("`, …");
        }
        Err(failure(
            ErrorCode::ModelInvalid,
            format!("the server at {} has no model `{}`; it has `{shown}`", self.endpoint, self.model),
        ))
    }

    /// Tokens per second of a short reply; 0 where the server gave none in time.
    fn measure(&mut self) -> f64 {
        let cancel = CancelFlag::new();
        let request = LlmRequest {
            work: WorkId::from_bits(0),
            turn: TurnId::from_bits(0),
            session: SessionId::from_bits(0),
            messages: vec![ChatMessage { role: Role::User, content: "Count from one to ten.".into() }],
            tools: Vec::new(),
            max_tokens: 24,
            temperature: 0.0,
            deadline_ms: u64::try_from(WARM_UP_DEADLINE.as_millis()).unwrap_or(u64::MAX),
        };
        let mut figures = None;
        let outcome = self.answer(&request, Instant::now(), &cancel, &mut |reply| {
            if let LlmReply::Done(done) = reply {
                figures = Some(done);
            }
            Ok(())
        });
        match (outcome, figures) {
            (Ok(()), Some(done)) if done.output_tokens > 1 && done.total_us > done.first_token_us => {
                // The first token waited for the model to load.
                f64::from(done.output_tokens - 1) * 1e6 / (done.total_us - done.first_token_us) as f64
            }
            (outcome, _) => {
                tracing::warn!(endpoint = %self.endpoint, error = ?outcome.err(), "the server's speed is not known");
                0.0
            }
        }
    }

    /// Answers one request through `send`, up to and with `Done`.
    pub fn answer(
        &mut self,
        request: &LlmRequest,
        received: Instant,
        cancel: &CancelFlag,
        send: &mut dyn FnMut(LlmReply) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        tools::check_request(request)?;
        let tools = tools::read(&request.tools)?;
        let stop = Stop { cancel, deadline: received + Duration::from_millis(request.deadline_ms) };
        stop.check()?;
        self.runtime.block_on(until(stop, self.converse(request, &tools, received, send)))
    }

    async fn converse(
        &self,
        request: &LlmRequest,
        tools: &[(&ToolSpec, Schema)],
        received: Instant,
        send: &mut dyn FnMut(LlmReply) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let names = server_names(&request.tools);
        let body = self.body(request, &names);
        let mut answer = self
            .authorised(self.client.post(self.endpoint.join("chat/completions")))
            .json(&body)
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        self.accept(&answer)?;
        let streamed = answer
            .headers()
            .get(reqwest::header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .is_none_or(|kind| !kind.starts_with("application/json"));

        let mut completion = Completion::default();
        let mut first_token = None;
        let mut deltas = 0_u32;
        if streamed {
            let mut lines = SseLines::default();
            let mut read = 0;
            'answer: while let Some(chunk) =
                answer.chunk().await.map_err(|_| self.fault("broke off in the middle of its answer"))?
            {
                read += chunk.len();
                if read > MAX_ANSWER {
                    return Err(self.fault("gave an answer without end"));
                }
                for event in lines.push(&chunk) {
                    if event.trim() == "[DONE]" {
                        completion.done = true;
                        break 'answer;
                    }
                    let text = completion.push(&event).map_err(|problem| self.fault(problem))?;
                    if let Some(text) = text {
                        first_token.get_or_insert_with(|| received.elapsed());
                        deltas += 1;
                        send(LlmReply::Delta { text })?;
                    }
                }
            }
            if !completion.done && completion.finish.is_none() {
                return Err(self.fault("broke off in the middle of its answer"));
            }
        } else {
            let text = self.read_all(answer).await?;
            let text = String::from_utf8(text).map_err(|_| self.fault("did not answer in UTF-8"))?;
            if let Some(text) = completion.push_whole(&text).map_err(|problem| self.fault(problem))? {
                first_token = Some(received.elapsed());
                deltas += 1;
                send(LlmReply::Delta { text })?;
            }
        }
        if let Some(call) = completion.call().map_err(|problem| self.fault(problem))? {
            // Names went out as the server's alphabet allows; they come back as ours.
            let name =
                names.iter().position(|name| *name == call.name).map_or(call.name, |n| request.tools[n].name.clone());
            let call = tools::check_call(tools, ToolCall { name, arguments: call.arguments })?;
            first_token = Some(received.elapsed());
            // A server tells no token probabilities; its calls are held to the schema only.
            send(LlmReply::ToolCall { call, confidence: 1.0 })?;
        }
        let total = received.elapsed();
        send(LlmReply::Done(LlmDone {
            prompt_tokens: completion.prompt_tokens,
            cached_tokens: completion.cached_tokens,
            output_tokens: if completion.output_tokens > 0 { completion.output_tokens } else { deltas },
            first_token_us: micros(first_token.unwrap_or(total)),
            total_us: micros(total),
            truncated: completion.finish.as_deref() == Some("length"),
        }))
    }

    fn body(&self, request: &LlmRequest, names: &[String]) -> Value {
        let messages: Vec<Value> = request
            .messages
            .iter()
            .map(|message| match message.role {
                Role::System => json!({"role": "system", "content": message.content}),
                Role::User => json!({"role": "user", "content": message.content}),
                Role::Assistant => json!({"role": "assistant", "content": message.content}),
                // A result needs the id of its call, which our messages do not carry.
                Role::Tool => json!({"role": "user", "content": format!("The tool answered: {}", message.content)}),
            })
            .collect();
        let mut body = json!({
            "model": self.model,
            "messages": messages,
            "stream": true,
            "stream_options": {"include_usage": true},
            "max_tokens": request.max_tokens,
            "temperature": if request.temperature.is_finite() { request.temperature.clamp(0.0, 2.0) } else { 0.0 },
        });
        if !request.tools.is_empty() {
            let tools: Vec<Value> = request
                .tools
                .iter()
                .zip(names)
                .map(|(tool, name)| {
                    json!({"type": "function", "function": {
                        "name": name, "description": tool.description, "parameters": tool.parameters,
                    }})
                })
                .collect();
            body["tools"] = Value::Array(tools);
        }
        body
    }

    fn authorised(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.api_key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Lets only success through; the body of an error may quote the prompt and is not shown.
    fn accept(&self, answer: &reqwest::Response) -> Result<(), Failure> {
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let problem = match status.as_u16() {
            300..=399 => "redirects elsewhere, which is refused; set `endpoint` to the final address".to_owned(),
            401 | 403 => "refuses the key; set `api_key`".to_owned(),
            404 => format!("answered 404: it has no model `{}` or no chat completions at this address", self.model),
            429 => "is busy (429)".to_owned(),
            other => format!("answered with the status {other}"),
        };
        Err(self.fault(&problem))
    }

    async fn read_all(&self, mut answer: reqwest::Response) -> Result<Vec<u8>, Failure> {
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| self.fault("broke off in the middle of its answer"))? {
            text.extend_from_slice(&chunk);
            if text.len() > MAX_ANSWER {
                return Err(self.fault("gave an answer without end"));
            }
        }
        Ok(text)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        // The innermost cause says it best ("connection refused"), the outer ones repeat the address.
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        self.fault(&format!("cannot be reached: {cause}; is it running?"))
    }

    fn fault(&self, problem: &str) -> Failure {
        failure(ErrorCode::EngineFault, format!("the language model server at {} {problem}", self.endpoint))
    }
}

impl Worker for RemoteModel {
    fn run(&mut self, job: Job) -> Result<(), Failure> {
        let Job::Llm(job) = job else {
            return Err(failure(ErrorCode::BadRequest, "this engine is a language model"));
        };
        self.answer(&job.request, job.received, &job.cancel, &mut |reply| {
            job.replies.send_llm(&reply).map_err(|e| failure(ErrorCode::Cancelled, e.to_string()))
        })
    }
}

/// Drops `work`, and with it the connection, as soon as there is a reason to stop.
async fn until<T>(stop: Stop<'_>, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let watch = async {
        loop {
            if let Err(reason) = stop.check() {
                return reason;
            }
            tokio::time::sleep(CANCEL_POLL).await;
        }
    };
    tokio::select! {
        result = work => result,
        reason = watch => Err(reason),
    }
}

/// OpenAI allows letters, digits, `_` and `-` in the names of functions; `timer.start`
/// travels as `timer_start`, and two names that would meet are kept apart by a number.
fn server_names(tools: &[ToolSpec]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(tools.len());
    for tool in tools {
        let plain: String =
            tool.name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        let mut name = plain.clone();
        let mut n = 2;
        while names.contains(&name) {
            name = format!("{plain}_{n}");
            n += 1;
        }
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use loqa_protocol::tool::ToolEffect;

    #[test]
    fn names_that_meet_in_the_servers_alphabet_are_kept_apart() {
        let tools: Vec<ToolSpec> = ["timer.start", "timer_start", "a-b", "timer:start"]
            .iter()
            .map(|name| ToolSpec {
                name: (*name).into(),
                description: String::new(),
                parameters: json!({}),
                effect: ToolEffect::Safe,
            })
            .collect();
        assert_eq!(server_names(&tools), ["timer_start", "timer_start_2", "a-b", "timer_start_3"]);
    }
}
