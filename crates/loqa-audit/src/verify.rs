//! Checking the record from its first row to its last: what anyone with the file, the
//! public key and an older checkpoint can do. Names the first bad row and why.

use crate::body::{GENESIS, Hash, VERSION, link};
use crate::checkpoint::{Checkpoint, Statement, from_hex};
use crate::payload;
use crate::read::{ReadError, Reader};
use crate::record::Kind;
use crate::row::Row;
use crate::store::{ROWS_PER_CHECKPOINT, checkpoint_of};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

macro_rules! checks {
    ($($(#[doc = $doc:literal])+ $name:ident => $text:literal,)+) => {
        /// Something that is checked.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Check {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Check {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

checks! {
    /// Row numbers have no gap.
    Gap => "gap",
    /// Each row names the hash of the row before it.
    Previous => "previous",
    /// The hash of a row is that of its record.
    Hash => "hash",
    /// The record is of this format, and says its own number.
    Record => "record",
    /// Rows of a run follow each other in time, and runs do not mix.
    Order => "order",
    /// Each intent has exactly one outcome.
    Outcome => "outcome",
    /// Checkpoints are signed with the key, and are as many as they should be.
    Signature => "signature",
    /// What pruning left is what was signed.
    Base => "base",
    /// The rows are those that an exported checkpoint speaks of.
    Anchor => "anchor",
    /// Contents are those that were committed to.
    Payload => "payload",
    /// SQLite finds the file sound.
    Database => "database",
}

/// What to check. Anything but all of it is for the controls of the tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checks(BTreeSet<Check>);

impl Checks {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self(Check::ALL.iter().copied().collect())
    }

    /// All but one.
    #[must_use]
    pub fn without(mut self, check: Check) -> Self {
        self.0.remove(&check);
        self
    }
}

/// The first thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// The row; one past the last when rows are missing at the end.
    pub seq: u64,
    /// What was checked.
    pub check: Check,
    /// What is wrong.
    pub why: String,
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "row {}: {}: {}", self.seq, self.check.as_str(), self.why)
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows that were looked at.
    pub rows: u64,
    /// Number of the first row that is kept.
    pub first: u64,
    /// Number of the last row that was looked at.
    pub last: u64,
    /// Its hash, in hex.
    pub hash: String,
    /// Name of the chain.
    pub chain: String,
    /// Checkpoints among the rows.
    pub checkpoints: u64,
    /// The last row that a checkpoint covers; later ones can be changed by who can write the file.
    pub sealed: u64,
    /// Intents without outcome: calls that run, or a hub that died and was not started again.
    pub open: Vec<u64>,
    /// Payloads that are there.
    pub payloads: u64,
    /// Payloads that were erased.
    pub erased: u64,
    /// Public key of the checkpoints, in hex.
    pub key: String,
    /// Whether that key came from elsewhere than the file itself.
    pub key_known: bool,
    /// Anchors that speak of rows which were pruned since.
    pub anchors_too_old: u64,
    /// The first bad row.
    pub bad: Option<Bad>,
}

/// Checks everything. `key` is the public key that is trusted, in hex, where it is
/// known; `anchors` are checkpoints that were kept elsewhere.
pub fn verify(reader: &Reader, key: Option<&str>, anchors: &[Checkpoint]) -> Result<Report, ReadError> {
    verify_with(reader, key, anchors, &Checks::all())
}

/// The same with some checks left out.
#[doc(hidden)]
pub fn verify_with(
    reader: &Reader,
    key: Option<&str>,
    anchors: &[Checkpoint],
    checks: &Checks,
) -> Result<Report, ReadError> {
    // One state of the file, whatever is written meanwhile.
    let _snapshot = reader.snapshot()?;
    let mut walk = Walk::new(checks, key, anchors);
    let result = walk.run(reader);
    let Walk { mut report, intents, .. } = walk;
    report.open = intents.into_keys().collect();
    match result {
        Ok(()) => Ok(report),
        Err(Stop::Bad(bad)) => Ok(Report { bad: Some(bad), ..report }),
        Err(Stop::Read(error)) => Err(error),
    }
}

enum Stop {
    Bad(Bad),
    Read(ReadError),
}

struct Walk<'a> {
    checks: &'a Checks,
    anchors: &'a [Checkpoint],
    key: Option<String>,
    report: Report,
    base: (u64, Hash),
    hash: Hash,
    /// The base that the newest prune row states, once one was seen.
    pruned: Option<(u64, Hash)>,
    /// The base that the newest checkpoint was signed for.
    signed: (u64, Hash),
    boot: String,
    boots: BTreeSet<String>,
    mono_us: u64,
    /// Open intents with the run that they belong to.
    intents: BTreeMap<u64, String>,
    unsealed: u64,
}

