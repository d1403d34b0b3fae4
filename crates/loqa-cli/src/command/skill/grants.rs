//! `loqa skill grants|grant|revoke|prompts`: what skills may do, and the questions that
//! are open. A running hub is asked; without one the grants are changed where they lie.

use crate::command::nodes;
use crate::{BadArguments, Session};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use loqa_audit::Audit;
use loqa_bus::Bus;
use loqa_hub::consent::grant_info;
use loqa_hub::paths::DataLock;
use loqa_protocol::grant::{GrantInfo, GrantReply, GrantRequest, Prompt, PromptReply, PromptRequest};
use loqa_protocol::{PromptId, SessionId, subject};
use loqa_skills::grants::{Grantor, Grants, Lifetime, NewGrant};
use loqa_skills::{Permission, Scope, SystemClock};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for the hub.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often open questions are looked for. Chosen.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List what skills may do.
    Grants {
        /// Only this skill.
        skill: Option<String>,
        /// Also what is over.
        #[arg(long)]
        all: bool,
    },
    /// Let a skill do something that its manifest asks for.
    Grant(Give),
    /// Take a permission from a skill, or all of them; also from a call that is running.
    Revoke {
        /// The skill.
        skill: String,
        /// The permission; everything without it.
        permission: Option<String>,
    },
    /// List the questions that skills have open, or answer one.
    Prompts {
        /// Answer this question: its id, and once, session, always, deny or never.
        #[arg(long, num_args = 2, value_names = ["ID", "ANSWER"], conflicts_with = "watch")]
        answer: Option<Vec<String>>,
        /// Wait for questions and answer them here, until interrupted.
        #[arg(long)]
        watch: bool,
    },
}

/// One grant.
#[derive(Debug, Args)]
pub struct Give {
    /// The skill.
    skill: String,
    /// The permission, for example `http:call`.
    permission: String,
    /// Narrower than the manifest: KEY=VALUE, lists with commas; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    scope: Vec<String>,
    /// How long.
    #[arg(long, value_enum, default_value_t = Word::Always)]
    lifetime: Word,
    /// The session, for `--lifetime session`.
    #[arg(long, value_name = "ID", required_if_eq("lifetime", "session"))]
    session: Option<String>,
}

/// A lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Word {
    /// For one call of the skill.
    Once,
    /// As long as a session.
    Session,
    /// Until it is revoked, or unused for 90 days.
    Always,
    /// Deny it, and do not ask.
    Never,
}

impl Word {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Session => "session",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// Runs the command.
pub async fn run(session: &Session, action: Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Grants { skill, all } => list(session, skill, all).await,
        Action::Grant(give) => grant(session, give).await,
        Action::Revoke { skill, permission } => revoke(session, skill, permission).await,
        Action::Prompts { answer: Some(words), .. } => answer(session, &words).await,
        Action::Prompts { watch: true, .. } => watch(session).await,
        Action::Prompts { .. } => prompts(session).await,
    }
}

async fn list(session: &Session, skill: Option<String>, all: bool) -> anyhow::Result<ExitCode> {
    let mut grants = match nodes::connect(session).await? {
        Some(bus) => ask(&bus, &GrantRequest::List { skill }).await?,
        None => {
            let at_rest = AtRest::open(session)?;
            let grants = at_rest.grants.list(skill.as_deref());
            at_rest.close();
            grants.iter().map(grant_info).collect()
        }
    };
    grants.retain(|grant| all || grant.ended.is_none());
    if session.json {
        println!("{}", json!({ "grants": grants }));
        return Ok(ExitCode::SUCCESS);
    }
    if grants.is_empty() {
        println!("nothing is granted");
    }
    for grant in grants {
        print_grant(&grant);
    }
    Ok(ExitCode::SUCCESS)
}

async fn grant(session: &Session, give: Give) -> anyhow::Result<ExitCode> {
    let permission = permission_of(&give.permission)?;
    let scope = Scope::from_words(permission, give.scope.iter().map(String::as_str))
        .map_err(|fault| BadArguments(fault.to_string()))?;
    let of_session = give
        .session
        .as_deref()
        .map(|id| SessionId::new(id).map_err(|error| BadArguments(error.to_string())))
        .transpose()?;
    if of_session.is_some() && give.lifetime != Word::Session {
        bail!(BadArguments("`--session` goes with `--lifetime session`".to_owned()));
    }
    let granted = match nodes::connect(session).await? {
        Some(bus) => {
            let request = GrantRequest::Grant {
                skill: give.skill,
                permission: permission.as_str().to_owned(),
                scope: scope.to_json(),
                lifetime: give.lifetime.as_str().to_owned(),
                session: of_session,
            };
            ask(&bus, &request).await?
        }
        None => {
            let lifetime = match give.lifetime {
                Word::Once => Lifetime::Once,
                Word::Always => Lifetime::Always,
                Word::Never => Lifetime::Never,
                Word::Session => bail!("a session lasts as long as its hub, and no hub is running"),
            };
            let at_rest = AtRest::open(session)?;
            let (manifest, digest) = find(session, &give.skill)?;
            let new = NewGrant::by_manifest(&manifest, &digest, permission, &scope, lifetime, Grantor::Operator)?;
            let grant = at_rest.grants.grant(new)?;
            at_rest.close();
            vec![grant_info(&grant)]
        }
    };
    print_changed(session, "granted", &granted)
}

