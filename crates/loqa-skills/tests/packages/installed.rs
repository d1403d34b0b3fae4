//! What is installed: consent, versions, changes behind our back, and what the host is given.

use crate::archive::{manifest, module};
use loqa_audit::{Entry, Journal, JournalError, Kind, Outcome};
use loqa_protocol::{PrivacyScope, SessionId, ToolCall, TurnId};
use loqa_skills::installed::{InstalledError, Switch, Upgraded};
use loqa_skills::package::{Package, PublisherKey, pack};
use loqa_skills::upgrade::{Decision, Difference, Refusal};
use loqa_skills::{Effects, Installed, Invocation, Permission, Shelf, SkillHost, SkillHostOptions, SystemClock, Taint};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const NO_PERMISSIONS: &str = "";
const TIMERS: &str = "permissions:\n  - { use: timer:set, max: 3, reason: to wait }\n";

#[derive(Debug, Clone, Default)]
pub struct Rows(pub Arc<Mutex<Vec<String>>>);

impl Rows {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Journal for Rows {
    fn append(&self, entry: Entry) -> Result<u64, JournalError> {
        self.append_later(entry);
        Ok(0)
    }

    fn append_later(&self, entry: Entry) {
        // Calls have rows of their own, which other tests look at.
        if matches!(entry.kind, Kind::CallIntent | Kind::CallOutcome | Kind::CallDenied) {
            return;
        }
        let target = entry.effect.and_then(|effect| effect.target).unwrap_or_default();
        let target = target.split(' ').take(2).collect::<Vec<_>>().join(" ");
        self.0.lock().unwrap().push(format!("{} {target}", entry.kind));
    }

    fn finish(&self, _intent: u64, _outcome: Outcome) {}
}

struct Nothing;

impl Effects for Nothing {
    fn say(&self, _skill: &str, _text: &str) {}
    fn notify(&self, _skill: &str, _text: &str) {}
    fn publish(&self, _skill: &str, _topic: &str, _data: &Value) {}
}

/// A data folder with a host on it.
pub struct Bench {
    pub data: tempfile::TempDir,
    pub installed: Installed,
    pub host: SkillHost,
    pub shelf: Shelf,
    pub rows: Rows,
}

impl Bench {
    pub fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let rows = Rows::default();
        let options = SkillHostOptions { data_dir: data.path().to_owned(), clock: Arc::new(SystemClock) };
        let host = SkillHost::open_with_audit(options, Arc::new(Nothing), Arc::new(rows.clone())).unwrap();
        let installed = Installed::in_data(data.path());
        Self { shelf: Shelf::new(installed.clone()), data, installed, host, rows }
    }

    pub fn call(&self, tool: &str) -> Result<String, loqa_protocol::Failure> {
        let outcome = self.host.call(&Invocation {
            session: SessionId::from_bits(1),
            turn: TurnId::from_bits(1),
            scope: PrivacyScope::Persistent,
            call: ToolCall { name: tool.to_owned(), arguments: Map::new() },
            said: loqa_skills::Said::default(),
            taint: Taint::user(),
            budget: Duration::from_secs(10),
            cancel: Arc::new(AtomicBool::new(false)),
        })?;
        Ok(outcome.say)
    }
}

/// A package of the skill `name` whose tool answers with its own version.
pub fn package(name: &str, version: &str, permissions: &str, key: Option<&PublisherKey>) -> Package {
    let folder = tempfile::tempdir().unwrap();
    write_skill(folder.path(), name, version, permissions);
    Package::read(&pack(folder.path(), key).unwrap()).unwrap()
}

fn write_skill(folder: &Path, name: &str, version: &str, permissions: &str) {
    std::fs::write(folder.join("skill.yaml"), manifest(name, version, permissions)).unwrap();
    std::fs::write(folder.join("test.wasm"), module(version)).unwrap();
}

