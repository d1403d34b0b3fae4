//! `loqa models …`: the catalog, whether the files are what it says, downloads, forecasts,
//! and which models a running hub uses.

mod pull;

use crate::{BadArguments, Session};
use anyhow::Context as _;
use clap::Subcommand;
use loqa_hub::models::{self, Catalog, Model, Presence};
use loqa_models::forecast::{Fit, Unit};
use loqa_models::{Forecast, Machine};
use loqa_protocol::engine::EngineKind;
use loqa_protocol::models::{ModelInUse, ModelsReply, ModelsRequest};
use loqa_protocol::subject;
use std::process::ExitCode;
use std::time::Duration;

/// A model may take this long to load. Chosen: more than the hub waits.
const USE_PATIENCE: Duration = Duration::from_mins(4);

/// What to do with the models.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List the catalog, and what a running hub uses of it.
    List,
    /// Check size, digest and header of every file, reading all of it.
    Verify {
        /// Names; all installed models by default.
        names: Vec<String>,
    },
    /// Fetch a model; goes on where an earlier try broke off.
    Pull(pull::Pull),
    /// Remove a fetched model and what is left of pulls.
    Remove {
        /// Name in the catalog.
        name: String,
    },
    /// Say how fast models would be on this machine and whether they fit.
    Forecast {
        /// Names; the whole catalog by default.
        names: Vec<String>,
    },
    /// Have the running hub use another model, without a restart.
    Use {
        /// `stt`, `tts` or `llm`; `llm.2` is the second language model, which takes over
        /// when the first one fails.
        hop: String,
        /// Name in the catalog.
        name: String,
    },
}

/// Runs the command.
pub async fn run(session: &Session, action: Action) -> anyhow::Result<ExitCode> {
    let catalog = session.paths.catalog()?;
    match action {
        Action::List => list(session, &catalog).await,
        Action::Verify { names } => verify(session, &catalog, &names),
        Action::Pull(pull) => pull.run(session, &catalog).await,
        Action::Remove { name } => remove(session, &catalog, &name).await,
        Action::Forecast { names } => forecast(session, &catalog, &names).await,
        Action::Use { hop, name } => use_model(session, &hop, name).await,
    }
}

/// What a running hub uses. Without one, or with one that does not answer, the catalog is
/// all there is to say.
async fn used_by_hub(session: &Session) -> Option<Vec<ModelInUse>> {
    let bus = super::nodes::connect(session).await.ok().flatten()?;
    let asked = bus.request::<_, ModelsReply>(subject::HUB_MODELS, &ModelsRequest::List, Duration::from_secs(5));
    if let ModelsReply::InUse { models } = asked.await.ok()? { Some(models) } else { None }
}

async fn list(session: &Session, catalog: &Catalog) -> anyhow::Result<ExitCode> {
    let in_use = used_by_hub(session).await;
    let tier = |model: &Model| in_use.iter().flatten().find(|row| row.model == model.name).map(|row| row.tier);
    if session.json {
        let rows: Vec<_> = catalog
            .models
            .iter()
            .map(|model| {
                serde_json::json!({
                    "name": model.name, "title": model.title, "kind": model.kind,
                    "capability": model.capability, "quantisation": model.quantisation,
                    "languages": model.languages, "ram_mb": model.ram_mb, "licence": model.licence,
                    "bundled": model.bundled, "state": catalog.presence(model),
                    "bytes": model.bytes(), "in_use": tier(model),
                })
            })
            .collect();
        println!("{}", serde_json::json!({ "models": rows }));
        return Ok(ExitCode::SUCCESS);
    }
    println!("{:<16} {:<4} {:<10} {:>9} {:>8}  {:<24} title", "name", "kind", "state", "size", "memory", "licence");
    for model in &catalog.models {
        let state = match catalog.presence(model) {
            _ if tier(model).is_some() => "in use",
            Presence::Installed => "installed",
            Presence::Absent => "absent",
            Presence::Incomplete => "incomplete",
            Presence::Unpinned => "unpinned",
        };
        println!(
            "{:<16} {:<4} {state:<10} {:>6} MB {:>5} MB  {:<24} {}",
            model.name,
            model.kind.as_str(),
            model.bytes().div_ceil(1_000_000),
            model.ram_mb,
            model.licence,
            model.title
        );
    }
    println!("\nThe starter models are made for short commands in English. `loqa models forecast NAME` says how a");
    println!("larger one would run here, `loqa models pull NAME` fetches it.");
    Ok(ExitCode::SUCCESS)
}

fn chosen<'a>(
    catalog: &'a Catalog,
    names: &[String],
    by_default: impl Fn(&&'a Model) -> bool,
) -> anyhow::Result<Vec<&'a Model>> {
    if names.is_empty() {
        return Ok(catalog.models.iter().filter(by_default).collect());
    }
    names.iter().map(|name| catalog.find(name, None)).collect()
}

