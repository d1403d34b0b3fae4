//! `loqa sessions`: what was said and answered, as far as it is kept. Everything but
//! `delete` only reads, beside the running hub.

use super::store::{ask, reader};
use super::{audit, store};
use crate::{BadArguments, Session};
use anyhow::{Context as _, bail};
use clap::Subcommand;
use loqa_protocol::SessionId;
use loqa_protocol::client::{StoreReply, StoreRequest};
use loqa_store::{ExportForm, Page, SessionRow, TurnRow};
use serde_json::json;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What to do with the sessions.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Show sessions, the newest first.
    List {
        #[command(flatten)]
        page: Pages,
    },
    /// Show the turns of a session.
    Show {
        /// The session.
        session: SessionId,
        /// With every event.
        #[arg(long)]
        events: bool,
        #[command(flatten)]
        page: Pages,
    },
    /// Find turns in which all these words stand, in what was said or answered.
    Search {
        /// The words. Accents and case do not count.
        #[arg(required = true, num_args = 1..)]
        words: Vec<String>,
        #[command(flatten)]
        page: Pages,
    },
    /// Remove a session for good, with its recordings and its contents in the audit.
    Delete {
        /// The session.
        session: SessionId,
    },
    /// Write sessions as JSON lines: each session, its turns and their events.
    Export {
        /// Which; with none, `--all` must be given.
        #[arg(required_unless_present = "all")]
        sessions: Vec<SessionId>,
        /// All of them.
        #[arg(long, conflicts_with = "sessions")]
        all: bool,
        /// Leave the events out.
        #[arg(long)]
        no_events: bool,
        /// With recordings, decrypted, in hexadecimal digits.
        #[arg(long)]
        audio: bool,
        /// Write to this file, readable by you alone; by default to standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Which page of a list.
#[derive(Debug, clap::Args)]
pub struct Pages {
    /// Most rows, 1 to 500.
    #[arg(long, default_value_t = loqa_store::DEFAULT_LIMIT)]
    limit: u32,
    /// `next` of the page before.
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

impl From<Pages> for Page {
    fn from(pages: Pages) -> Self {
        Self { limit: Some(pages.limit), after: pages.after }
    }
}

/// Runs the command.
pub async fn run(session: &Session, action: Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::List { page } => list(session, &page.into()),
        Action::Show { session: of, events, page } => show(session, &of, events, &page.into()),
        Action::Search { words, page } => search(session, &words.join(" "), &page.into()),
        Action::Delete { session: of } => {
            let reply = ask(session, StoreRequest::Delete { session: of.clone() }).await?;
            let StoreReply::Erased { erased } = reply else { bail!("an answer to another request") };
            if session.json {
                println!("{}", json!({ "deleted": of, "erased": erased }));
            } else {
                println!("session {of} is removed; the audit says so");
            }
            Ok(ExitCode::SUCCESS)
        }
        Action::Export { sessions, all: _, no_events, audio, out } => {
            export(session, &sessions, ExportForm { events: !no_events, audio }, out.as_deref())
        }
    }
}

fn list(session: &Session, page: &Page) -> anyhow::Result<ExitCode> {
    let paged = reader(session)?.sessions(page)?;
    if session.json {
        println!("{}", json!({ "sessions": paged.items, "next": paged.next }));
        return Ok(ExitCode::SUCCESS);
    }
    for row in &paged.items {
        println!("{}", line(row));
    }
    more(paged.next.as_deref());
    Ok(ExitCode::SUCCESS)
}

fn line(row: &SessionRow) -> String {
    let recordings = if row.recordings > 0 { format!(", {} recordings", row.recordings) } else { String::new() };
    format!(
        "{}  {}  {:>4} turns{recordings}  {:<10}  {}",
        row.session,
        audit::utc(row.last_ms),
        row.turns,
        row.scope.as_str(),
        row.title.escape_debug()
    )
}

fn show(session: &Session, of: &SessionId, events: bool, page: &Page) -> anyhow::Result<ExitCode> {
    let reader = reader(session)?;
    let row = reader.session(of)?;
    let paged = reader.turns(of, page)?;
    if session.json {
        let turns = paged
            .items
            .iter()
            .map(|turn| {
                let mut value = serde_json::to_value(turn)?;
                if events {
                    value["events"] = serde_json::to_value(reader.events(&turn.turn)?)?;
                }
                Ok(value)
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        println!("{}", json!({ "session": row, "turns": turns, "next": paged.next }));
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", line(&row));
    for turn in &paged.items {
        print_turn(turn);
        if events {
            for event in reader.events(&turn.turn)? {
                println!("    {:>9.1} ms  {}", event.at_us as f64 / 1e3, serde_json::to_string(&event.event)?);
            }
        }
    }
    more(paged.next.as_deref());
    Ok(ExitCode::SUCCESS)
}

fn print_turn(turn: &TurnRow) {
    let class = turn.class.map_or("running", |class| class.as_str());
    let total = turn.latency_ms.map_or_else(String::new, |split| format!(", {:.0} ms", split.total));
    println!("{}  {}  {class}{total}", turn.turn, audit::utc(turn.started_ms));
    // What was said may hold anything: it must not draw on the terminal.
    println!("    > {}", turn.transcript.escape_debug());
    if let Some(call) = &turn.tool {
        println!("    = {} {}", call.name, serde_json::to_string(&call.arguments).unwrap_or_default());
    }
    if !turn.reply.is_empty() {
        println!("    < {}", turn.reply.escape_debug());
    }
    if let Some(failure) = &turn.failure {
        println!("    ! {failure}");
    }
}

fn search(session: &Session, text: &str, page: &Page) -> anyhow::Result<ExitCode> {
    let paged = reader(session)?.search(text, page)?;
    if session.json {
        println!("{}", json!({ "hits": paged.items, "next": paged.next }));
        return Ok(ExitCode::SUCCESS);
    }
    for hit in &paged.items {
        println!("{}  {}  {}  {}", hit.session, hit.turn, audit::utc(hit.at_ms), hit.snippet.escape_debug());
    }
    more(paged.next.as_deref());
    Ok(ExitCode::SUCCESS)
}

fn more(next: Option<&str>) {
    if let Some(next) = next {
        println!("more: --after {next}");
    }
}

fn export(session: &Session, which: &[SessionId], form: ExportForm, out: Option<&Path>) -> anyhow::Result<ExitCode> {
    if session.json && out.is_none() {
        bail!(BadArguments("--json needs --out FILE: lines and the answer cannot share standard output".to_owned()));
    }
    let reader = reader(session)?;
    let written = match out {
        Some(path) => {
            let file = store::private_file(path).with_context(|| format!("write `{}`", path.display()))?;
            loqa_store::export(&reader, which, form, &mut BufWriter::new(file))
                .with_context(|| format!("write `{}`", path.display()))?
        }
        None => loqa_store::export(&reader, which, form, &mut BufWriter::new(std::io::stdout().lock()))?,
    };
    if session.json {
        println!("{}", json!({ "sessions": written.sessions, "turns": written.turns, "out": out }));
    } else if let Some(out) = out {
        println!("{} sessions with {} turns are in `{}`", written.sessions, written.turns, out.display());
    }
    Ok(ExitCode::SUCCESS)
}