#[test]
fn an_installed_skill_runs_and_a_disabled_or_removed_one_does_not() {
    let mut bench = Bench::new();
    bench.installed.install(&package("kettle", "1.0.0", NO_PERMISSIONS, None), 1).unwrap();
    assert!(bench.call("kettle.run").is_err(), "nothing runs before the host has looked");
    assert_eq!(bench.shelf.sync(&bench.host).unwrap(), []);
    assert_eq!(bench.call("kettle.run").unwrap(), "1.0.0");
    assert_eq!(bench.rows.take(), ["skill.install kettle 1.0.0", "skill.load kettle"]);

    assert!(bench.installed.switch("kettle", Switch::Disabled, 2).unwrap());
    assert!(!bench.installed.switch("kettle", Switch::Disabled, 2).unwrap(), "it was so already");
    bench.shelf.sync(&bench.host).unwrap();
    assert!(bench.call("kettle.run").is_err());
    bench.installed.switch("kettle", Switch::Enabled, 3).unwrap();
    bench.shelf.sync(&bench.host).unwrap();
    assert_eq!(bench.call("kettle.run").unwrap(), "1.0.0");

    bench.installed.remove("kettle", 4).unwrap();
    bench.shelf.sync(&bench.host).unwrap();
    assert!(bench.call("kettle.run").is_err());
    assert!(!bench.data.path().join("skills/kettle").exists(), "its files are gone");
    assert_eq!(
        bench.rows.take(),
        ["config.change kettle 1.0.0", "config.change kettle 1.0.0", "skill.load kettle", "skill.remove kettle 1.0.0"]
    );
    bench.shelf.sync(&bench.host).unwrap();
    assert_eq!(bench.rows.take(), [""; 0], "each event is reported once");
    assert!(matches!(bench.installed.remove("kettle", 5), Err(InstalledError::NotInstalled(_))));
}

#[test]
fn a_changed_file_is_not_loaded_and_stands_in_the_record() {
    for file in ["skill.yaml", "test.wasm"] {
        let mut bench = Bench::new();
        bench.installed.install(&package("kettle", "1.0.0", NO_PERMISSIONS, None), 1).unwrap();
        let index = bench.installed.index().unwrap();
        let folder = bench.installed.folder("kettle", &index.skills["kettle"].current);
        let mut bytes = std::fs::read(folder.join(file)).unwrap();
        // Both files stay valid: only the digest tells.
        bytes.extend(if file == "skill.yaml" { b"\n# x\n".as_slice() } else { b"\0\x02\x01x".as_slice() });
        std::fs::write(folder.join(file), bytes).unwrap();
        let not_loaded = bench.shelf.sync(&bench.host).unwrap();
        assert_eq!(not_loaded.len(), 1);
        assert!(not_loaded[0].reason.contains("was changed since the user agreed to it"), "{}", not_loaded[0].reason);
        assert!(bench.call("kettle.run").is_err());
        assert_eq!(bench.rows.take(), ["skill.install kettle 1.0.0", "skill.changed kettle"], "{file}");
        assert_eq!(bench.shelf.sync(&bench.host).unwrap().len(), 1, "it is still not loaded");

        bench.installed.remove("kettle", 2).unwrap();
        bench.installed.install(&package("kettle", "1.0.0", NO_PERMISSIONS, None), 3).unwrap();
        assert_eq!(bench.shelf.sync(&bench.host).unwrap(), [], "installed again, it is as agreed");
    }
}