async fn revoke(session: &Session, skill: String, permission: Option<String>) -> anyhow::Result<ExitCode> {
    let of = permission.as_deref().map(permission_of).transpose()?;
    let revoked = match nodes::connect(session).await? {
        Some(bus) => {
            let permission = of.map(|permission| permission.as_str().to_owned());
            ask(&bus, &GrantRequest::Revoke { skill, permission }).await?
        }
        None => {
            let at_rest = AtRest::open(session)?;
            let grants = at_rest.grants.revoke(&skill, of, Grantor::Operator)?;
            at_rest.close();
            grants.iter().map(grant_info).collect()
        }
    };
    print_changed(session, "revoked", &revoked)
}

fn print_changed(session: &Session, what: &str, grants: &[GrantInfo]) -> anyhow::Result<ExitCode> {
    if session.json {
        println!("{}", Value::Object(Map::from_iter([(what.to_owned(), json!(grants))])));
        return Ok(ExitCode::SUCCESS);
    }
    if grants.is_empty() {
        println!("nothing of that was granted");
    }
    for grant in grants {
        print!("{what}: ");
        print_grant(grant);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_grant(grant: &GrantInfo) {
    let ended = grant.ended.as_ref().map(|ended| format!(", over: {ended}")).unwrap_or_default();
    let scope = Value::Object(grant.scope.clone());
    println!(
        "{:<14} {:<17} {} {:<8} {scope} by {}{ended} ({})",
        grant.skill, grant.permission, grant.tier, grant.lifetime, grant.granted_by, grant.id
    );
}

async fn prompts(session: &Session) -> anyhow::Result<ExitCode> {
    let bus = hub(session).await?;
    let prompts = open_prompts(&bus).await?;
    if session.json {
        println!("{}", json!({ "prompts": prompts }));
        return Ok(ExitCode::SUCCESS);
    }
    if prompts.is_empty() {
        println!("no question is open");
    }
    for prompt in &prompts {
        print_prompt(prompt);
    }
    Ok(ExitCode::SUCCESS)
}

async fn answer(session: &Session, words: &[String]) -> anyhow::Result<ExitCode> {
    let [id, answer] = words else { bail!(BadArguments("write --answer ID ANSWER".to_owned())) };
    let prompt = PromptId::new(id.as_str()).map_err(|error| BadArguments(error.to_string()))?;
    let bus = hub(session).await?;
    give_answer(&bus, prompt, answer).await?;
    if session.json {
        println!("{}", json!({ "prompt": id, "answer": answer }));
    } else {
        println!("answered: {answer}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows each question once and reads its answer from standard input; the questions are
/// looked for, not only heard of, so that none is missed.
async fn watch(session: &Session) -> anyhow::Result<ExitCode> {
    let bus = hub(session).await?;
    let mut lines = read_lines();
    let mut shown = BTreeSet::new();
    loop {
        let open = open_prompts(&bus).await?;
        shown.retain(|id| open.iter().any(|prompt| prompt.id.as_str() == id));
        let Some(prompt) = open.into_iter().find(|prompt| !shown.contains(prompt.id.as_str())) else {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => continue,
                // What is typed while nothing is asked answers nothing.
                line = lines.recv() => if line.is_none() { return Ok(ExitCode::SUCCESS) } else { continue },
            }
        };
        shown.insert(prompt.id.as_str().to_owned());
        while lines.try_recv().is_ok() {}
        if session.json {
            println!("{}", json!({ "prompt": prompt }));
        } else {
            print_prompt(&prompt);
            print!("  answer [deny]: ");
        }
        std::io::stdout().flush().context("write to standard output")?;
        let limit = Duration::from_millis(prompt.expires_ms);
        let word = match tokio::time::timeout(limit, lines.recv()).await {
            Err(_) => {
                println!();
                println!("  nobody answered in time");
                continue;
            }
            Ok(None) => return Ok(ExitCode::SUCCESS),
            Ok(Some(line)) => line.trim().to_owned(),
        };
        let word = if word.is_empty() { "deny" } else { &word };
        if let Err(error) = give_answer(&bus, prompt.id, word).await {
            eprintln!("loqa: {error:#}");
            // The question may be open still, and is shown again.
            shown.clear();
        }
    }
}

/// Lines of standard input; the reading thread ends with the program.
fn read_lines() -> tokio::sync::mpsc::Receiver<String> {
    let (sender, lines) = tokio::sync::mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The hub has made every text plain, so nothing here can move the cursor.
fn print_prompt(prompt: &Prompt) {
    println!("{} asks for {} ({}): {}", prompt.skill, prompt.permission, prompt.tier, prompt.target);
    println!("  its author says: {}", prompt.reason);
    println!("  values come from: {}", prompt.taint.join(", "));
    if prompt.occasion == "first_use" {
        println!("  a lasting answer reaches: {}", Value::Object(prompt.scope.clone()));
    }
    println!(
        "  {} {} · answers: {} · {} s left",
        prompt.id,
        prompt.occasion,
        prompt.answers.join(", "),
        prompt.expires_ms / 1_000
    );
}

async fn hub(session: &Session) -> anyhow::Result<Bus> {
    nodes::connect(session).await?.context("no hub is running, so no question is open; start one with `loqa serve`")
}

async fn open_prompts(bus: &Bus) -> anyhow::Result<Vec<Prompt>> {
    let reply: PromptReply = bus
        .request(subject::HUB_PROMPT, &PromptRequest::List, PATIENCE)
        .await
        .context("ask the hub for its questions")?;
    match reply {
        PromptReply::Open { prompts } => Ok(prompts),
        PromptReply::Taken => bail!("the hub's answer does not fit"),
        PromptReply::Refused { failure } => bail!("{}", failure.message),
    }
}

async fn give_answer(bus: &Bus, prompt: PromptId, answer: &str) -> anyhow::Result<()> {
    let request = PromptRequest::Answer { prompt, answer: answer.to_owned() };
    match bus.request(subject::HUB_PROMPT, &request, PATIENCE).await.context("answer the question")? {
        PromptReply::Taken => Ok(()),
        PromptReply::Refused { failure } => bail!("{}", failure.message),
        PromptReply::Open { .. } => bail!("the hub's answer does not fit"),
    }
}

async fn ask(bus: &Bus, request: &GrantRequest) -> anyhow::Result<Vec<GrantInfo>> {
    match bus.request(subject::HUB_GRANT, request, PATIENCE).await.context("ask the hub about grants")? {
        GrantReply::Grants { grants } => Ok(grants),
        GrantReply::Refused { failure } => bail!("{}", failure.message),
    }
}

fn permission_of(name: &str) -> anyhow::Result<Permission> {
    let known = || Permission::ALL.iter().map(|permission| permission.as_str()).collect::<Vec<_>>().join(", ");
    Ok(Permission::from_name(name).ok_or_else(|| {
        BadArguments(format!("there is no permission `{}`; use one of: {}", name.escape_debug(), known()))
    })?)
}

/// The grants while no hub runs, with the record of what is done to them.
struct AtRest {
    grants: Grants,
    audit: Arc<Audit>,
    /// Keeps a hub from starting meanwhile.
    _lock: DataLock,
}

impl AtRest {
    fn open(session: &Session) -> anyhow::Result<Self> {
        session.paths.prepare()?;
        let data = &session.paths.data;
        let lock = DataLock::take(data)?;
        let audit = loqa_hub::audit::open(data, &session.config)?;
        let grants = Grants::open(data, Arc::new(SystemClock), Arc::clone(&audit) as _).context("open the grants")?;
        Ok(Self { grants, audit, _lock: lock })
    }

    /// Returns when everything is on the disk.
    fn close(self) {
        self.audit.close();
    }
}

/// The skill of that name among those that the hub would load.
fn find(session: &Session, skill: &str) -> anyhow::Result<(loqa_skills::Manifest, String)> {
    for folder in &session.paths.skills {
        let (manifest, digest) = loqa_skills::identify(folder)?;
        if manifest.name == skill {
            return Ok((manifest, digest));
        }
    }
    let installed = super::installed(session);
    let index = installed.index()?;
    let Some(found) = index.skills.get(skill) else {
        bail!("no skill `{}` is there; `loqa skill list` lists what is", skill.escape_debug());
    };
    Ok(loqa_skills::identify(&installed.folder(skill, &found.current))?)
}
