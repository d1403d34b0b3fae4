//! What is written, read back, summed, exported, erased and pruned.

use crate::support::{denied, intent, open, rows, verified, write_some};
use loqa_audit::{
    Actor, ActorKind, Audit, Contents, Context, Decision, Effect, Entry, Erase, FILE_NAME, Filter, Format,
    Journal as _, Kind, Options, Outcome, Reader, Status,
};
use loqa_protocol::SessionId;
use rusqlite::Connection;
use serde_json::json;

#[test]
fn rows_are_found_shown_and_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    write_some(&audit, 30);
    // Reading works beside the writer.
    let reader = Reader::open(dir.path()).unwrap();
    let find = |filter: &Filter| reader.list(filter).unwrap();
    let denials = find(&Filter { decision: Some(Decision::Deny), ..Filter::default() });
    assert_eq!(denials.len(), 6);
    assert!(denials.iter().all(|row| row.kind() == Some(Kind::CallDenied)));
    let weather = find(&Filter { actor: Some("weather".into()), kind: Some(Kind::CallIntent), ..Filter::default() });
    assert_eq!(weather.len(), 15);
    let page = find(&Filter { limit: 4, ..Filter::default() });
    let next = find(&Filter { limit: 4, before: Some(page[3].seq), ..Filter::default() });
    assert_eq!(
        page.iter().chain(&next).map(|row| row.seq).collect::<Vec<_>>(),
        (0..8).map(|i| page[0].seq - i).collect::<Vec<_>>()
    );
    let text = find(&Filter { text: Some("town 27".into()), ..Filter::default() });
    assert_eq!(text.len(), 1, "contents are searched in any case");
    let permission = |name: &str| find(&Filter { permission: Some(name.into()), ..Filter::default() }).len();
    assert_eq!((permission("http:call"), permission("secret:use")), (44, 0), "intents, denials, egress");
    let session = SessionId::from_bits(2).to_string();
    assert!(find(&Filter { session: Some(session), ..Filter::default() }).len() >= 20);
    assert!(find(&Filter { until_ms: Some(1_000), ..Filter::default() }).is_empty());

    let shown = reader.show(text[0].seq).unwrap().unwrap();
    assert_eq!(shown.contents, Contents::Kept(json!({ "city": "Town 27" })));
    assert_eq!(shown.before.unwrap().hash, shown.row.prev);
    assert_eq!(shown.after.unwrap().prev, shown.row.hash);
    assert_eq!(shown.outcome.unwrap().record["outcome"]["status"], "ok");
    assert_eq!(shown.sealed_by, None, "no checkpoint yet");
    let checkpoint = audit.checkpoint().unwrap();
    assert!(reader.show(text[0].seq).unwrap().unwrap().sealed_by.is_some());
    assert_eq!(audit.checkpoint().unwrap(), checkpoint, "nothing new, no new checkpoint");
    assert_eq!(reader.show(1_000_000).unwrap(), None);
    let report = verified(dir.path(), std::slice::from_ref(&checkpoint));
    assert_eq!((report.bad, report.sealed, report.key_known), (None, checkpoint.checkpoint.seq, true));
}

#[cfg(unix)]
#[test]
fn every_file_is_for_the_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let audit = open(&dir);
    write_some(&audit, 3);
    audit.checkpoint().unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let mut seen = Vec::new();
    for file in std::fs::read_dir(&dir).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        if name != "audit.lock" {
            assert_eq!(mode(&file.path()), 0o600, "{name}");
        }
        seen.push(name);
    }
    seen.sort();
    assert_eq!(seen, ["audit.anchor", "audit.db", "audit.db-shm", "audit.db-wal", "audit.key", "audit.lock"]);
}