impl<'a> Walk<'a> {
    fn new(checks: &'a Checks, key: Option<&str>, anchors: &'a [Checkpoint]) -> Self {
        let key = key.map(str::to_owned).or_else(|| anchors.first().map(|anchor| anchor.checkpoint.key.clone()));
        Self {
            checks,
            anchors,
            report: Report { key_known: key.is_some(), ..Report::default() },
            key,
            base: (0, GENESIS),
            hash: GENESIS,
            pruned: None,
            signed: (0, GENESIS),
            boot: String::new(),
            boots: BTreeSet::new(),
            mono_us: 0,
            intents: BTreeMap::new(),
            unsealed: 0,
        }
    }

    fn run(&mut self, reader: &Reader) -> Result<(), Stop> {
        self.base = match reader.base() {
            Ok(base) => base,
            Err(error) => return self.unreadable(0, error),
        };
        self.hash = self.base.1;
        (self.report.last, self.report.first) = (self.base.0, self.base.0 + 1);
        self.require(Check::Base, self.report.first, self.base.0 > 0 || self.base.1 == GENESIS, || {
            "the table `base` names a hash and no row".to_owned()
        })?;
        self.anchors_at_base()?;
        let mut outcome = Ok(());
        let read = reader.each(self.base.0, |row| match row {
            Ok(row) => {
                outcome = self.row(reader, &row);
                outcome.is_ok()
            }
            Err(why) => {
                outcome = self.fail(Check::Record, self.report.last + 1, why);
                false
            }
        });
        outcome?;
        if let Err(error) = read {
            return self.unreadable(self.report.last + 1, error);
        }
        self.end(reader)
    }

    fn fail(&self, check: Check, seq: u64, why: String) -> Result<(), Stop> {
        if self.checks.0.contains(&check) { Err(Stop::Bad(Bad { seq, check, why })) } else { Ok(()) }
    }

    fn require(&self, check: Check, seq: u64, holds: bool, why: impl FnOnce() -> String) -> Result<(), Stop> {
        if holds { Ok(()) } else { self.fail(check, seq, why()) }
    }

    /// A file that cannot be read is bad, unless the system is at fault.
    fn unreadable(&self, seq: u64, error: ReadError) -> Result<(), Stop> {
        match error {
            ReadError::Damaged { reason, .. } => self.fail(Check::Database, seq, reason),
            error @ (ReadError::System { .. } | ReadError::Missing { .. } | ReadError::Write(_)) => {
                Err(Stop::Read(error))
            }
        }
    }

    fn row(&mut self, reader: &Reader, row: &Row) -> Result<(), Stop> {
        let seq = row.seq;
        let expected = self.report.last + 1;
        self.require(Check::Gap, expected, seq == expected, || format!("it is missing, the next one is {seq}"))?;
        self.require(Check::Previous, seq, row.prev == self.hash, || {
            "it does not name the hash of the row before it".to_owned()
        })?;
        self.require(Check::Hash, seq, link(&self.hash, &row.body) == row.hash, || {
            "its hash is not that of its record".to_owned()
        })?;
        self.record(row)?;
        self.order(row)?;
        self.outcomes(row)?;
        self.checkpoints(row)?;
        self.payload(reader, row)?;
        (self.report.last, self.hash) = (seq, row.hash);
        self.report.rows += 1;
        self.report.hash = hex::encode(row.hash);
        for anchor in self.anchors.iter().filter(|anchor| anchor.checkpoint.seq == seq) {
            self.require(Check::Anchor, seq, anchor.hash() == Some(row.hash), || {
                "it is not the row that an exported checkpoint speaks of".to_owned()
            })?;
        }
        Ok(())
    }