#[test]
fn an_upgrade_that_does_no_more_replaces_and_one_that_does_waits() {
    let key = PublisherKey::generate();
    let mut bench = Bench::new();
    bench.installed.install(&package("kettle", "1.0.0", TIMERS, Some(&key)), 1).unwrap();
    let narrower = package("kettle", "1.1.0", NO_PERMISSIONS, Some(&key));
    assert_eq!(bench.installed.consider(&narrower).unwrap(), Some(Decision::Replace));
    assert_eq!(bench.installed.upgrade(&narrower, &[], 2).unwrap(), Upgraded::Replaced);
    assert_eq!(bench.installed.upgrade(&narrower, &[], 2).unwrap(), Upgraded::Same);
    let index = bench.installed.index().unwrap();
    let skill = &index.skills["kettle"];
    assert_eq!(
        skill.current.carried_from,
        [skill.previous.as_ref().unwrap().code_digest.as_str()],
        "without a question its grants are those of the version before"
    );
    bench.shelf.sync(&bench.host).unwrap();
    assert_eq!(bench.call("kettle.run").unwrap(), "1.1.0");

    let wider = package("kettle", "1.2.0", TIMERS, Some(&key));
    let wants = vec![Difference::NewPermission(Permission::TimerSet)];
    assert_eq!(bench.installed.upgrade(&wider, &[], 3).unwrap(), Upgraded::Staged(wants.clone()));
    bench.shelf.sync(&bench.host).unwrap();
    assert_eq!(bench.call("kettle.run").unwrap(), "1.1.0", "the old version keeps running");
    let (staged, decision) = bench.installed.consider_staged("kettle").unwrap();
    assert_eq!((staged.version.to_string().as_str(), decision), ("1.2.0", Decision::Ask(wants)));
    assert!(bench.installed.accept_staged("kettle", &"0".repeat(64), 4).is_err(), "only what was shown is accepted");
    assert_eq!(bench.installed.accept_staged("kettle", &staged.digest, 4).unwrap().carried_from, [""; 0]);
    bench.shelf.sync(&bench.host).unwrap();
    assert_eq!(bench.call("kettle.run").unwrap(), "1.2.0");

    assert_eq!(bench.installed.roll_back("kettle", 5).unwrap().version.to_string(), "1.1.0");
    bench.shelf.sync(&bench.host).unwrap();
    assert_eq!(bench.call("kettle.run").unwrap(), "1.1.0");
}

#[test]
fn older_foreign_and_unsigned_versions_do_not_get_in_by_themselves() {
    let (key, other) = (PublisherKey::generate(), PublisherKey::generate());
    let bench = Bench::new();
    bench.installed.install(&package("kettle", "1.1.0", NO_PERMISSIONS, Some(&key)), 1).unwrap();
    let upgrade =
        |version, key| bench.installed.upgrade(&package("kettle", version, NO_PERMISSIONS, key), &[], 2).unwrap();
    assert_eq!(upgrade("1.0.9", Some(&key)), Upgraded::Refused(Refusal::Rollback));
    assert_eq!(upgrade("1.1.0", Some(&other)), Upgraded::Refused(Refusal::SameVersion));
    assert_eq!(upgrade("1.1.0+newer", Some(&key)), Upgraded::Refused(Refusal::SameVersion), "build data is no version");
    assert_eq!(upgrade("1.2.0", None), Upgraded::Refused(Refusal::SignatureMissing));
    assert_eq!(upgrade("1.2.0", Some(&other)), Upgraded::Staged(vec![Difference::PublisherChanged]));
    assert_eq!(upgrade("1.2.0", Some(&key)), Upgraded::Replaced);
    assert!(matches!(
        bench.installed.install(&package("kettle", "2.0.0", NO_PERMISSIONS, None), 3),
        Err(InstalledError::AlreadyInstalled(_))
    ));
}

#[test]
fn a_bundled_skill_keeps_its_name() {
    let mut bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    write_skill(folder.path(), "kettle", "1.0.0", NO_PERMISSIONS);
    bench.shelf.load_bundled(&bench.host, folder.path()).unwrap();
    bench.installed.install(&package("kettle", "9.0.0", NO_PERMISSIONS, None), 1).unwrap();
    let not_loaded = bench.shelf.sync(&bench.host).unwrap();
    assert!(not_loaded[0].reason.contains("a bundled skill has its name"), "{}", not_loaded[0].reason);
    assert_eq!(bench.call("kettle.run").unwrap(), "1.0.0");
}