#[test]
fn sqlite_itself_refuses_to_change_or_delete_rows() {
    let dir = tempfile::tempdir().unwrap();
    write_some(&open(dir.path()), 3);
    let connection = Connection::open(dir.path().join(FILE_NAME)).unwrap();
    for statement in [
        "UPDATE record SET body = '{}' WHERE seq = 3",
        "DELETE FROM record WHERE seq = 3",
        "DELETE FROM record",
        "INSERT OR REPLACE INTO record SELECT 3, prev, hash, '{}' FROM record WHERE seq = 3",
        "UPDATE base SET seq = -1",
        "DELETE FROM base",
        "UPDATE payload SET ciphertext = x'00'",
    ] {
        let error = connection.execute(statement, []).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{statement}: {error}");
    }
    assert_eq!(verified(dir.path(), &[]).bad, None);
}

/// Whether these bytes stand in any file of the folder.
fn stands_somewhere(dir: &std::path::Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|file| {
        let content = std::fs::read(file.unwrap().path()).unwrap();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn erased_contents_are_gone_from_every_file_and_the_chain_still_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    write_some(&audit, 40);
    let secrets: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> = {
        let connection = Connection::open(dir.path().join(FILE_NAME)).unwrap();
        let mut statement =
            connection.prepare("SELECT key, salt, ciphertext FROM payload JOIN payload_key USING (seq)").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    assert_eq!(secrets.len(), 17, "contents of calls and of refusals");
    assert!(!stands_somewhere(dir.path(), b"Town 3"), "contents are never in the clear");
    assert!(secrets.iter().all(|(key, ..)| stands_somewhere(dir.path(), key)), "the search finds what is there");
    let one = audit.erase(Erase::Rows(1, 4)).unwrap();
    assert_eq!(one, 2);
    let session = SessionId::from_bits(1);
    assert_eq!(audit.erase(Erase::Session(session)).unwrap(), 15, "every third call is of this session");
    assert_eq!(audit.erase(Erase::All).unwrap(), 0);
    for (key, salt, ciphertext) in &secrets {
        assert!(!stands_somewhere(dir.path(), key), "a key is left");
        assert!(!stands_somewhere(dir.path(), salt), "a salt is left: short contents could be guessed");
        assert!(!stands_somewhere(dir.path(), ciphertext), "contents are left");
    }
    let report = verified(dir.path(), &[]);
    assert_eq!((report.bad, report.payloads, report.erased), (None, 0, 17));
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.show(3).unwrap().unwrap().contents, Contents::Erased);
    let told = reader.list(&Filter { kind: Some(Kind::AuditErase), ..Filter::default() }).unwrap();
    assert_eq!(
        told.iter().map(|row| row.record["erased"]["payloads"].clone()).collect::<Vec<_>>(),
        [json!(15), json!(2)]
    );
}

#[test]
fn an_ephemeral_record_keeps_rows_and_no_contents() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path(), Options { ephemeral: true, ..Options::default() }).unwrap();
    write_some(&audit, 9);
    audit.set_ephemeral(false);
    let kept = audit.append(intent(0)).unwrap();
    audit.close();
    let reader = Reader::open(dir.path()).unwrap();
    let contents: Vec<_> = rows(dir.path()).iter().map(|row| reader.contents(row).unwrap()).collect();
    assert_eq!(contents.iter().filter(|c| matches!(c, Contents::Withheld)).count(), 4);
    assert!(matches!(reader.show(kept).unwrap().unwrap().contents, Contents::Kept(_)));
    let report = verified(dir.path(), &[]);
    assert_eq!((report.bad, report.payloads), (None, 1));
}

#[test]
fn the_ledger_holds_every_byte_that_left_by_who_and_where_to() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    write_some(&audit, 8);
    let mut entry = Entry::new(Kind::Egress, Actor::named(ActorKind::Engine, "llm.endpoint"), Context::default());
    entry.effect = Some(Effect {
        operation: "chat".into(),
        target: Some("http://127.0.0.1:11434/v1".into()),
        bytes_out: Some(2_000),
    });
    audit.append(entry.clone()).unwrap();
    audit.append(entry).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let sums: Vec<_> = reader
        .egress(None, None, None)
        .unwrap()
        .into_iter()
        .map(|sum| (sum.actor, sum.origin, sum.times, sum.bytes))
        .collect();
    // Calls 0 and 4 reported what they sent; both are of the skill `weather`.
    assert_eq!(
        sums,
        [
            ("llm.endpoint".to_owned(), "http://127.0.0.1:11434".to_owned(), 2, 4_000),
            ("weather".to_owned(), "https://api.example:443".to_owned(), 2, 204),
        ]
    );
    let day = 86_400_000;
    let by_day = reader.egress(None, None, Some(day)).unwrap();
    assert_eq!(by_day.iter().map(|sum| sum.bytes).sum::<u64>(), 4_204);
    assert!(by_day.iter().all(|sum| sum.from_ms % day == 0 && sum.from_ms > 0));
    assert!(reader.egress(None, Some(1), None).unwrap().is_empty());
}

