//! `loqa audit`: the record of who did what. Everything but `checkpoint`, `erase` and
//! the note of an export only reads, beside the running hub.

use super::nodes;
use crate::{BadArguments, Session};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use loqa_audit::{Audit, Checkpoint, Contents, Decision, Filter, Format, Kind, Options, Reader, Row, verify};
use loqa_hub::paths::DataLock;
use loqa_protocol::client::{AuditReply, AuditRequest};
use loqa_protocol::{SessionId, subject};
use serde_json::{Value, json};
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What to do with the audit.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Show rows, newest first.
    List {
        #[command(flatten)]
        which: Which,
        /// Most rows; 0 means all.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Rows before this number: the last one of the page before.
        #[arg(long, value_name = "ROW")]
        before: Option<u64>,
    },
    /// Show one row with its contents, its neighbours in the chain and its outcome.
    Show {
        /// Number of the row.
        row: u64,
    },
    /// Check the chain, the signatures and the outcomes; names the first bad row.
    Verify {
        /// A checkpoint that was kept elsewhere; may be repeated.
        #[arg(long, value_name = "FILE")]
        anchor: Vec<PathBuf>,
        /// Another file than the one in use, for example one that was put aside.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Public key that must have signed, in hex; by default that of the data folder.
        #[arg(long, value_name = "HEX")]
        key: Option<String>,
    },
    /// Write rows to a file, oldest first.
    Export {
        #[command(flatten)]
        which: Which,
        /// JSON lines, from which the chain can be verified, or a table.
        #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
        format: ExportFormat,
        /// Write to this file, readable by you alone; by default to standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Add the decrypted contents (JSON lines only).
        #[arg(long)]
        contents: bool,
    },
    /// Sign a checkpoint and write it out, to be kept elsewhere as an anchor.
    Checkpoint {
        /// Write to this file.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Make contents unreadable for good: arguments, answers, what was said. Rows stay and still verify.
    Erase {
        /// Those of this session.
        #[arg(long, conflicts_with_all = ["before", "all"])]
        session: Option<SessionId>,
        /// Those that are older: a time in milliseconds since 1970, or an age such as `12h`, `7d`.
        #[arg(long, value_name = "TIME", conflicts_with = "all")]
        before: Option<When>,
        /// All of them.
        #[arg(long, required_unless_present_any = ["session", "before"])]
        all: bool,
    },
    /// What left the machine: who, where to, how much.
    Egress {
        /// Not older: a time in milliseconds since 1970, or an age such as `30m`, `12h`, `7d`.
        #[arg(long, value_name = "TIME")]
        since: Option<When>,
        /// Older than this.
        #[arg(long, value_name = "TIME")]
        until: Option<When>,
        /// One line for each hour or day.
        #[arg(long, value_enum)]
        by: Option<Span>,
    },
}

/// Which rows.
#[derive(Debug, Args)]
pub struct Which {
    /// Rows of this skill, engine or other actor.
    #[arg(long = "skill", visible_alias = "actor", value_name = "NAME")]
    actor: Option<String>,
    /// Rows of this kind, for example `call.denied`.
    #[arg(long, value_parser = kind)]
    kind: Option<Kind>,
    /// Rows of this permission, for example `http:call`.
    #[arg(long)]
    permission: Option<String>,
    /// Rows with this decision.
    #[arg(long, value_parser = decision)]
    decision: Option<Decision>,
    /// Rows of this session.
    #[arg(long)]
    session: Option<String>,
    /// Not older: a time in milliseconds since 1970, or an age such as `30m`, `12h`, `7d`.
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
    /// Older than this.
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
    /// Rows in which this stands, in the record or in its contents.
    #[arg(long)]
    text: Option<String>,
}

/// Form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One JSON object in each line.
    Jsonl,
    /// A table.
    Csv,
}

/// Length of a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Span {
    /// An hour.
    Hour,
    /// A day, in UTC.
    Day,
}

/// A time in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When(i64);

impl std::str::FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no time: milliseconds since 1970, or an age such as `30m`, `12h`, `7d`");
        let unit = match text.chars().last() {
            Some('s') => 1_000,
            Some('m') => 60_000,
            Some('h') => 3_600_000,
            Some('d') => 86_400_000,
            _ => return text.parse().map(Self).map_err(|_| wrong()),
        };
        let n: i64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
        let age = n.checked_mul(unit).ok_or_else(wrong)?;
        Ok(Self(now_ms().saturating_sub(age)))
    }
}

