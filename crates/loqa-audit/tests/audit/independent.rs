//! A second verifier, written from `docs/audit.md` in another language, agrees; and
//! a file of an earlier build still verifies.

use crate::support::{denied, intent, open, verified, write_some};
use loqa_audit::{
    ANCHOR_FILE, Audit, Checkpoint, Checks, Erase, FILE_NAME, Filter, Format, Journal as _, KEY_FILE, Options, Outcome,
    Reader, Status, verify_with,
};
use rusqlite::Connection;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Python 3 of this machine; `LOQA_TEST_PYTHON` names another one.
fn python(file: &Path, more: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verify.py");
    let program = std::env::var("LOQA_TEST_PYTHON")
        .unwrap_or_else(|_| if cfg!(windows) { "python".to_owned() } else { "python3".to_owned() });
    let output = Command::new(&program)
        .arg(script)
        .arg(file)
        .args(more)
        .output()
        .unwrap_or_else(|e| panic!("`{program}` is needed for this test, LOQA_TEST_PYTHON names it: {e}"));
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("the verifier says: {}", String::from_utf8_lossy(&output.stderr)))
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Writes the golden files: a record with two runs, contents kept and erased, and a pruned front.
fn write_golden(dir: &Path) {
    let _ = std::fs::remove_dir_all(dir);
    let clock: Arc<dyn Fn() -> i64 + Send + Sync> = Arc::new(|| 1_790_000_000_000);
    let audit = Audit::open(dir, Options { clock: Some(clock), ..Options::default() }).unwrap();
    write_some(&audit, 100);
    audit.erase(Erase::Rows(1, 40)).unwrap();
    let open_one = audit.append(intent(7)).unwrap();
    audit.close();
    let audit = open(dir);
    audit.prune(1_790_000_000_001).unwrap();
    write_some(&audit, 20);
    audit.append_later(denied(open_one));
    audit.close();
    std::fs::remove_file(dir.join("audit.lock")).unwrap();
    Connection::open(dir.join(FILE_NAME)).unwrap().execute_batch("VACUUM").unwrap();
    Connection::open(dir.join(FILE_NAME))
        .unwrap()
        .pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))
        .unwrap();
}

/// `LOQA_TEST_AUDIT_WRITE_GOLDEN=1` makes the files anew, after a change of the format.
#[test]
fn the_golden_file_verifies_by_both() {
    if std::env::var_os("LOQA_TEST_AUDIT_WRITE_GOLDEN").is_some() {
        write_golden(&golden());
    }
    let dir = tempfile::tempdir().unwrap();
    for name in [FILE_NAME, ANCHOR_FILE, KEY_FILE] {
        std::fs::copy(golden().join(name), dir.path().join(name)).unwrap();
    }
    let anchor = Checkpoint::read(&dir.path().join(ANCHOR_FILE)).unwrap();
    let ours = verified(dir.path(), &[anchor]);
    assert_eq!(ours.bad, None);
    let (file, anchor_file) = (dir.path().join(FILE_NAME), dir.path().join(ANCHOR_FILE));
    let theirs = python(&file, &["--key", &ours.key, "--anchor", anchor_file.to_str().unwrap()]);
    let expected = serde_json::json!({
        "ok": true, "rows": ours.rows, "last": ours.last, "hash": ours.hash, "sealed": ours.sealed, "open": [],
    });
    assert_eq!(theirs, expected);
    let started = Reader::open(dir.path()).unwrap().show(ours.first).unwrap();
    assert!(started.is_some());
    // It is not only read: a hub of today goes on with it.
    write_some(&open(dir.path()), 5);
    assert_eq!(verified(dir.path(), &[]).bad, None);
}

#[test]
fn both_find_the_same_bad_row_also_in_an_export() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    write_some(&audit, 130);
    audit.close();
    let reader = Reader::open(dir.path()).unwrap();
    let export = dir.path().join("export.jsonl");
    let write_export = |reader: &Reader| {
        let mut file = std::fs::File::create(&export).unwrap();
        reader.export(&Filter::default(), Format::Jsonl, true, &mut file).unwrap();
    };
    write_export(&reader);
    let report = verified(dir.path(), &[]);
    assert_eq!(
        python(&export, &["--key", &report.key])["hash"],
        report.hash.as_str(),
        "an export alone can be verified"
    );

    let key = reader.key().unwrap();
    let path = dir.path().join(FILE_NAME);
    let changes = [
        "UPDATE record SET body = replace(body, 'allow', 'deny') WHERE seq > 200",
        "UPDATE record SET prev = zeroblob(32) WHERE seq = 160",
        "UPDATE record SET body = replace(body, '\"signature\":\"', '\"signature\":\"00') WHERE seq = 2",
        "DELETE FROM record WHERE seq = 1",
    ];
    for (change, check) in changes.iter().zip(["hash", "previous", "hash", "gap"]) {
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("DROP TRIGGER IF EXISTS record_is_never_changed").unwrap();
        connection.execute_batch("DROP TRIGGER IF EXISTS record_is_deleted_only_by_pruning").unwrap();
        connection.execute_batch(change).unwrap();
        drop(connection);
        let bad = verify_with(&reader, Some(&key), &[], &Checks::all()).unwrap().bad.unwrap();
        let theirs = python(&path, &["--key", &key]);
        assert_eq!(
            (theirs["row"].as_u64(), theirs["check"].as_str()),
            (Some(bad.seq), Some(bad.check.as_str())),
            "{change}"
        );
        assert_eq!(bad.check.as_str(), check, "{change}");
    }
    drop(reader);
    let other = tempfile::tempdir().unwrap();
    let audit = open(other.path());
    let seq = audit.append(intent(1)).unwrap();
    audit.finish(seq, Outcome::of(Status::Ok));
    audit.close();
    let theirs = python(&other.path().join(FILE_NAME), &["--key", &key]);
    assert_eq!(theirs["check"], "another key", "a record that was made anew with another key");
}
