//! Everything that somebody without the key can do to rows before the last checkpoint shows.

use crate::support::{Random, denied, full, intent, open, rows, verified};
use loqa_audit::{
    ANCHOR_FILE, Check, Checkpoint, Checks, FILE_NAME, GENESIS, Hash, Journal as _, Outcome, Reader, Status, link,
    verify_with,
};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use std::path::Path;

/// A closed record in one file, and what an honest verifier knows besides.
struct Pristine {
    file: Vec<u8>,
    key: String,
    anchor: Checkpoint,
    sealed: u64,
}

fn pristine(n: u64) -> Pristine {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    for i in 0..n {
        let seq = audit.append(intent(i)).unwrap();
        audit.append_later(denied(i));
        audit.finish(seq, Outcome { bytes_out: (i % 3 == 0).then_some(100 + i), ..Outcome::of(Status::Ok) });
    }
    audit.close();
    let anchor = Checkpoint::read(&dir.path().join(ANCHOR_FILE)).unwrap();
    let report = verified(dir.path(), std::slice::from_ref(&anchor));
    assert_eq!(report.bad, None, "untouched, it verifies");
    assert!(report.checkpoints >= 3);
    let key = Reader::open(dir.path()).unwrap().key().unwrap();
    let path = dir.path().join(FILE_NAME);
    // One file without side files, so that each tampering is a copy and a change.
    Connection::open(&path).unwrap().pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(())).unwrap();
    Pristine { file: std::fs::read(&path).unwrap(), key, sealed: anchor.checkpoint.seq, anchor }
}

type Raw = (i64, Hash, Hash, String);

struct Tampering<'a> {
    connection: Connection,
    random: &'a mut Random,
    sealed: i64,
    other: &'a [Raw],
}

const WAYS: &[&str] = &[
    "byte",
    "field",
    "hash",
    "prev",
    "number",
    "delete",
    "delete_range",
    "insert",
    "duplicate",
    "swap",
    "splice",
    "truncate",
    "truncate_to_checkpoint",
    "edit_and_rehash",
    "delete_and_rehash",
    "insert_and_rehash",
    "strip_checkpoints",
    "pretend_pruned",
    "pretend_pruned_with_a_row",
    "resign",
    "payload",
    "swap_payloads",
    "replace_all",
    "base",
];