fn kind(text: &str) -> Result<Kind, String> {
    Kind::from_name(text)
        .ok_or_else(|| format!("one of: {}", Kind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")))
}

fn decision(text: &str) -> Result<Decision, String> {
    Decision::from_name(text).ok_or_else(|| "one of: allow, deny".to_owned())
}

/// Signing is a commit; this bounds the wait for a hub that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the command.
pub async fn run(session: &Session, action: Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::List { which, limit, before } => list(session, Filter { limit, before, ..which.filter() }),
        Action::Show { row } => show(session, row),
        Action::Verify { anchor, file, key } => check(session, &anchor, file, key),
        Action::Export { which, format, out, contents } => {
            export(session, &which.filter(), format, out, contents).await
        }
        Action::Checkpoint { out } => checkpoint(session, out).await,
        Action::Erase { session: of, before, all: _ } => erase(session, of, before).await,
        Action::Egress { since, until, by } => egress(session, since, until, by),
    }
}

impl Which {
    fn filter(self) -> Filter {
        let Self { actor, kind, permission, decision, session, since, until, text } = self;
        let (since_ms, until_ms) = (since.map(|at| at.0), until.map(|at| at.0));
        Filter { actor, kind, permission, decision, session, since_ms, until_ms, text, ..Filter::default() }
    }
}

fn list(session: &Session, filter: Filter) -> anyhow::Result<ExitCode> {
    let rows = Reader::open(&session.paths.data)?.list(&filter)?;
    if session.json {
        let next = (filter.limit > 0 && rows.len() == filter.limit).then(|| rows.last().map(|row| row.seq)).flatten();
        println!("{}", json!({ "rows": rows.iter().map(Row::to_json).collect::<Vec<_>>(), "next": next }));
        return Ok(ExitCode::SUCCESS);
    }
    for row in &rows {
        println!("{}", line(row));
    }
    Ok(ExitCode::SUCCESS)
}

/// A row in one line. What a skill may have chosen is escaped: it must not draw on the terminal.
fn line(row: &Row) -> String {
    let of = |outer: &str, inner: &str| {
        row.record.get(outer).and_then(|fields| fields.get(inner)).map(|value| match value {
            Value::String(text) => text.escape_debug().to_string(),
            other => other.to_string(),
        })
    };
    let parts = [
        row.text("permission").map(|text| text.escape_debug().to_string()),
        row.text("decision").map(str::to_owned),
        row.text("reason").map(|text| text.escape_debug().to_string()),
        of("outcome", "status"),
        of("effect", "operation"),
        of("effect", "target"),
        of("effect", "bytes_out").map(|bytes| format!("{bytes} bytes out")),
        row.number("intent").map(|intent| format!("of row {intent}")),
    ];
    let more: Vec<String> = parts.into_iter().flatten().collect();
    let actor = row.actor().unwrap_or("?").escape_debug().to_string();
    let kind = row.text("kind").unwrap_or("?");
    format!("{:>8}  {}  {kind:<16}  {actor:<20}  {}", row.seq, utc(row.wall_ms().unwrap_or(0)), more.join(" · "))
}

fn show(session: &Session, seq: u64) -> anyhow::Result<ExitCode> {
    let reader = Reader::open(&session.paths.data)?;
    let shown = reader.show(seq)?.with_context(|| format!("there is no row {seq}, or it was pruned"))?;
    let (state, contents) = match &shown.contents {
        Contents::None => ("none", None),
        Contents::Withheld => ("withheld", None),
        Contents::TooLong => ("too_long", None),
        Contents::Erased => ("erased", None),
        Contents::Kept(value) => ("kept", Some(value)),
        Contents::Changed(_) => ("changed", None),
    };
    if session.json {
        let neighbour = |row: &Option<Row>| row.as_ref().map(Row::to_json);
        let object = json!({
            "row": shown.row.to_json(),
            "contents": { "state": state, "value": contents },
            "before": neighbour(&shown.before),
            "after": neighbour(&shown.after),
            "outcome": neighbour(&shown.outcome),
            "sealed_by": shown.sealed_by,
        });
        println!("{object}");
        return Ok(ExitCode::SUCCESS);
    }
    for (name, row) in [("before", &shown.before), ("this", &Some(shown.row.clone())), ("after", &shown.after)] {
        if let Some(row) = row {
            println!("{name:<8}{}", line(row));
            println!("        hash {}", hex(&row.hash));
        }
    }
    println!("record  {}", serde_json::to_string_pretty(&shown.row.record)?);
    match (&shown.contents, contents) {
        (Contents::Changed(why), _) => println!("contents {state}: {why}"),
        (_, Some(value)) => println!("contents {}", serde_json::to_string_pretty(value)?),
        _ => println!("contents {state}"),
    }
    if let Some(outcome) = &shown.outcome {
        println!("outcome {}", line(outcome));
    }
    match shown.sealed_by {
        Some(checkpoint) => println!("covered by the checkpoint in row {checkpoint}"),
        None => println!("not covered by a checkpoint yet"),
    }
    Ok(ExitCode::SUCCESS)
}

fn check(
    session: &Session,
    anchors: &[PathBuf],
    file: Option<PathBuf>,
    key: Option<String>,
) -> anyhow::Result<ExitCode> {
    let reader = match &file {
        Some(file) => Reader::open_file(file)?,
        None => Reader::open(&session.paths.data)?,
    };
    let anchors = anchors
        .iter()
        .map(|path| Checkpoint::read(path).map_err(|e| BadArguments(e.to_string())))
        .collect::<Result<Vec<_>, _>>()?;
    let key = key.or_else(|| reader.key());
    let report = verify(&reader, key.as_deref(), &anchors)?;
    if session.json {
        let bad = report.bad.as_ref().map(|bad| json!({ "row": bad.seq, "check": bad.check.as_str(), "why": bad.why }));
        println!(
            "{}",
            json!({
                "ok": report.bad.is_none(),
                "bad": bad,
                "rows": report.rows, "first": report.first, "last": report.last, "hash": report.hash,
                "chain": report.chain, "checkpoints": report.checkpoints, "sealed": report.sealed, "open": report.open,
                "payloads": report.payloads, "erased": report.erased,
                "key": report.key, "key_known": report.key_known, "anchors_too_old": report.anchors_too_old,
            })
        );
    } else {
        match &report.bad {
            Some(bad) => eprintln!("loqa: {}: {bad}", reader.path().display()),
            None => {
                println!("rows {} to {} are sound, up to row {} signed", report.first, report.last, report.sealed);
                println!("{} checkpoints with the key {}", report.checkpoints, report.key);
            }
        }
        if !report.key_known {
            println!("the key was taken from the record itself: give the one you know with --key or --anchor");
        }
        if anchors.is_empty() && report.bad.is_none() {
            println!("without --anchor nothing shows that the end was cut off: see docs/audit.md");
        }
        if report.anchors_too_old > 0 {
            println!("{} anchors speak of rows that were pruned since", report.anchors_too_old);
        }
        if !report.open.is_empty() {
            println!("{} calls have no outcome yet", report.open.len());
        }
    }
    Ok(if report.bad.is_none() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn export(
    session: &Session,
    filter: &Filter,
    format: ExportFormat,
    out: Option<PathBuf>,
    contents: bool,
) -> anyhow::Result<ExitCode> {
    if contents && format == ExportFormat::Csv {
        bail!(BadArguments("--contents goes with --format jsonl only".to_owned()));
    }
    if session.json && out.is_none() {
        bail!(BadArguments("--json needs --out FILE: rows and the answer cannot share standard output".to_owned()));
    }
    let reader = Reader::open(&session.paths.data)?;
    let (form, name) = match format {
        ExportFormat::Jsonl => (Format::Jsonl, "jsonl"),
        ExportFormat::Csv => (Format::Csv, "csv"),
    };
    let rows = match &out {
        Some(path) => {
            let mut options = std::fs::File::options();
            options.create(true).write(true).truncate(true);
            #[cfg(unix)]
            {
                use std::os::unix::fs::OpenOptionsExt as _;
                options.mode(0o600);
            }
            let file = options.open(path).with_context(|| format!("write `{}`", path.display()))?;
            reader.export(filter, form, contents, &mut BufWriter::new(file))?
        }
        None => reader.export(filter, form, contents, &mut BufWriter::new(std::io::stdout().lock()))?,
    };
    // An export is an event of its own: it may carry everything that was said.
    let request = AuditRequest::Exported { rows, format: name.to_owned() };
    let checkpoint = sealed(session, request).await.context("record the export")?;
    if session.json {
        println!("{}", json!({ "rows": rows, "format": name, "out": out, "checkpoint": checkpoint }));
    } else if let Some(out) = out {
        println!("{rows} rows are in `{}`", out.display());
    }
    Ok(ExitCode::SUCCESS)
}

async fn checkpoint(session: &Session, out: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let checkpoint = sealed(session, AuditRequest::Checkpoint).await?;
    if let Some(out) = &out {
        let mut file = std::fs::File::create(out).with_context(|| format!("write `{}`", out.display()))?;
        writeln!(file, "{checkpoint}").with_context(|| format!("write `{}`", out.display()))?;
    }
    match (session.json, out) {
        (true, _) | (false, None) => println!("{checkpoint}"),
        (false, Some(out)) => {
            println!(
                "the record up to row {} is signed in `{}`: keep it elsewhere",
                checkpoint["checkpoint"]["seq"],
                out.display()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn sealed(session: &Session, request: AuditRequest) -> anyhow::Result<Value> {
    match ask(session, request).await? {
        AuditReply::Done { checkpoint } => Ok(checkpoint),
        other => bail!("an answer to another request: {other:?}"),
    }
}

async fn erase(session: &Session, of: Option<SessionId>, before: Option<When>) -> anyhow::Result<ExitCode> {
    let request = AuditRequest::Erase { session: of, before_ms: before.map(|at| at.0) };
    let AuditReply::Erased { payloads } = ask(session, request).await? else { bail!("an answer to another request") };
    if session.json {
        println!("{}", json!({ "erased": payloads }));
    } else {
        println!("the contents of {payloads} rows are erased; the rows stay");
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks the running hub, or writes here when none runs: only one process writes.
async fn ask(session: &Session, request: AuditRequest) -> anyhow::Result<AuditReply> {
    let reply = match nodes::connect(session).await? {
        Some(bus) => bus.request(subject::HUB_AUDIT, &request, PATIENCE).await.context("ask the running hub")?,
        None => {
            let _lock = DataLock::take(&session.paths.data)?;
            let audit = Audit::open(&session.paths.data, Options::default())?;
            loqa_hub::audit::answer(&audit, request)
        }
    };
    match reply {
        AuditReply::Refused { failure } => bail!("the audit refuses: {failure}"),
        reply => Ok(reply),
    }
}

fn egress(session: &Session, since: Option<When>, until: Option<When>, by: Option<Span>) -> anyhow::Result<ExitCode> {
    let span_ms = by.map(|span| match span {
        Span::Hour => 3_600_000,
        Span::Day => 86_400_000,
    });
    let reader = Reader::open(&session.paths.data)?;
    let sums = reader.egress(since.map(|at| at.0), until.map(|at| at.0), span_ms)?;
    let total: u64 = sums.iter().map(|sum| sum.bytes).sum();
    if session.json {
        let rows: Vec<_> = sums
            .iter()
            .map(|sum| {
                let from_ms = by.map(|_| sum.from_ms);
                json!({ "actor": sum.actor, "origin": sum.origin, "times": sum.times, "bytes": sum.bytes, "from_ms": from_ms })
            })
            .collect();
        println!("{}", json!({ "egress": rows, "bytes": total }));
        return Ok(ExitCode::SUCCESS);
    }
    for sum in &sums {
        let from = if by.is_some() { format!("{}  ", utc(sum.from_ms)) } else { String::new() };
        let (actor, origin) = (sum.actor.escape_debug().to_string(), sum.origin.escape_debug().to_string());
        println!("{from}{actor:<20}  {origin:<40}  {:>6} times  {:>12} bytes", sum.times, sum.bytes);
    }
    println!("{total} bytes in all");
    Ok(ExitCode::SUCCESS)
}

fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// `2026-11-22 19:00:00`, UTC. The calendar is Howard Hinnant's `civil_from_days`.
pub(super) fn utc(wall_ms: i64) -> String {
    let (days, ms) = (wall_ms.div_euclid(86_400_000), wall_ms.rem_euclid(86_400_000));
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_of_year = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_of_year + 2) / 5 + 1;
    let month = if month_of_year < 10 { month_of_year + 3 } else { month_of_year - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let seconds = ms / 1_000;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(951_782_399_000), "2000-02-28 23:59:59");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(utc(1_795_376_435_999), "2026-11-22 19:40:35");
        assert_eq!(utc(-1), "1969-12-31 23:59:59");
        assert_eq!("1000".parse(), Ok(When(1000)));
        let ago = "2h".parse::<When>().unwrap().0;
        assert!((now_ms() - 7_200_000 - ago).abs() < 60_000);
        for wrong in ["", "x", "h", "1y", "99999999999999999d", "-", "é"] {
            assert!(wrong.parse::<When>().is_err(), "{wrong}");
        }
    }
}
