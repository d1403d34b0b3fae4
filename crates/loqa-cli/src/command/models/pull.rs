//! `loqa models pull`: fetches a model and shows how far it is.
//!
//! What is sent goes on record first: by the running hub, which is the only one that may
//! write its audit, else by this program.

use crate::Session;
use anyhow::Context as _;
use clap::Args;
use loqa_bus::Bus;
use loqa_hub::models::{self, Catalog};
use loqa_models::pull::{Ledger, Left};
use loqa_models::{Progress, PullOptions, PullRequest, Puller};
use loqa_protocol::models::{ModelsReply, ModelsRequest};
use loqa_protocol::subject;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// For a row of the running hub's audit.
const RECORD_PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `loqa models pull`.
#[derive(Debug, Args)]
pub struct Pull {
    /// Name in the catalog.
    name: String,
    /// Take it from this https address, file or folder instead of the catalog's sources;
    /// the digest still has to be the pinned one.
    #[arg(long, value_name = "FILE|URL")]
    from: Option<String>,
    /// Agree to the licence of a model for which the catalog asks that.
    #[arg(long)]
    accept_licence: bool,
}

impl Pull {
    /// Runs the command.
    pub async fn run(self, session: &Session, catalog: &Catalog) -> anyhow::Result<ExitCode> {
        let model = catalog.find(&self.name, None)?;
        if !session.json {
            println!("{}: {}, {} MB", model.name, model.title, model.bytes().div_ceil(1_000_000));
            println!("licence: {}, from {}", model.licence, model.source);
            if !model.licence_note.is_empty() {
                println!("{}", model.licence_note.trim());
            }
        }
        let puller = self.puller(session).await?;
        let request =
            PullRequest { name: self.name.clone(), from: self.from.clone(), accept_licence: self.accept_licence };
        let shows = Shows { json: session.json, in_place: std::io::stdout().is_terminal() };
        let listener = |progress| shows.show(&progress);
        let pulled = tokio::select! {
            pulled = puller.pull(catalog, &request, &listener) => pulled?,
            _ = tokio::signal::ctrl_c() => anyhow::bail!("stopped; the same command goes on where this one ended"),
        };
        if session.json {
            println!("{}", serde_json::json!({ "type": "done", "pulled": pulled }));
        } else if pulled.fetched == 0 {
            println!("{} is there already", pulled.name);
        } else {
            println!(
                "{} is there; `loqa models use {} {}` has a running hub use it",
                pulled.name,
                model.kind.as_str(),
                pulled.name
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn puller(&self, session: &Session) -> Result<Puller, anyhow::Error> {
        if let Some(bus) = super::super::nodes::connect(session).await? {
            let ledger = Arc::new(HubLedger { bus, runtime: tokio::runtime::Handle::current() });
            return Ok(Puller::new(PullOptions::new(models::public_only(), ledger))?);
        }
        session.paths.prepare()?;
        let (data, config) = (session.paths.data.clone(), session.config.clone());
        let audit = tokio::task::spawn_blocking(move || loqa_hub::audit::open(&data, &config))
            .await
            .context("open the audit")??;
        Ok(models::puller(audit)?)
    }
}

/// Has the running hub write the rows.
struct HubLedger {
    bus: Bus,
    runtime: tokio::runtime::Handle,
}

impl HubLedger {
    /// Called on a thread that may block.
    fn ask(&self, request: &ModelsRequest) -> Result<ModelsReply, String> {
        let asked = self.bus.request(subject::HUB_MODELS, request, RECORD_PATIENCE);
        self.runtime.block_on(asked).map_err(|e| format!("the hub does not record it: {e}"))
    }
}

impl Ledger for HubLedger {
    fn leaving(&self, model: &str, target: &str) -> Result<u64, String> {
        match self.ask(&ModelsRequest::Leaving { model: model.to_owned(), target: target.to_owned() })? {
            ModelsReply::Recorded { row } => Ok(row),
            ModelsReply::Refused { failure } => Err(failure.message),
            ModelsReply::InUse { .. } | ModelsReply::Done => Err("the hub answered something else".to_owned()),
        }
    }

    fn ended(&self, row: u64, left: Left) {
        let Left { ok, bytes_out, bytes_in } = left;
        if let Err(error) = self.ask(&ModelsRequest::Left { row, ok, bytes_out, bytes_in }) {
            tracing::warn!(error, row, "the end of a download is not on record");
        }
    }
}

/// Shows progress: JSON lines, one line that changes, or a line for each step.
struct Shows {
    json: bool,
    in_place: bool,
}

impl Shows {
    fn show(&self, progress: &Progress) {
        if self.json {
            if let Ok(line) = serde_json::to_string(progress) {
                println!("{line}");
            }
            return;
        }
        match progress {
            Progress::File { file, number, of, bytes, have } => {
                let rest = if *have > 0 { format!(", {} are there", megabytes(*have)) } else { String::new() };
                println!("[{number}/{of}] {file}: {}{rest}", megabytes(*bytes));
            }
            Progress::Source { source, .. } => println!("      from {source}"),
            Progress::Bytes { done, bytes, per_second, .. } => {
                if self.in_place {
                    let percent = done * 100 / (*bytes).max(1);
                    let rate = megabytes(*per_second);
                    print!("\r      {percent:>3} %, {} of {}, {rate}/s   ", megabytes(*done), megabytes(*bytes));
                    let _ = std::io::stdout().flush();
                }
            }
            Progress::SourceFailed { source, reason, .. } => println!("\n      {source}: {reason}"),
            Progress::Ready { .. } => {
                println!("{}      ok, its digest is the pinned one", if self.in_place { "\r" } else { "" })
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
