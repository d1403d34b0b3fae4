//! Dry run: what a skill would do, without its being done.
//!
//! The skill runs for real, in its sandbox and within its budget, on a copy of its
//! data that is thrown away. Every host call passes the gate as always; what would
//! reach outside is refused, or answered by a stand-in, and written down as a [`Step`].
//! Deliberately absent: questions to the person. A step says what it would need.

mod recorded;

pub use recorded::{Recorded, RecordedFault, read_recorded};

use crate::authorize::{Reach, Reason, Usage};
use crate::consent::{Answer, Consent, Question};
use crate::host::effects::Effects;
use crate::host_call::{Call, HostFunction, Running};
use crate::permission::{Permission, Tier};
use crate::scope::tier_in;
use crate::secrets::Secrets;
use crate::store::{Store, StoreError};
use crate::{CallControl, Clock, Invocation, MAX_BUDGET, Said, SkillError, SkillEvent, SkillHost, Taint};
use loqa_audit::{LogOnly, Outcome, Status};
use loqa_protocol::{Failure, PrivacyScope, SessionId, ToolCall, ToolOutcome, TurnId};
use loqa_turn::intent::IntentIndex;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What becomes of a call that would reach outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outside {
    /// The skill gets the error `dry_run`.
    Refused,
    /// The skill gets an answer: a recorded one, or the emptiest that its kind has.
    Simulated,
}

/// When the person would be asked for a permission, or whether it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantState {
    /// The manifest does not ask for it, so it is denied.
    NotDeclared,
    /// It comes with the installation.
    WithInstallation,
    /// It is asked for at the installation.
    AskedAtInstallation,
    /// It is asked for at the first use.
    AskedAtFirstUse,
    /// It is confirmed at every use.
    AskedEveryTime,
    /// It is never granted.
    NeverGranted,
}

/// One host call of a dry run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// The host function, or `http.secret`.
    pub function: String,
    /// What it would do, in a line.
    pub what: String,
    /// Its arguments as the skill gave them, or null where they are no JSON.
    pub arguments: Value,
    /// The permission that it needs.
    pub permission: &'static str,
    /// `T0` to `T4`.
    pub tier: &'static str,
    /// When that permission is granted.
    pub grant: GrantState,
    /// `granted` where the gate would let it through once it is granted, else why not.
    pub decision: &'static str,
    /// Whether it would reach outside of the skill.
    pub outside: bool,
}

/// What one input led to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The tool that was called, or the event that was delivered.
    pub trigger: String,
    /// Every host call, in order.
    pub steps: Vec<Step>,
    /// What the skill replied.
    pub outcome: Option<ToolOutcome>,
    /// Why it did not.
    pub failure: Option<Failure>,
}

/// What a dry run is given.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Something that a person says; the skill's own utterances are tried.
    Text(String),
    /// A call of a tool.
    Tool(ToolCall),
    /// An event.
    Event(SkillEvent),
}

/// A skill, ready to be tried.
pub struct DryRun {
    host: SkillHost,
    rehearsal: Arc<Rehearsal>,
    skill: String,
    /// Dropped last.
    _scratch: Scratch,
}

/// A folder of its own that is gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> Result<Self, StoreError> {
        let path = std::env::temp_dir().join(format!("loqa-dry-run-{:016x}", rand::random::<u64>()));
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::DirBuilderExt as _;
            builder.mode(0o700);
        }
        builder.create(&path).map_err(|source| StoreError::Open { path: path.display().to_string(), source })?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "a dry run leaves its folder behind");
        }
    }
}

impl DryRun {
    /// Loads the skill in `folder`. With `data_dir` it sees a copy of what it keeps there.
    pub fn open(
        folder: &Path,
        data_dir: Option<&Path>,
        clock: Arc<dyn Clock>,
        outside: Outside,
    ) -> Result<Self, SkillError> {
        let scratch = Scratch::make()?;
        if let Some(data_dir) = data_dir {
            Store::copy(data_dir, &scratch.0)?;
        }
        // Whether a secret is set is all that is looked at.
        let secrets = Secrets::in_folder(data_dir.unwrap_or(&scratch.0));
        let rehearsal = Arc::new(Rehearsal { outside, steps: Mutex::default(), answers: Mutex::default() });
        let host = SkillHost::assemble(
            &scratch.0,
            secrets,
            clock,
            Arc::new(Nothing),
            Arc::new(LogOnly),
            Some(Arc::clone(&rehearsal)),
        )?;
        host.set_consent(Arc::new(Yes), Duration::from_secs(1));
        let info = host.load_as_granted(folder)?;
        host.grant_declared(&info.name);
        Ok(Self { host, rehearsal, skill: info.name, _scratch: scratch })
    }

