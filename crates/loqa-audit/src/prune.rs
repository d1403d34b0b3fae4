//! Removing what is old, and erasing contents: both leave a row that says so, and a
//! chain that still verifies.

use crate::body::{Hash, text};
use crate::record::Kind;
use crate::store::{Head, Pen, own, seq_at, sql};
use crate::{Erase, Fault};
use rusqlite::{Transaction, params};
use serde_json::{Value, json};

/// Most rows that one step removes, so that calls do not wait long. Chosen.
pub(crate) const STEP: i64 = 10_000;

/// Removes the oldest rows as long as each is older than the cutoff and no call that
/// still runs is among them. Rows go from the front only: one that is older but comes
/// after a newer one, because the clock was set, stays.
pub(crate) fn prune(
    transaction: &Transaction<'_>,
    pen: &mut Pen<'_>,
    head: &mut Head,
    wall_ms: i64,
    cutoff_ms: i64,
    unfinished: Option<u64>,
    fault: Option<Fault>,
) -> rusqlite::Result<u64> {
    let mut base: Option<(u64, Hash)> = None;
    {
        let mut statement = transaction.prepare_cached(
            "SELECT seq, hash, body ->> '$.wall_ms' FROM record WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?;
        let mut rows = statement.query([sql(head.base_seq), STEP])?;
        while let Some(row) = rows.next()? {
            let seq = seq_at(row, 0)?;
            let at: i64 = row.get(2)?;
            let kept = match fault {
                Some(Fault::PruneByTheOldestRow) => base.is_some_and(|_| at >= cutoff_ms && seq % 2 == 0),
                _ => at >= cutoff_ms,
            };
            if kept || unfinished.is_some_and(|first| seq >= first) {
                break;
            }
            base = Some((seq, row.get(1)?));
        }
    }
    let Some((seq, hash)) = base else { return Ok(0) };
    let removed = seq - head.base_seq;
    let mut draft = own(Kind::AuditPrune);
    draft.set(
        "base",
        json!({ "from": head.base_seq + 1, "seq": seq, "hash": hex::encode(hash), "cutoff_ms": cutoff_ms }),
    );
    // The row says it before it is so; all of it is one transaction.
    (head.base_seq, head.base_hash) = (seq, hash);
    pen.add(transaction, head, draft, wall_ms, 0)?;
    if head.unsealed > 0 {
        pen.seal(transaction, head, wall_ms)?;
    }
    transaction.execute("UPDATE base SET seq = ?1, hash = ?2 WHERE id = 1", params![sql(seq), hash])?;
    for table in ["payload_key", "payload", "record"] {
        transaction.execute(&format!("DELETE FROM {table} WHERE seq <= ?1"), [sql(seq)])?;
    }
    Ok(removed)
}

/// Deletes keys and contents; the rows stay.
pub(crate) fn erase(
    transaction: &Transaction<'_>,
    pen: &mut Pen<'_>,
    head: &mut Head,
    wall_ms: i64,
    what: &Erase,
) -> rusqlite::Result<u64> {
    let session = |id: Value| json!({ "session": id });
    let (condition, value) = match what {
        Erase::Rows(first, last) => {
            ("seq BETWEEN ?1 ->> '$.first' AND ?1 ->> '$.last'", json!({ "first": first, "last": last }))
        }
        Erase::Session(id) => (
            "seq IN (SELECT record.seq FROM record JOIN payload_key USING (seq)
             WHERE record.body ->> '$.session' = ?1 ->> '$.session')",
            session(Value::from(id.as_str())),
        ),
        Erase::Before(wall_ms) => (
            "seq IN (SELECT record.seq FROM record JOIN payload_key USING (seq)
             WHERE record.body ->> '$.wall_ms' < ?1 ->> '$.wall_ms')",
            json!({ "wall_ms": wall_ms }),
        ),
        Erase::All => ("?1 IS NOT NULL", json!({})),
    };
    let value = value.to_string();
    // The condition of a session reads the table of keys, so that goes last.
    transaction.execute(&format!("DELETE FROM payload WHERE {condition}"), [&value])?;
    let erased = transaction.execute(&format!("DELETE FROM payload_key WHERE {condition}"), [&value])? as u64;
    if erased > 0 {
        let mut draft = own(Kind::AuditErase);
        draft.set("erased", json!({ "what": described(what), "payloads": erased }));
        pen.add(transaction, head, draft, wall_ms, 0)?;
    }
    Ok(erased)
}

/// Names what was erased.
fn described(what: &Erase) -> Value {
    match what {
        Erase::Rows(first, last) => text(&format!("rows {first} to {last}")),
        Erase::Session(session) => text(&format!("session {session}")),
        Erase::Before(wall_ms) => text(&format!("before {wall_ms}")),
        Erase::All => text("all"),
    }
}