    fn record(&self, row: &Row) -> Result<(), Stop> {
        let what = if row.number("v") != Some(VERSION) {
            "its record has another version"
        } else if row.number("seq") != Some(row.seq) {
            "its record says another number"
        } else if row.kind().is_none() {
            "its kind is not known"
        } else if row.seq == 1 && row.kind() != Some(Kind::AuditStart) {
            "the first row does not begin a chain"
        } else if row.seq > 1 && row.kind() == Some(Kind::AuditStart) {
            "a chain begins in the middle"
        } else {
            return Ok(());
        };
        self.fail(Check::Record, row.seq, what.to_owned())
    }

    fn order(&mut self, row: &Row) -> Result<(), Stop> {
        let (Some(boot), Some(mono_us)) = (row.text("boot"), row.number("mono_us")) else {
            return self.fail(Check::Order, row.seq, "it does not say when it was written".to_owned());
        };
        if boot != self.boot {
            self.require(Check::Order, row.seq, !self.boots.contains(boot), || {
                "its run of the hub had ended before".to_owned()
            })?;
            self.boots.insert(boot.to_owned());
            boot.clone_into(&mut self.boot);
        } else {
            self.require(Check::Order, row.seq, mono_us >= self.mono_us, || {
                "it is older than the row before it".to_owned()
            })?;
        }
        self.mono_us = mono_us;
        Ok(())
    }

    fn outcomes(&mut self, row: &Row) -> Result<(), Stop> {
        let kind = row.kind();
        if !matches!(kind, Some(Kind::CallOutcome | Kind::AuditCheckpoint))
            && let Some((intent, _)) = self.intents.iter().find(|(_, boot)| **boot != self.boot)
        {
            return self.fail(
                Check::Outcome,
                *intent,
                format!("its run ended before row {}, and it has no outcome", row.seq),
            );
        }
        match kind {
            Some(Kind::CallIntent) => {
                self.intents.insert(row.seq, self.boot.clone());
            }
            Some(Kind::CallOutcome) => {
                let intent = row.number("intent").unwrap_or(0);
                let known = self.intents.remove(&intent).is_some() || (intent > 0 && intent <= self.base.0);
                self.require(Check::Outcome, row.seq, known, || {
                    format!("it is the outcome of row {intent}, which is no intent or has one already")
                })?;
            }
            _ => {}
        }
        Ok(())
    }

    fn checkpoints(&mut self, row: &Row) -> Result<(), Stop> {
        match row.kind() {
            Some(Kind::AuditStart) => {
                let segment = row.record.get("segment");
                let field = |name: &str| segment.and_then(|segment| segment.get(name)).and_then(Value::as_str);
                self.report.chain = field("chain").unwrap_or_default().to_owned();
                self.trust(row.seq, field("key").unwrap_or_default())?;
            }
            Some(Kind::AuditPrune) => {
                let base = row.record.get("base");
                let seq = base.and_then(|base| base.get("seq")).and_then(Value::as_u64);
                let hash = base.and_then(|base| base.get("hash")).and_then(Value::as_str).and_then(from_hex);
                self.require(Check::Base, row.seq, seq.is_some() && hash.is_some(), || {
                    "it does not say what was pruned".to_owned()
                })?;
                self.pruned = seq.zip(hash);
            }
            Some(Kind::AuditCheckpoint) => return self.checkpoint(row),
            _ => {}
        }
        self.unsealed += 1;
        self.require(Check::Signature, row.seq, self.unsealed <= ROWS_PER_CHECKPOINT, || {
            format!("no checkpoint among the {ROWS_PER_CHECKPOINT} rows before it")
        })
    }