    /// Keeps an answer for the next simulated call of that function.
    pub fn answer(&self, function: HostFunction, value: Value) {
        lock(&self.rehearsal.answers).entry(function).or_default().push_back(value);
    }

    /// Runs the skill on one input. What it wrote is there for the next one and gone after the last.
    #[must_use]
    pub fn run(&self, input: &Input) -> Report {
        let call = match input {
            Input::Tool(call) => call.clone(),
            Input::Text(text) => match self.plan(text) {
                Ok(call) => call,
                Err(failure) => return self.report(text.clone(), Err(failure)),
            },
            Input::Event(event) => {
                let outcome = self.host.deliver(&self.skill, event);
                return self.report(event.name.clone(), outcome.map(Option::unwrap_or_default));
            }
        };
        let trigger = call.name.clone();
        let utterance = if let Input::Text(text) = input { text.clone() } else { String::new() };
        let outcome = self.host.call(&Invocation {
            session: SessionId::from_bits(0),
            turn: TurnId::from_bits(0),
            scope: PrivacyScope::Persistent,
            call,
            taint: Taint::user(),
            said: Said { utterance, history: Vec::new(), taint: Taint::user() },
            budget: MAX_BUDGET,
            cancel: Arc::default(),
        });
        self.report(trigger, outcome)
    }

    fn plan(&self, text: &str) -> Result<ToolCall, Failure> {
        let not_understood =
            |message: String| Failure::new(loqa_protocol::Hop::Plan, loqa_protocol::ErrorCode::NotUnderstood, message);
        let index = IntentIndex::compile(&self.host.intents())
            .map_err(|_| not_understood("the skill's utterances do not compile".to_owned()))?;
        let found = index.find(text).map(|found| found.call.clone());
        found
            .ok_or_else(|| not_understood("no utterance of the skill fits; a language model would be asked".to_owned()))
    }

    fn report(&self, trigger: String, outcome: Result<ToolOutcome, Failure>) -> Report {
        let steps = std::mem::take(&mut *lock(&self.rehearsal.steps));
        let (outcome, failure) = match outcome {
            Ok(outcome) => (Some(outcome), None),
            Err(failure) => (None, Some(failure)),
        };
        Report { trigger, steps, outcome, failure }
    }
}

/// Writes down the steps, and stands in for the world.
pub(crate) struct Rehearsal {
    outside: Outside,
    steps: Mutex<Vec<Step>>,
    answers: Mutex<BTreeMap<HostFunction, VecDeque<Value>>>,
}

impl Rehearsal {
    pub(crate) fn note(
        &self,
        running: &Running,
        function: HostFunction,
        input: &[u8],
        call: Option<&Call>,
        denied: Option<Reason>,
    ) {
        let permission = function.permission();
        let arguments = serde_json::from_slice(input).unwrap_or(Value::Null);
        let (tier, grant) = need(running, permission);
        lock(&self.steps).push(Step {
            function: function.name().to_owned(),
            what: describe(function, &arguments),
            arguments,
            permission: permission.as_str(),
            tier,
            grant,
            decision: if call.is_none() && denied.is_none() {
                "bad_arguments"
            } else {
                denied.unwrap_or(Reason::Granted).as_str()
            },
            outside: function.reach() == Reach::Outside,
        });
        if let (Some(Call::Http(request)), None) = (call, denied) {
            let origin = request.origin();
            for name in request.secret_names() {
                let usage = Usage { secret: Some(name), origin: Some(&origin), ..Usage::default() };
                let decision = running.authorize("http.secret", Permission::SecretUse, usage, Reach::Inside);
                let reason = decision.map_or_else(
                    |reason| reason,
                    |authorized| {
                        authorized.finish(Outcome::of(Status::Ok));
                        Reason::Granted
                    },
                );
                let (tier, grant) = need(running, Permission::SecretUse);
                lock(&self.steps).push(Step {
                    function: "http.secret".to_owned(),
                    what: format!("put the secret `{name}` into the request to {origin}"),
                    arguments: json!({ "name": name, "origin": origin }),
                    permission: Permission::SecretUse.as_str(),
                    tier,
                    grant,
                    decision: reason.as_str(),
                    outside: true,
                });
            }
        }
    }