#[test]
fn an_installed_skill_does_not_take_a_bundled_ones_words() {
    let mut bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let says = |name: &str| format!("intents:\n  - {{ tool: {name}.run, say: [boil water] }}\n");
    write_skill(folder.path(), "kettle", "1.0.0", &says("kettle"));
    bench.shelf.load_bundled(&bench.host, folder.path()).unwrap();
    bench.installed.install(&package("aaa", "1.0.0", &says("aaa"), None), 1).unwrap();
    assert_eq!(bench.shelf.sync(&bench.host).unwrap(), []);
    let tools: Vec<String> = bench.host.intents().into_iter().map(|intent| intent.tool).collect();
    assert_eq!(tools, ["kettle.run", "aaa.run"], "the first one counts");
}

#[test]
fn a_removed_skill_leaves_nothing_for_the_next_of_its_name() {
    let mut bench = Bench::new();
    bench.installed.install(&package("kettle", "1.0.0", NO_PERMISSIONS, None), 1).unwrap();
    bench.shelf.sync(&bench.host).unwrap();
    let database = bench.data.path().join("skills.db");
    let count = |sql: &str| {
        let connection = rusqlite::Connection::open(&database).unwrap();
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    rusqlite::Connection::open(&database)
        .unwrap()
        .execute_batch("INSERT INTO kv VALUES ('kettle', 'k', '1'), ('other', 'k', '1')")
        .unwrap();
    bench.installed.remove("kettle", 2).unwrap();
    bench.shelf.sync(&bench.host).unwrap();
    assert_eq!(count("SELECT count(*) FROM kv WHERE skill = 'kettle'"), 0);
    assert_eq!(count("SELECT count(*) FROM kv"), 1, "another skill's values stay");
}

#[test]
fn a_damaged_index_loads_nothing_and_says_what_to_do() {
    let mut bench = Bench::new();
    bench.installed.install(&package("kettle", "1.0.0", NO_PERMISSIONS, None), 1).unwrap();
    let path = bench.data.path().join("skills/index.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let digest = bench.installed.index().unwrap().skills["kettle"].current.digest.clone();
    for (damage, what) in [
        (text[..text.len() / 2].to_owned(), "half of it"),
        (text.replace("\"kettle\"", "\"../kettle\""), "a name that is a path"),
        (text.replace(&digest, "../../../../etc"), "a digest that is a path"),
        (text.replace("\"state\"", "\"extra\": 1, \"state\""), "an unknown key"),
    ] {
        assert_ne!(damage, text, "{what} changes something");
        std::fs::write(&path, damage).unwrap();
        let error = bench.shelf.sync(&bench.host).unwrap_err();
        assert!(matches!(error, InstalledError::Damaged { .. }), "{what}: {error}");
        assert!(bench.installed.remove("kettle", 2).is_err(), "{what}: nothing is written over it");
    }
    std::fs::write(&path, text).unwrap();
    assert_eq!(bench.shelf.sync(&bench.host).unwrap(), []);
}

#[cfg(unix)]
#[test]
fn only_the_user_can_read_what_is_installed() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new();
    bench.installed.install(&package("kettle", "1.0.0", NO_PERMISSIONS, None), 1).unwrap();
    let mut open = vec![bench.data.path().join("skills")];
    let mut n_files = 0;
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            let mode = meta.permissions().mode() & 0o777;
            if meta.is_dir() {
                assert_eq!(mode, 0o700, "{:?}", entry.path());
                open.push(entry.path());
            } else if entry.file_name() != ".lock" {
                assert_eq!(mode, 0o600, "{:?}", entry.path());
                n_files += 1;
            }
        }
    }
    assert_eq!(n_files, 3, "manifest, module and index");
}

#[test]
fn two_programs_that_install_at_once_lose_nothing() {
    let bench = Bench::new();
    let packages: Vec<Package> =
        (0..8).map(|idx| package(&format!("kettle-{idx}"), "1.0.0", NO_PERMISSIONS, None)).collect();
    std::thread::scope(|scope| {
        for package in &packages {
            let installed = bench.installed.clone();
            scope.spawn(move || installed.install(package, 1).unwrap());
        }
    });
    let index = bench.installed.index().unwrap();
    assert_eq!(index.skills.len(), 8);
    for (name, skill) in &index.skills {
        assert!(bench.installed.folder(name, &skill.current).join("skill.yaml").is_file(), "{name}");
    }
}