impl Tampering<'_> {
    fn all(&self) -> Vec<Raw> {
        let mut statement = self.connection.prepare("SELECT seq, prev, hash, body FROM record ORDER BY seq").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    fn put(&self, rows: &[Raw]) {
        self.connection.execute("DELETE FROM record", []).unwrap();
        let mut insert = self.connection.prepare("INSERT INTO record VALUES (?1, ?2, ?3, ?4)").unwrap();
        for (seq, prev, hash, body) in rows {
            insert.execute(params![seq, prev, hash, body]).unwrap();
        }
    }

    /// A row before the last checkpoint.
    fn some(&mut self) -> i64 {
        1 + self.random.below(self.sealed as usize) as i64
    }

    /// A change of a record that leaves it a record.
    fn edited(&mut self, body: &str) -> String {
        let mut record: Value = serde_json::from_str(body).unwrap();
        let mut paths = Vec::new();
        leaves(&record, String::new(), &mut paths);
        let path = self.random.one(&paths).clone();
        let leaf = record.pointer_mut(&path).unwrap();
        *leaf = match leaf.take() {
            Value::Number(n) => json!(n.as_i64().unwrap() + 1 + self.random.below(9) as i64),
            Value::String(text) if text.is_empty() => json!("x"),
            Value::String(text) => {
                let mut characters: Vec<char> = text.chars().collect();
                let at = self.random.below(characters.len());
                characters[at] = if characters[at] == 'e' { 'f' } else { 'e' };
                json!(characters.into_iter().collect::<String>())
            }
            other => json!([other]),
        };
        loqa_audit::canonical(&record)
    }

    /// Numbers and hashes made right again from a row on, as far as that goes without the key.
    fn rehash(rows: &mut [Raw], from: usize) {
        for idx in from..rows.len() {
            let (seq, prev) = if idx == 0 { (1, GENESIS) } else { (rows[idx - 1].0 + 1, rows[idx - 1].2) };
            let mut record: Value = serde_json::from_str(&rows[idx].3).unwrap();
            record["seq"] = json!(seq);
            let body = loqa_audit::canonical(&record);
            rows[idx] = (seq, prev, link(&prev, &body), body);
        }
    }

    fn perform(&mut self, way: &str) {
        let mut all = self.all();
        let sealed = self.sealed as usize;
        let at = self.some();
        let idx = at as usize - 1;
        match way {
            "byte" => {
                let mut body = all[idx].3.clone().into_bytes();
                let byte = self.random.below(body.len());
                body[byte] = if body[byte] == b'0' { b'1' } else { b'0' };
                all[idx].3 = String::from_utf8(body).unwrap();
            }
            "field" => all[idx].3 = self.edited(&all[idx].3.clone()),
            "hash" => all[idx].2[self.random.below(32)] ^= 1 << self.random.below(8),
            "prev" => all[idx].1[self.random.below(32)] ^= 1 << self.random.below(8),
            "number" => {
                let by = 100_000 + self.random.below(1_000) as i64;
                all[idx].0 += by;
            }
            "delete" => drop(all.remove(idx)),
            "delete_range" => {
                let end = (idx + 1 + self.random.below(40)).min(sealed);
                all.drain(idx..end);
            }
            "insert" | "insert_and_rehash" => {
                let body = self.random.one(&all).3.clone();
                let body = self.edited(&body);
                let prev = all[idx].1;
                all.insert(idx, (at, prev, link(&prev, &body), body));
                if way == "insert" {
                    for row in &mut all[idx + 1..] {
                        row.0 += 1;
                    }
                } else {
                    Self::rehash(&mut all, idx);
                }
            }
            "duplicate" => {
                let row = all[idx].clone();
                all.insert(idx, row);
                for row in &mut all[idx + 1..] {
                    row.0 += 1;
                }
            }
            "swap" => {
                let other = (idx + 1 + self.random.below(sealed - 1)) % sealed;
                let (a, b) = (all[idx].0, all[other].0);
                all.swap(idx, other);
                (all[idx].0, all[other].0) = (a, b);
            }
            "splice" => {
                let end = (idx + 1 + self.random.below(30)).min(sealed).min(self.other.len());
                let start = idx.min(end - 1);
                all[start..end].clone_from_slice(&self.other[start..end]);
            }
            "truncate" => all.truncate(idx.max(1)),
            "truncate_to_checkpoint" => {
                // The most honest-looking end: the last row that is left is a checkpoint.
                let ends: Vec<usize> =
                    all[..sealed].iter().enumerate().filter(|(_, row)| is_checkpoint(row)).map(|(i, _)| i).collect();
                all.truncate(*self.random.one(&ends) + 1);
            }
            "edit_and_rehash" => {
                let before = all[idx].3.clone();
                // Making numbers right again undoes an edit of the number.
                while all[idx].3 == before {
                    all[idx].3 = self.edited(&before);
                    Self::rehash(&mut all, idx);
                }
            }
            "delete_and_rehash" => {
                all.remove(idx);
                Self::rehash(&mut all, idx);
            }
            "strip_checkpoints" => {
                all.retain(|row| !is_checkpoint(row));
                Self::rehash(&mut all, 0);
            }
            "pretend_pruned" | "pretend_pruned_with_a_row" => {
                let (seq, _, hash, _) = all[idx].clone();
                all.drain(..=idx);
                if way == "pretend_pruned_with_a_row"
                    && let Some((last, _, prev, body)) = all.last().cloned()
                {
                    let mut record: Value = serde_json::from_str(&body).unwrap();
                    record["kind"] = json!("audit.prune");
                    record["seq"] = json!(last + 1);
                    record["base"] = json!({ "cutoff_ms": 1, "from": 1, "hash": hex::encode(hash), "seq": seq });
                    let body = loqa_audit::canonical(&record);
                    all.push((last + 1, prev, link(&prev, &body), body));
                }
                self.connection.execute("UPDATE base SET seq = ?1, hash = ?2", params![seq, hash]).unwrap();
            }
            "resign" => {
                // Everything made anew with a key of one's own.
                let dir = tempfile::tempdir().unwrap();
                let audit = open(dir.path());
                for n in 0..all.len() as u64 / 2 {
                    audit.append_later(denied(n));
                }
                audit.close();
                all = rows(dir.path()).into_iter().map(|row| (row.seq as i64, row.prev, row.hash, row.body)).collect();
            }
            "payload" => {
                let table = *self.random.one(&["payload", "payload_key"]);
                let column = if table == "payload" { "ciphertext" } else { *self.random.one(&["key", "salt"]) };
                let (seq, mut bytes): (i64, Vec<u8>) = self
                    .connection
                    .query_row(
                        &format!("SELECT seq, {column} FROM {table} ORDER BY abs(seq - ?1) LIMIT 1"),
                        [at],
                        |row| Ok((row.get(0)?, row.get(1)?)),
                    )
                    .unwrap();
                let byte = self.random.below(bytes.len());
                bytes[byte] ^= 1 << self.random.below(8);
                self.connection
                    .execute(&format!("UPDATE {table} SET {column} = ?1 WHERE seq = ?2"), params![bytes, seq])
                    .unwrap();
            }
            "swap_payloads" => {
                let mut statement = self.connection.prepare("SELECT seq FROM payload ORDER BY seq").unwrap();
                let seqs: Vec<i64> =
                    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
                let a = self.random.below(seqs.len() - 1);
                for table in ["payload", "payload_key"] {
                    for (from, to) in [(seqs[a], -1), (seqs[a + 1], seqs[a]), (-1, seqs[a + 1])] {
                        self.connection
                            .execute(&format!("UPDATE {table} SET seq = ?1 WHERE seq = ?2"), params![to, from])
                            .unwrap();
                    }
                }
            }
            "replace_all" => all = self.other.to_vec(),
            "base" => {
                let seq = self.random.below(sealed) as i64;
                let hash = if seq == 0 { [7; 32] } else { all[idx].2 };
                self.connection.execute("UPDATE base SET seq = ?1, hash = ?2", params![seq, hash]).unwrap();
            }
            _ => unreachable!("{way}"),
        }
        self.put(&all);
    }
}