    /// The answer of a simulated effect, or `None` where effects are refused.
    pub(crate) fn stand_in(&self, function: HostFunction, call: &Call) -> Option<Value> {
        if self.outside == Outside::Refused {
            return None;
        }
        let recorded = lock(&self.answers).get_mut(&function).and_then(VecDeque::pop_front);
        Some(recorded.unwrap_or_else(|| match call {
            Call::Http(request) => {
                json!({ "status": 200, "headers": {}, "body": "{}", "url": request.address() })
            }
            Call::Llm { .. } => json!({ "text": "", "tokens": 0 }),
            _ => Value::Null,
        }))
    }
}

/// Tier and state of a permission, as this manifest scopes it.
fn need(running: &Running, permission: Permission) -> (&'static str, GrantState) {
    let Some(requested) = running.manifest.requested(permission) else {
        return (tier_name(permission.tier()), GrantState::NotDeclared);
    };
    let tier = tier_in(permission, &requested.scope);
    let state = match tier {
        Tier::T0 => GrantState::WithInstallation,
        Tier::T1 => GrantState::AskedAtInstallation,
        Tier::T2 => GrantState::AskedAtFirstUse,
        Tier::T3 => GrantState::AskedEveryTime,
        Tier::T4 => GrantState::NeverGranted,
    };
    (tier_name(tier), state)
}

const fn tier_name(tier: Tier) -> &'static str {
    match tier {
        Tier::T0 => "T0",
        Tier::T1 => "T1",
        Tier::T2 => "T2",
        Tier::T3 => "T3",
        Tier::T4 => "T4",
    }
}

/// A step in a line. The texts are the skill's: whoever prints them escapes them.
fn describe(function: HostFunction, arguments: &Value) -> String {
    let text = |key: &str| arguments[key].as_str().unwrap_or("?").escape_debug().to_string();
    match function {
        HostFunction::Log => "write to the log".to_owned(),
        HostFunction::Say => format!("say “{}” in the turn", text("text")),
        HostFunction::Announce => format!("say “{}” unasked", text("text")),
        HostFunction::Notify => format!("show “{}”", text("text")),
        HostFunction::Publish => format!("publish on `{}`", text("topic")),
        HostFunction::KvGet => format!("read `{}`", text("key")),
        HostFunction::KvSet => format!("keep `{}`", text("key")),
        HostFunction::KvDelete => format!("forget `{}`", text("key")),
        HostFunction::KvList => format!("list keys that begin with `{}`", text("prefix")),
        HostFunction::Now => "read the clock".to_owned(),
        HostFunction::TimerSet => format!("set the timer `{}` to {} ms", text("id"), arguments["due_in_ms"]),
        HostFunction::TimerCancel => format!("cancel the timer `{}`", text("id")),
        HostFunction::TimerList => "list its timers".to_owned(),
        HostFunction::Http => format!("{} {}", text("method"), text("url")),
        HostFunction::Secret => format!("ask whether the secret `{}` is set", text("name")),
        HostFunction::Transcript => format!("read what was said: {}", text("level")),
        HostFunction::EventStore => format!("read recorded events: {}", text("level")),
        HostFunction::Llm => "ask the language model".to_owned(),
        HostFunction::Device => format!("{} {}", text("operation"), text("entity")),
    }
}

/// Nobody is asked in a dry run, and nothing comes of it: every step says what it would need.
struct Yes;

impl Consent for Yes {
    fn ask(&self, _question: &Question, _limit: Duration, _control: &CallControl) -> Answer {
        Answer::Once
    }
}

/// Nothing outside happens in a dry run.
struct Nothing;

impl Effects for Nothing {
    fn say(&self, _skill: &str, _text: &str) {}

    fn notify(&self, _skill: &str, _text: &str) {}

    fn publish(&self, _skill: &str, _topic: &str, _data: &Value) {}
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