    fn checkpoint(&mut self, row: &Row) -> Result<(), Stop> {
        let seq = row.seq;
        let Some(checkpoint) = checkpoint_of(row) else {
            return self.fail(Check::Signature, seq, "it is not a checkpoint of this format".to_owned());
        };
        let Statement { base_hash, base_seq, chain, hash, key, seq: covered, .. } = &checkpoint.checkpoint;
        self.trust(seq, key)?;
        if let Err(why) = checkpoint.check() {
            self.fail(Check::Signature, seq, why)?;
        }
        self.require(Check::Signature, seq, covered + 1 == seq && *hash == hex::encode(self.hash), || {
            "it covers another row than the one before it".to_owned()
        })?;
        if self.report.chain.is_empty() {
            self.report.chain.clone_from(chain);
        }
        self.require(Check::Signature, seq, *chain == self.report.chain, || "it is of another chain".to_owned())?;
        self.signed = (*base_seq, from_hex(base_hash).unwrap_or([0xff; 32]));
        self.require(Check::Base, seq, self.pruned.is_none_or(|pruned| pruned == self.signed), || {
            "it was signed for another base".to_owned()
        })?;
        self.report.checkpoints += 1;
        self.report.sealed = *covered;
        self.unsealed = 0;
        Ok(())
    }

    /// Without a key from elsewhere, the file's own is taken; then it must stay the same.
    fn trust(&mut self, seq: u64, key: &str) -> Result<(), Stop> {
        let known = self.key.get_or_insert_with(|| key.to_owned()).clone();
        self.report.key.clone_from(&known);
        self.require(Check::Signature, seq, known == key, || {
            format!("it names the key {key}, which is not the known one")
        })
    }

    fn payload(&mut self, reader: &Reader, row: &Row) -> Result<(), Stop> {
        if row.text("payload") != Some("kept") || !self.checks.0.contains(&Check::Payload) {
            return Ok(());
        }
        let sealed = match reader.sealed(row.seq) {
            Ok(sealed) => sealed,
            Err(error) => return self.unreadable(row.seq, error),
        };
        let Some((ciphertext, key, salt)) = sealed else {
            self.report.erased += 1;
            return Ok(());
        };
        self.report.payloads += 1;
        let committed = row.text("commitment").unwrap_or_default();
        match payload::open(row.seq, &ciphertext, &key, &salt, committed) {
            Ok(_) => Ok(()),
            Err(why) => self.fail(Check::Payload, row.seq, why.to_owned()),
        }
    }

    fn anchors_at_base(&mut self) -> Result<(), Stop> {
        let (base, hash) = self.base;
        for anchor in self.anchors {
            let seq = anchor.checkpoint.seq;
            if let Err(why) = anchor.check() {
                self.fail(Check::Anchor, seq, format!("the exported checkpoint: {why}"))?;
            }
            if self.key.as_ref().is_some_and(|key| *key != anchor.checkpoint.key) {
                self.fail(Check::Anchor, seq, "the exported checkpoint was signed with another key".to_owned())?;
            }
            if base > 0 && seq < base {
                self.report.anchors_too_old += 1;
            }
            self.require(Check::Anchor, seq, seq != base || anchor.hash() == Some(hash), || {
                "what pruning left does not follow the exported checkpoint".to_owned()
            })?;
        }
        Ok(())
    }

    fn end(&mut self, reader: &Reader) -> Result<(), Stop> {
        let next = self.report.last + 1;
        self.require(Check::Gap, next, self.report.rows > 0, || "the record holds no row".to_owned())?;
        // A row that says so is not enough: anyone can add one at the end.
        self.require(Check::Base, self.report.first, self.signed == self.base, || {
            format!("rows up to {} are missing, and no checkpoint says that they were pruned", self.base.0)
        })?;
        for anchor in self.anchors {
            let Statement { chain, seq, .. } = &anchor.checkpoint;
            self.require(Check::Anchor, next, *seq <= self.report.last, || {
                format!("it is missing: an exported checkpoint speaks of row {seq}")
            })?;
            self.require(Check::Anchor, *seq, *chain == self.report.chain, || {
                "the exported checkpoint is of another chain: look for a file `audit.db.corrupt-…`".to_owned()
            })?;
        }
        match reader.integrity() {
            Ok(None) => Ok(()),
            Ok(Some(fault)) => self.fail(Check::Database, next, fault),
            Err(error) => self.unreadable(next, error),
        }
    }
}