fn is_checkpoint(row: &Raw) -> bool {
    row.3.contains("\"kind\":\"audit.checkpoint\"")
}

/// Paths of the single values in a record.
fn leaves(value: &Value, path: String, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                leaves(value, format!("{path}/{name}"), into);
            }
        }
        Value::Array(items) => {
            for (idx, value) in items.iter().enumerate() {
                leaves(value, format!("{path}/{idx}"), into);
            }
        }
        _ => into.push(path),
    }
}

/// Tampers `n` times in turn with all ways; says which were not found, by each verifier.
fn missed(n: usize, seed: u64, ways: &[&str], verifiers: &[(Checks, bool)]) -> Vec<Vec<String>> {
    let (target, other) = (pristine(150), pristine(150));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    std::fs::write(&path, &other.file).unwrap();
    let other: Vec<Raw> =
        rows(dir.path()).into_iter().map(|row| (row.seq as i64, row.prev, row.hash, row.body)).collect();
    let mut random = Random(seed);
    let mut missed = vec![Vec::new(); verifiers.len()];
    for i in 0..n {
        std::fs::write(&path, &target.file).unwrap();
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY; BEGIN").unwrap();
        // Whoever tampers does not care for triggers.
        let triggers: Vec<String> = {
            let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        for trigger in triggers {
            connection.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
        }
        let way = ways[i % ways.len()];
        let mut tampering = Tampering { connection, random: &mut random, sealed: target.sealed as i64, other: &other };
        tampering.perform(way);
        tampering.connection.execute_batch("COMMIT").unwrap();
        drop(tampering);
        for ((checks, anchored), missed) in verifiers.iter().zip(&mut missed) {
            let anchors = if *anchored { std::slice::from_ref(&target.anchor) } else { &[] };
            let report = verify_with(&Reader::open_file(&path).unwrap(), Some(&target.key), anchors, checks).unwrap();
            if report.bad.is_none() {
                missed.push(format!("{way} (number {i})"));
            }
        }
    }
    missed
}

/// `LOQA_TEST_AUDIT_TAMPERS=10000` for the full figure.
#[test]
fn every_tampering_before_the_last_checkpoint_is_found() {
    let n = full("LOQA_TEST_AUDIT_TAMPERS", 10 * WAYS.len());
    let found = missed(n, 3, WAYS, &[(Checks::all(), true)]);
    assert_eq!(found, [Vec::<String>::new()]);
    eprintln!("tamperings: {n}, missed: 0");
}

/// Each check alone stands between some tampering and success.
#[test]
fn a_verifier_that_skips_one_check_misses_something() {
    let controls = [
        (Check::Hash, true),
        (Check::Previous, true),
        (Check::Signature, false),
        (Check::Anchor, true),
        (Check::Base, true),
        (Check::Payload, true),
    ];
    let verifiers: Vec<_> =
        controls.iter().map(|(check, anchored)| (Checks::all().without(*check), *anchored)).collect();
    let missed = missed(6 * WAYS.len(), 4, WAYS, &verifiers);
    for ((check, _), missed) in controls.iter().zip(&missed) {
        eprintln!("without {}: {} missed, first {:?}", check.as_str(), missed.len(), missed.first());
        assert!(!missed.is_empty(), "without the check of `{}` nothing is missed", check.as_str());
    }
}

/// What no file can prove: who can write it can end it earlier, or make up what came
/// after the last checkpoint that is kept elsewhere.
#[test]
fn the_limits_are_those_that_are_documented() {
    let without_anchor = missed(4, 5, &["truncate_to_checkpoint"], &[(Checks::all(), false)]);
    assert_eq!(without_anchor[0].len(), 4, "an end at a checkpoint looks like an end");
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    for n in 0..5 {
        audit.append_later(denied(n));
    }
    audit.checkpoint().unwrap();
    audit.append_later(denied(99));
    audit.flush().unwrap();
    assert_eq!(verified(dir.path(), &[]).sealed + 2, verified(dir.path(), &[]).last, "the report says where that is");
}

#[test]
fn the_first_bad_row_is_named() {
    let target = pristine(150);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    std::fs::write(&path, &target.file).unwrap();
    let change = |statement: &str| {
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("DROP TRIGGER IF EXISTS record_is_never_changed").unwrap();
        connection.execute_batch("DROP TRIGGER IF EXISTS record_is_deleted_only_by_pruning").unwrap();
        connection.execute_batch(statement).unwrap();
    };
    let named = |path: &Path| {
        let reader = Reader::open_file(path).unwrap();
        let bad = verify_with(&reader, Some(&target.key), &[], &Checks::all()).unwrap().bad.unwrap();
        (bad.seq, bad.check)
    };
    change("DELETE FROM record WHERE seq = 300");
    assert_eq!(named(&path), (300, Check::Gap));
    change(
        "UPDATE record SET body = replace(body, 'not_granted', 'granted') WHERE seq = 200 OR seq = 201 OR seq = 202",
    );
    let (seq, check) = named(&path);
    assert!((200..=202).contains(&seq) && check == Check::Hash, "{seq} {check:?}");
    change("UPDATE record SET prev = zeroblob(32) WHERE seq = 100");
    assert_eq!(named(&path), (100, Check::Previous));
    assert_eq!(named(&path).0, 100, "the first of three");
}