fn verify(session: &Session, catalog: &Catalog, names: &[String]) -> anyhow::Result<ExitCode> {
    let there =
        |model: &&Model| model.bundled || matches!(catalog.presence(model), Presence::Installed | Presence::Incomplete);
    let mut rows = Vec::new();
    let mut faults = 0;
    for model in chosen(catalog, names, there)? {
        let fault = catalog.verify(model).err().map(|e| format!("{e:#}"));
        faults += usize::from(fault.is_some());
        if !session.json {
            println!("{:<16} {}", model.name, fault.as_deref().unwrap_or("ok"));
        }
        rows.push(serde_json::json!({ "name": model.name, "ok": fault.is_none(), "fault": fault }));
    }
    if session.json {
        println!("{}", serde_json::json!({ "models": rows }));
    }
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn remove(session: &Session, catalog: &Catalog, name: &str) -> anyhow::Result<ExitCode> {
    let in_use = used_by_hub(session).await.unwrap_or_default();
    let removed = models::remove(catalog, &session.config, &in_use, name)?;
    if session.json {
        println!("{}", serde_json::json!({ "name": name, "removed_bytes": removed }));
    } else if removed == 0 {
        println!("nothing of {name} was there");
    } else {
        println!("{name} is removed, {} MB are free again", removed.div_ceil(1_000_000));
    }
    Ok(ExitCode::SUCCESS)
}

async fn forecast(session: &Session, catalog: &Catalog, names: &[String]) -> anyhow::Result<ExitCode> {
    let models = chosen(catalog, names, |_| true)?;
    let machine = tokio::task::spawn_blocking(Machine::measure).await.context("measure this machine")?;
    let forecasts: Vec<_> = models.into_iter().map(|model| Forecast::of(catalog, model, &machine)).collect();
    if session.json {
        println!("{}", serde_json::json!({ "machine": machine, "models": forecasts }));
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{}: {:.1} GB/s from memory, {:.0} billion operations a second, {} of {} MB free",
        machine.hardware,
        machine.bytes_per_second / 1e9,
        machine.operations_per_second / 1e9,
        machine.ram_free_mb,
        machine.ram_mb
    );
    println!("{:<16} {:>22} {:>28} {:>9}  fits", "name", "speed", "between", "memory");
    for forecast in forecasts {
        let unit = match forecast.unit {
            Unit::TokensPerSecond => "tokens/s",
            Unit::TimesRealTime => "× real time",
        };
        let fit = match forecast.fit {
            Fit::Fits => "yes",
            Fit::Tight => "only just",
            Fit::TooLarge => "no",
        };
        let between = format!("{:.1} and {:.1}", forecast.at_least, forecast.at_most);
        let speed = format!("{:.1} {unit}", forecast.speed);
        println!("{:<16} {speed:>22} {between:>28} {:>6} MB  {fit}", forecast.name, forecast.ram_mb);
    }
    Ok(ExitCode::SUCCESS)
}

async fn use_model(session: &Session, hop: &str, name: String) -> anyhow::Result<ExitCode> {
    let (kind, tier) = place(hop)?;
    let bus = super::nodes::connect(session)
        .await?
        .with_context(|| format!("no hub is running: start one with `loqa serve --set {}={name}`", key_of(kind)))?;
    let request = ModelsRequest::Use { kind, tier, model: name.clone() };
    let reply: ModelsReply =
        bus.request(subject::HUB_MODELS, &request, USE_PATIENCE).await.context("ask the hub to use another model")?;
    let models = in_use(reply)?;
    if session.json {
        println!("{}", serde_json::json!({ "models": models }));
        return Ok(ExitCode::SUCCESS);
    }
    println!("the hub uses {name} until it is stopped; set `{}` in loqa.toml to keep it", key_of(kind));
    Ok(ExitCode::SUCCESS)
}

/// `llm.2` → the second language model.
fn place(hop: &str) -> anyhow::Result<(EngineKind, u32)> {
    let (kind, tier) = hop.split_once('.').unwrap_or((hop, "1"));
    let kind = match kind {
        "stt" => Some(EngineKind::Stt),
        "llm" => Some(EngineKind::Llm),
        "tts" => Some(EngineKind::Tts),
        _ => None,
    };
    kind.zip(tier.parse().ok()).ok_or_else(|| {
        BadArguments(format!("`{hop}` is no place for a model: say `stt`, `tts`, `llm`, or `llm.2` for the second one"))
            .into()
    })
}

fn key_of(kind: EngineKind) -> &'static str {
    match kind {
        EngineKind::Stt => "stt.model",
        EngineKind::Llm => "llm.models",
        EngineKind::Tts => "tts.model",
    }
}

fn in_use(reply: ModelsReply) -> anyhow::Result<Vec<ModelInUse>> {
    match reply {
        ModelsReply::InUse { models } => Ok(models),
        ModelsReply::Refused { failure } => Err(anyhow::anyhow!("{}", failure.message)),
        ModelsReply::Recorded { .. } | ModelsReply::Done => Err(anyhow::anyhow!("the hub answered something else")),
    }
}
