//! Grants against a clock that is moved by hand, over restarts and revocations.

use super::*;
use crate::clock::SystemClock;
use loqa_audit::{JournalError, LogOnly, Outcome};

fn open(folder: &Path, journal: Arc<dyn Journal>) -> Grants {
    Grants::open(folder, Arc::new(SystemClock), journal).unwrap()
}

fn new(skill: &str, permission: Permission, lifetime: Lifetime) -> NewGrant {
    NewGrant {
        skill: skill.into(),
        digest: "code".into(),
        publisher: Some("key".into()),
        permission,
        scope: Scope::default().resolved(permission),
        lifetime,
        granted_by: Grantor::Operator,
    }
}

#[derive(Default)]
struct Rows {
    rows: Mutex<Vec<(Kind, String)>>,
    is_full: std::sync::atomic::AtomicBool,
}

impl Journal for Rows {
    fn append(&self, entry: Entry) -> Result<u64, JournalError> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(JournalError("disk full".into()));
        }
        self.append_later(entry);
        Ok(1)
    }
    fn append_later(&self, entry: Entry) {
        self.rows.lock().unwrap().push((entry.kind, entry.reason.unwrap().into_owned()));
    }
    fn finish(&self, _intent: u64, _outcome: Outcome) {}
}

#[test]
fn a_digest_tells_manifest_and_module_apart() {
    let digest = code_digest(b"ab", b"cd");
    assert_eq!(digest.len(), 64);
    for (manifest, module) in [(b"abc".as_slice(), b"d".as_slice()), (b"a", b"bcd"), (b"cd", b"ab"), (b"ab", b"ce")] {
        assert_ne!(code_digest(manifest, module), digest);
    }
}

#[test]
fn grants_survive_a_restart_as_they_were_given() {
    let folder = tempfile::tempdir().unwrap();
    let grants = open(folder.path(), Arc::new(LogOnly));
    let kept = grants.grant(new("a", Permission::NotifyShow, Lifetime::Always)).unwrap();
    let never = grants.grant(new("a", Permission::HttpCall, Lifetime::Never)).unwrap();
    grants.grant(new("a", Permission::TtsSay, Lifetime::Session(SessionId::from_bits(1)))).unwrap();
    drop(grants);
    let grants = open(folder.path(), Arc::new(LogOnly));
    let live = grants.list(Some("a")).into_iter().filter(|grant| grant.ended.is_none()).collect::<Vec<_>>();
    assert_eq!(live.len(), 2, "sessions end with the program");
    assert!(live.contains(&kept) && live.contains(&never));
}

#[test]
fn every_change_is_recorded_and_what_cannot_be_recorded_is_not_granted() {
    let (folder, rows) = (tempfile::tempdir().unwrap(), Arc::<Rows>::default());
    let grants = open(folder.path(), Arc::clone(&rows) as _);
    grants.grant(new("a", Permission::NotifyShow, Lifetime::Always)).unwrap();
    grants.grant(new("a", Permission::NotifyShow, Lifetime::Never)).unwrap();
    rows.is_full.store(true, Ordering::SeqCst);
    assert!(matches!(grants.grant(new("a", Permission::TtsSay, Lifetime::Always)), Err(GrantError::Audit(_))));
    assert_eq!(grants.revoke("a", None, Grantor::Operator).unwrap().len(), 1, "a full disk keeps nothing alive");
    let expected = [
        (Kind::GrantAdd, "always"),
        (Kind::GrantAdd, "never"),
        (Kind::GrantRevoke, "replaced"),
        (Kind::GrantRevoke, "revoked"),
    ];
    assert_eq!(*rows.rows.lock().unwrap(), expected.map(|(kind, word)| (kind, word.to_owned())));
    assert!(grants.list(None).iter().all(|grant| grant.ended.is_some()));
}

#[test]
fn a_database_that_refuses_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let grants = open(folder.path(), Arc::new(LogOnly));
    grants.grant(new("a", Permission::NotifyShow, Lifetime::Always)).unwrap();
    let before = grants.list(None);
    // Another program holds the file.
    let other = rusqlite::Connection::open(folder.path().join("skills.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(grants.grant(new("a", Permission::TtsSay, Lifetime::Always)), Err(GrantError::Store(_))));
    assert!(matches!(grants.revoke("a", None, Grantor::Operator), Err(GrantError::Store(_))));
    assert_eq!(grants.list(None), before, "memory says what the database says");
}

#[test]
fn what_is_never_granted_ahead_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let grants = open(folder.path(), Arc::new(LogOnly));
    for permission in [Permission::AudioCapture, Permission::MessageSend, Permission::DataDelete] {
        for lifetime in [Lifetime::Once, Lifetime::Always, Lifetime::Session(SessionId::from_bits(1))] {
            let refused = grants.grant(new("a", permission, lifetime.clone()));
            assert!(matches!(refused, Err(GrantError::Policy { .. })), "{permission} {lifetime:?}");
        }
    }
    grants.grant(new("a", Permission::MessageSend, Lifetime::Never)).unwrap();
}

#[test]
fn a_damaged_row_grants_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let grants = open(folder.path(), Arc::new(LogOnly));
    for permission in [Permission::NotifyShow, Permission::TtsSay, Permission::TimerSet] {
        grants.grant(new("a", permission, Lifetime::Always)).unwrap();
    }
    drop(grants);
    let database = rusqlite::Connection::open(folder.path().join("skills.db")).unwrap();
    for damage in [
        "UPDATE skill_grant SET scope = '{\"per_minute\":\"many\"}' WHERE permission = 'notify:show'",
        "UPDATE skill_grant SET permission = 'tts:everything' WHERE permission = 'tts:say'",
    ] {
        database.execute(damage, []).unwrap();
    }
    let grants = open(folder.path(), Arc::new(LogOnly));
    let left = grants.list(None).into_iter().map(|grant| grant.permission).collect::<Vec<_>>();
    assert_eq!(left, [Permission::TimerSet]);
}

#[test]
fn a_skill_that_is_removed_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let grants = open(folder.path(), Arc::new(LogOnly));
    grants.grant(new("a", Permission::NotifyShow, Lifetime::Never)).unwrap();
    grants.grant(new("b", Permission::NotifyShow, Lifetime::Always)).unwrap();
    grants.forget("a").unwrap();
    drop(grants);
    let left = open(folder.path(), Arc::new(LogOnly)).list(None);
    assert_eq!(left.iter().map(|grant| grant.skill.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn listeners_hear_of_what_is_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let grants = open(folder.path(), Arc::new(LogOnly));
    let heard = Arc::<Mutex<Vec<(String, Option<Permission>)>>>::default();
    let hearing = Arc::clone(&heard);
    grants.on_end(move |skill, permission| hearing.lock().unwrap().push((skill.to_owned(), permission)));
    grants.grant(new("a", Permission::NotifyShow, Lifetime::Always)).unwrap();
    grants.revoke("a", Some(Permission::NotifyShow), Grantor::Operator).unwrap();
    grants.revoke("b", None, Grantor::Operator).unwrap();
    assert_eq!(
        *heard.lock().unwrap(),
        [("a".to_owned(), Some(Permission::NotifyShow)), ("b".to_owned(), None)],
        "also when nothing was granted: somebody may be asking this moment"
    );
}