#[test]
fn an_export_holds_what_was_hashed() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    write_some(&audit, 12);
    let reader = Reader::open(dir.path()).unwrap();
    let mut jsonl = Vec::new();
    let n = reader.export(&Filter::default(), Format::Jsonl, true, &mut jsonl).unwrap();
    let rows = rows(dir.path());
    let lines: Vec<&str> = std::str::from_utf8(&jsonl).unwrap().lines().collect();
    assert_eq!((n, lines.len()), (rows.len() as u64, rows.len()));
    for (line, row) in lines.iter().zip(&rows) {
        assert!(line.contains(&format!(",\"record\":{}", row.body)), "byte by byte");
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["hash"], hex::encode(row.hash));
    }
    assert!(lines.iter().any(|line| line.ends_with(",\"contents\":{\"city\":\"Town 3\"}}")));
    let mut csv = Vec::new();
    reader.export(&Filter { kind: Some(Kind::Egress), ..Filter::default() }, Format::Csv, false, &mut csv).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    assert!(csv.starts_with("seq,wall_ms,kind,actor_kind,actor,"), "{csv}");
    assert_eq!(csv.lines().count(), 4);
    assert!(csv.lines().nth(1).unwrap().contains(",egress,skill,weather,1.2.0,http:call,"), "{csv}");
}

#[test]
fn a_row_that_nobody_waits_for_keeps_its_place_and_is_soon_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    audit.append_later(denied(1));
    let durable = audit.append(intent(2)).unwrap();
    let order: Vec<_> = rows(dir.path()).iter().filter_map(|row| row.number("invocation")).collect();
    assert_eq!(order, [1, 2], "the earlier row is written with the later one");
    audit.append_later(denied(3));
    let began = std::time::Instant::now();
    while rows(dir.path()).last().unwrap().number("invocation") != Some(3) {
        assert!(began.elapsed().as_secs() < 10, "it has to come by itself");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    audit.finish(durable, Outcome::of(Status::Ok));
}

#[test]
fn a_checkpoint_comes_every_256_rows_and_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..150 {
                    let seq = audit.append(intent(n)).unwrap();
                    audit.finish(seq, Outcome::of(Status::Ok));
                }
            });
        }
    });
    audit.close();
    let report = verified(dir.path(), &[]);
    assert_eq!((report.bad, report.sealed), (None, report.last - 1), "the end is sealed");
    let rows = rows(dir.path());
    let sealed: Vec<u64> =
        rows.iter().filter(|row| row.kind() == Some(Kind::AuditCheckpoint)).map(|row| row.seq).collect();
    assert!(sealed.windows(2).all(|pair| pair[1] - pair[0] <= 257), "{sealed:?}");
    assert_eq!(sealed.len() as u64, report.checkpoints);
    let before = report.last;
    drop(open(dir.path()));
    assert_eq!(verified(dir.path(), &[]).last, before, "a start and a stop without rows add none");
}

#[test]
fn after_closing_everything_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    audit.close();
    assert!(audit.append(intent(1)).unwrap_err().to_string().contains("closed"));
    assert!(audit.checkpoint().is_err() && audit.prune(0).is_err() && audit.flush().is_err());
    audit.append_later(denied(1));
    assert_eq!(audit.health().lost, 1, "counted, not lost in silence");
    audit.close();
}
