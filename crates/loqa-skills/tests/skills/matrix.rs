//! The permission matrix: every host function × every state of its grant × the person's
//! answer × where the values come from × how far the use reaches, through the real gate on
//! a real database. The expected decision comes from [`expected`], which knows nothing of
//! the gate; it is written down by permission, so a function whose permission has no
//! [`Facts`] does not compile, and one that is not decided as its permission says fails.

use crate::support::{BENCH_START, TestClock, fast_folder};
use loqa_audit::{Entry, Journal, JournalError, Kind, Outcome};
use loqa_protocol::{SessionId, TurnId};
use loqa_skills::authorize::{Actor, Gate, Reach, Request, Usage};
use loqa_skills::consent::{Answer, Consent, Occasion, Question};
use loqa_skills::grants::{Grantor, Grants, Lifetime, NewGrant};
use loqa_skills::permission::{Requested, ScopeValue, Tier};
use loqa_skills::{CallControl, Clock, HostFunction, Label, Permission, Scope, Taint};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const DAY_MS: i64 = 24 * 3_600 * 1_000;
/// The goal: at least so many cells.
const MIN_CELLS: usize = 5_000;

/// Something that passes the gate: a host function, or an operation of the host itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Operation {
    name: &'static str,
    permission: Permission,
    reach: Reach,
    /// It opens a house.
    is_critical: bool,
}

/// Every host function, and what the host does for native skills and by itself: each
/// permission that no function uses, and a device that opens a house.
fn operations() -> Vec<Operation> {
    let functions = HostFunction::ALL.iter().map(|function| Operation {
        name: function.name(),
        permission: function.permission(),
        reach: function.reach(),
        is_critical: false,
    });
    let mut all = functions.collect::<Vec<_>>();
    for &permission in Permission::ALL {
        if !all.iter().any(|operation| operation.permission == permission) {
            all.push(Operation { name: permission.as_str(), permission, reach: Reach::Outside, is_critical: false });
        }
    }
    let permission = Permission::DeviceControl;
    all.push(Operation { name: "garage door", permission, reach: Reach::Outside, is_critical: true });
    all
}

/// How far a use reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Within every scope of the test.
    Inside,
    /// Within the manifest's scope, beyond the narrower grant.
    BeyondGrant,
    /// Beyond the manifest's.
    BeyondManifest,
    /// It does not say what it reaches.
    Unnamed,
}

/// State of the grant when the use is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Undeclared,
    NotGranted,
    Always,
    ThisSession,
    OtherSession,
    Once,
    OnceUsedUp,
    Unused89Days,
    Unused91Days,
    Unused91DaysClockSetBack,
    RevokedBefore,
    RevokedDuring,
    Never,
    NeverThenAlways,
    OtherCode,
    OtherSkill,
    Narrower,
    Wider,
    CarriedOver,
    AfterRestart,
    SessionAfterRestart,
}

const STATES: &[State] = &[
    State::Undeclared,
    State::NotGranted,
    State::Always,
    State::ThisSession,
    State::OtherSession,
    State::Once,
    State::OnceUsedUp,
    State::Unused89Days,
    State::Unused91Days,
    State::Unused91DaysClockSetBack,
    State::RevokedBefore,
    State::RevokedDuring,
    State::Never,
    State::NeverThenAlways,
    State::OtherCode,
    State::OtherSkill,
    State::Narrower,
    State::Wider,
    State::CarriedOver,
    State::AfterRestart,
    State::SessionAfterRestart,
];

const ANSWERS: &[Answer] =
    &[Answer::Unanswered, Answer::Deny, Answer::Never, Answer::Once, Answer::Session, Answer::Always];

/// What the test knows of a permission by itself.
struct Facts {
    tier: Tier,
    /// Whether a grant ahead of the use makes a difference.
    is_granted_ahead: bool,
    /// Whether the manifest leaves the destination open.
    is_chosen: bool,
    manifest: Scope,
    narrower: Scope,
    wider: Scope,
}

fn texts(scope: Scope, key: &'static str, values: &[&str]) -> Scope {
    scope.with(key, ScopeValue::Texts(values.iter().map(|value| (*value).to_owned()).collect()))
}

fn text(scope: Scope, key: &'static str, value: &str) -> Scope {
    scope.with(key, ScopeValue::Text(value.to_owned()))
}

fn limit(key: &'static str, values: [u64; 3]) -> [Scope; 3] {
    values.map(|value| Scope::default().with(key, ScopeValue::Limit(value)))
}

fn facts(operation: Operation) -> Facts {
    let facts = facts_of(operation.permission);
    if operation.is_critical { Facts { tier: Tier::T3, ..facts } } else { facts }
}

/// Every permission needs a row: no wildcard here.
fn facts_of(permission: Permission) -> Facts {
    let none = Scope::default;
    let (tier, is_chosen, [manifest, narrower, wider]) = match permission {
        Permission::LogWrite => (Tier::T0, false, limit("max_bytes", [100, 10, 1_000])),
        Permission::ReplySay => (Tier::T0, false, limit("max_chars", [100, 10, 1_000])),
        Permission::KvStore => (Tier::T0, false, limit("max_bytes", [100, 10, 1_000])),
        Permission::BusPublish => (
            Tier::T0,
            false,
            [["in", "mid"].as_slice(), &["in"], &["in", "mid", "far"]].map(|t| texts(none(), "topics", t)),
        ),
        Permission::BusSubscribe => (
            Tier::T1,
            false,
            [["in", "mid"].as_slice(), &["in"], &["in", "mid", "far"]].map(|t| texts(none(), "topics", t)),
        ),
        Permission::TimerSet => (Tier::T1, false, limit("max", [10, 5, 50])),
        Permission::TtsSay => (Tier::T1, false, limit("max_chars", [100, 10, 1_000])),
        Permission::NotifyShow => (Tier::T1, false, limit("max_chars", [100, 10, 1_000])),
        Permission::HttpCall => {
            let urls = |urls: &[&str]| texts(texts(none(), "urls", urls), "methods", &["GET"]);
            (
                Tier::T1,
                true,
                [
                    urls(&["https://in.example/a/", "https://mid.example/"]),
                    urls(&["https://in.example/a/"]),
                    urls(&["https://in.example/a/", "https://mid.example/", "https://far.example/"]),
                ],
            )
        }
        Permission::SecretUse => {
            let secret = |origin: &str| text(text(none(), "name", "key"), "origin", origin);
            (Tier::T1, false, [secret("https://in.example"), secret("https://in.example"), secret("*")])
        }
        Permission::TranscriptRead => {
            (Tier::T2, false, ["history:3", "utterance", "history:9"].map(|level| text(none(), "level", level)))
        }
        Permission::EventStoreRead => {
            (Tier::T2, false, ["session", "own", "all"].map(|level| text(none(), "level", level)))
        }
        Permission::LlmComplete => (Tier::T1, false, limit("tokens_per_day", [100, 10, 1_000])),
        Permission::DeviceControl => {
            let entities = |of: &[&str]| texts(texts(none(), "domains", &["light"]), "entities", of);
            (Tier::T2, true, [entities(&["light.in", "light.mid"]), entities(&["light.in"]), entities(&["*"])])
        }
        Permission::MessageSend | Permission::DataDelete => {
            (Tier::T3, true, [["in", "mid"].as_slice(), &["in"], &["*"]].map(|to| texts(none(), "recipients", to)))
        }
        Permission::NativeExec => (Tier::T2, false, [(); 3].map(|()| text(none(), "profile", "in"))),
        Permission::AudioCapture => (Tier::T4, false, [none(), none(), none()]),
    };
    Facts { tier, is_granted_ahead: tier < Tier::T3, is_chosen, manifest, narrower, wider }
}

/// A use of that extent; `None` where a permission has no such use.
fn usage(permission: Permission, extent: Extent, people: &[Vec<String>; 3]) -> Option<Usage<'_>> {
    use Extent::{BeyondGrant, BeyondManifest, Inside, Unnamed};
    let none = Usage::default();
    let idx = match extent {
        Inside => 0,
        BeyondGrant => 1,
        BeyondManifest => 2,
        Unnamed => 3,
    };
    let amount = [5, 50, 500].get(idx).copied();
    let name = ["in", "mid", "far"].get(idx).copied();
    Some(match permission {
        Permission::LogWrite | Permission::KvStore => Usage { bytes: amount?, ..none },
        Permission::ReplySay => Usage { chars: amount?, in_turn: true, ..none },
        Permission::TtsSay | Permission::NotifyShow => Usage { chars: amount?, rated: true, ..none },
        Permission::BusPublish | Permission::BusSubscribe => Usage { topic: name, ..none },
        Permission::TimerSet => Usage { count: *[5, 8, 20].get(idx)?, ..none },
        Permission::HttpCall => {
            let urls = ["https://in.example/a/b?c", "https://mid.example/x", "https://far.example/a/"];
            Usage { method: Some("GET"), url: urls.get(idx).copied(), rated: true, ..none }
        }
        // A secret has one origin, so no grant is narrower.
        Permission::SecretUse if extent == BeyondGrant => return None,
        Permission::SecretUse => {
            let origins = ["https://in.example:443", "", "https://far.example"];
            Usage { secret: Some("key"), origin: origins.get(idx).copied(), ..none }
        }
        Permission::TranscriptRead => {
            Usage { level: *[Some("utterance"), Some("history:2"), Some("history:4"), None].get(idx)?, ..none }
        }
        Permission::EventStoreRead => {
            Usage { level: *[Some("own"), Some("session"), Some("all"), None].get(idx)?, ..none }
        }
        Permission::LlmComplete => Usage { tokens: amount?, ..none },
        Permission::DeviceControl => {
            Usage { entity: ["light.in", "light.mid", "switch.far"].get(idx).copied(), ..none }
        }
        Permission::MessageSend | Permission::DataDelete => {
            Usage { recipients: people.get(idx).map_or(&[], Vec::as_slice), ..none }
        }
        Permission::NativeExec if extent == BeyondGrant => return None,
        Permission::NativeExec => Usage { profile: name, ..none },
        Permission::AudioCapture => none,
    })
}

/// What has to come of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expected {
    is_allowed: bool,
    is_asked: bool,
}

/// The oracle, in the words of the design: default deny; declared ∩ granted ∩ policy; T2
/// asked at the first use, T3 at every use; foreign values confirmed. `args` and `own` need
/// no T2, but the manifests of this test ask for more.
fn expected(
    facts: &Facts,
    is_offered: bool,
    state: State,
    answer: Answer,
    is_foreign: bool,
    extent: Extent,
) -> Expected {
    let denied = Expected { is_allowed: false, is_asked: false };
    if facts.tier == Tier::T4 || !is_offered {
        return denied;
    }
    let (is_held, has_run_out) = match state {
        State::Undeclared | State::RevokedDuring | State::Never => return denied,
        State::NotGranted
        | State::OtherSession
        | State::OnceUsedUp
        | State::RevokedBefore
        | State::OtherCode
        | State::OtherSkill
        | State::SessionAfterRestart => (false, false),
        State::Unused91Days | State::Unused91DaysClockSetBack => (facts.tier == Tier::T0, facts.tier != Tier::T0),
        State::Always
        | State::ThisSession
        | State::Once
        | State::Unused89Days
        | State::NeverThenAlways
        | State::Narrower
        | State::Wider
        | State::CarriedOver
        | State::AfterRestart => (facts.tier < Tier::T3, false),
    };
    let may_be_asked_for = facts.tier >= Tier::T2 || has_run_out;
    let is_within = match extent {
        Extent::Inside => true,
        // What is never granted ahead has no narrower grant.
        Extent::BeyondGrant => state != State::Narrower || !facts.is_granted_ahead,
        Extent::BeyondManifest | Extent::Unnamed => false,
    };
    if !is_within || !(is_held || may_be_asked_for) {
        return denied;
    }
    let is_confirmation = facts.tier == Tier::T3 || (is_foreign && (facts.tier == Tier::T2 || facts.is_chosen));
    let is_asked = is_confirmation || !is_held;
    let is_allowed = !is_asked
        || match answer {
            Answer::Once => true,
            Answer::Session | Answer::Always => !is_confirmation,
            Answer::Deny | Answer::Never | Answer::Unanswered => false,
        };
    Expected { is_allowed, is_asked }
}

/// A person who always gives the same answer.
struct Person {
    answer: Mutex<Answer>,
    asked: Mutex<Vec<Occasion>>,
}

impl Consent for Person {
    fn ask(&self, question: &Question, _limit: Duration, control: &CallControl) -> Answer {
        assert!(control.stands_still(), "the budget must not run while the person thinks");
        self.asked.lock().unwrap().push(question.occasion);
        *self.answer.lock().unwrap()
    }
}

#[derive(Default)]
struct Rows(Mutex<Vec<Kind>>);

impl Journal for Rows {
    fn append(&self, entry: Entry) -> Result<u64, JournalError> {
        self.append_later(entry);
        Ok(1)
    }
    fn append_later(&self, entry: Entry) {
        self.0.lock().unwrap().push(entry.kind);
    }
    fn finish(&self, _intent: u64, _outcome: Outcome) {}
}

/// Everything of one state: a store of its own, because the clock moves for all.
struct World {
    folder: tempfile::TempDir,
    clock: Arc<TestClock>,
    person: Arc<Person>,
    rows: Arc<Rows>,
    gate: Gate,
}

impl World {
    fn new() -> Self {
        let folder = fast_folder();
        let clock = TestClock::at(BENCH_START);
        let person = Arc::new(Person { answer: Mutex::new(Answer::Deny), asked: Mutex::default() });
        let rows = Arc::<Rows>::default();
        let gate = Self::gate(&folder, &clock, &rows, &person);
        Self { folder, clock, person, rows, gate }
    }

    fn gate(folder: &tempfile::TempDir, clock: &Arc<TestClock>, rows: &Arc<Rows>, person: &Arc<Person>) -> Gate {
        let clock = Arc::clone(clock) as Arc<dyn Clock>;
        let grants = Grants::open(folder.path(), clock, Arc::clone(rows) as _).unwrap();
        let gate = Gate::new(Arc::new(grants), Arc::clone(rows) as _);
        gate.set_consent(Arc::clone(person) as _);
        gate
    }

    fn restart(&mut self) {
        self.gate = Self::gate(&self.folder, &self.clock, &self.rows, &self.person);
    }
}

#[derive(Debug, Clone)]
struct Cell {
    operation: Operation,
    extent: Extent,
    answer: Answer,
    taint: Taint,
    skill: String,
}

fn session(bits: u64) -> SessionId {
    SessionId::from_bits(bits)
}

fn actor(cell: &Cell, gate: &Gate, invocation: u64) -> Actor {
    Actor {
        skill: cell.skill.clone(),
        version: "1.0.0".into(),
        title: "Test".into(),
        module: "00".into(),
        digest: "code".into(),
        invocation,
        turn: Some((session(1), TurnId::from_bits(invocation))),
        scope: loqa_protocol::PrivacyScope::Persistent,
        since: gate.revocations(),
        control: CallControl::lasting(Duration::from_secs(60)),
    }
}

fn decide(world: &World, cell: &Cell, actor: &Actor, is_declared: bool, taint: &Taint) -> bool {
    let permission = cell.operation.permission;
    let facts = facts(cell.operation);
    let declared = if is_declared {
        vec![Requested { permission, scope: facts.manifest.clone(), reason: "for tests".into() }]
    } else {
        Vec::new()
    };
    let people = [vec!["in".to_owned()], vec!["mid".to_owned()], vec!["far".to_owned()]];
    let usage = usage(permission, cell.extent, &people).unwrap();
    let usage = Usage { is_critical: cell.operation.is_critical, ..usage };
    let request = Request {
        actor,
        declared: &declared,
        operation: cell.operation.name,
        permission,
        usage,
        reach: cell.operation.reach,
        taint,
        now_ms: world.clock.wall_ms(),
    };
    world.gate.authorize(&request).is_ok()
}

/// Brings the grants of all cells of a state into that state.
fn prepare(world: &mut World, state: State, cells: &[Cell]) {
    let give = |world: &World, cell: &Cell, digest: &str, skill: &str, scope: Scope, lifetime: Lifetime| {
        let permission = cell.operation.permission;
        let new = NewGrant {
            skill: skill.to_owned(),
            digest: digest.to_owned(),
            publisher: None,
            permission,
            scope: scope.resolved(permission),
            lifetime: lifetime.clone(),
            granted_by: Grantor::Operator,
        };
        let given = world.gate.grants().grant(new);
        let may_be_given = (permission.is_offered() && permission.tier() <= Tier::T2)
            || (lifetime == Lifetime::Never && permission.tier() != Tier::T4);
        assert_eq!(given.is_ok(), may_be_given, "{permission} {lifetime:?}: {given:?}");
    };
    for cell in cells {
        let facts = facts(cell.operation);
        let manifest = || facts.manifest.clone();
        let always = |world: &World| give(world, cell, "code", &cell.skill, manifest(), Lifetime::Always);
        match state {
            State::NotGranted => {}
            State::Undeclared
            | State::Always
            | State::Unused89Days
            | State::Unused91Days
            | State::Unused91DaysClockSetBack
            | State::RevokedDuring
            | State::AfterRestart => always(world),
            State::RevokedBefore => {
                always(world);
                let grants = world.gate.grants();
                grants.revoke(&cell.skill, Some(cell.operation.permission), Grantor::Operator).unwrap();
            }
            State::ThisSession | State::SessionAfterRestart => {
                give(world, cell, "code", &cell.skill, manifest(), Lifetime::Session(session(1)));
            }
            State::OtherSession => {
                give(world, cell, "code", &cell.skill, manifest(), Lifetime::Session(session(2)));
            }
            State::Once | State::OnceUsedUp => give(world, cell, "code", &cell.skill, manifest(), Lifetime::Once),
            State::Never => give(world, cell, "code", &cell.skill, manifest(), Lifetime::Never),
            State::NeverThenAlways => {
                give(world, cell, "code", &cell.skill, manifest(), Lifetime::Never);
                if !facts.is_granted_ahead {
                    // There is nothing to grant, so only taking the `never` away helps.
                    let grants = world.gate.grants();
                    grants.revoke(&cell.skill, Some(cell.operation.permission), Grantor::Operator).unwrap();
                } else {
                    always(world);
                }
            }
            State::OtherCode => give(world, cell, "other", &cell.skill, manifest(), Lifetime::Always),
            State::OtherSkill => give(world, cell, "code", "another-skill", manifest(), Lifetime::Always),
            State::Narrower => give(world, cell, "code", &cell.skill, facts.narrower.clone(), Lifetime::Always),
            State::Wider => give(world, cell, "code", &cell.skill, facts.wider.clone(), Lifetime::Always),
            // No manifest can ask for it.
            State::CarriedOver if facts.tier == Tier::T4 => {}
            State::CarriedOver => {
                give(world, cell, "old", &cell.skill, manifest(), Lifetime::Always);
                let manifest = manifest_asking_for(&cell.skill, cell.operation.permission);
                world.gate.grants().carry_over(&manifest, "old", "code", None).unwrap();
            }
        }
        if state == State::OnceUsedUp {
            // The use that uses it up is within the scope and nobody else's.
            let using = Cell { extent: Extent::Inside, ..cell.clone() };
            *world.person.answer.lock().unwrap() = Answer::Deny;
            decide(world, &using, &actor(&using, &world.gate, 0), true, &Taint::user());
        }
    }
    match state {
        State::Unused89Days => world.clock.pass(89 * DAY_MS),
        State::Unused91Days => world.clock.pass(91 * DAY_MS),
        State::Unused91DaysClockSetBack => {
            world.clock.pass(30 * DAY_MS);
            world.clock.set_by(-200 * DAY_MS);
            world.gate.grants().tick().unwrap();
            world.clock.pass(61 * DAY_MS);
            world.restart();
        }
        State::AfterRestart | State::SessionAfterRestart => world.restart(),
        _ => {}
    }
}

fn manifest_asking_for(skill: &str, permission: Permission) -> loqa_skills::Manifest {
    let scope = match permission {
        Permission::BusPublish | Permission::BusSubscribe => "topics: [in, mid], ",
        Permission::HttpCall => "urls: ['https://in.example/a/', 'https://mid.example/'], methods: [GET], ",
        Permission::SecretUse => "name: key, origin: 'https://in.example', ",
        Permission::TranscriptRead => "level: 'history:3', ",
        Permission::EventStoreRead => "level: session, ",
        Permission::DeviceControl => "domains: [light], entities: [light.in, light.mid], ",
        Permission::MessageSend | Permission::DataDelete => "recipients: [in, mid], ",
        Permission::NativeExec => "profile: in, ",
        _ => "",
    };
    let text = crate::support::manifest(&[format!("{{ use: {permission}, {scope}reason: for tests }}")])
        .replace("name: test\n", &format!("name: {skill}\n"))
        .replace("test.run", &format!("{skill}.run"));
    loqa_skills::Manifest::parse(std::path::Path::new("skill.yaml"), text.as_bytes())
        .unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

/// A fault put in on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// The expectation of one cell is turned round.
    InvertedCell(usize),
    /// The gate is told that everything comes from the person.
    TaintDropped,
    /// A host function is left out of the table.
    FunctionForgotten,
}

/// Runs every cell; the number of cells, and those that were decided wrong.
fn run(fault: Fault, states: &[State]) -> (usize, Vec<String>) {
    let taints = [
        Taint::user(),
        Taint::user().with(Label::Llm),
        Taint::user().with(Label::Web("https://evil.example:443".into())),
        Taint::user().with(Label::Llm).with(Label::Tool("other.tool".into())),
        Taint::default().with(Label::Node("kitchen".into())),
    ];
    let mut operations = operations();
    if fault == Fault::FunctionForgotten {
        operations.remove(0);
    }
    let (mut n_cells, mut wrong) = (0, Vec::new());
    let mut seen = Vec::new();
    for &state in states {
        let mut cells = Vec::new();
        let people = [vec![String::new()], vec![String::new()], vec![String::new()]];
        for &operation in &operations {
            seen.push(operation.name);
            for extent in [Extent::Inside, Extent::BeyondGrant, Extent::BeyondManifest, Extent::Unnamed] {
                if usage(operation.permission, extent, &people).is_none() {
                    continue;
                }
                for taint in &taints {
                    // Values in a turn that are not foreign differ only in name: one answer is enough.
                    let answers =
                        if taint.is_foreign() || facts(operation).tier >= Tier::T1 { ANSWERS } else { &ANSWERS[..1] };
                    for &answer in answers {
                        let skill = format!("s{}", cells.len());
                        cells.push(Cell { operation, extent, answer, taint: taint.clone(), skill });
                    }
                }
            }
        }
        let mut world = World::new();
        prepare(&mut world, state, &cells);
        for (idx, cell) in cells.iter().enumerate() {
            let permission = cell.operation.permission;
            let mut expected = expected(
                &facts(cell.operation),
                permission.is_offered(),
                state,
                cell.answer,
                cell.taint.is_foreign(),
                cell.extent,
            );
            if fault == Fault::InvertedCell(n_cells) {
                expected.is_allowed = !expected.is_allowed;
            }
            *world.person.answer.lock().unwrap() = cell.answer;
            world.person.asked.lock().unwrap().clear();
            let actor = actor(cell, &world.gate, idx as u64 + 1);
            if state == State::RevokedDuring {
                world.gate.grants().revoke(&cell.skill, Some(permission), Grantor::Operator).unwrap();
            }
            world.rows.0.lock().unwrap().clear();
            let taint = if fault == Fault::TaintDropped { Taint::user() } else { cell.taint.clone() };
            let is_allowed = decide(&world, cell, &actor, state != State::Undeclared, &taint);
            let is_asked = !world.person.asked.lock().unwrap().is_empty();
            let found = Expected { is_allowed, is_asked };
            let rows = world.rows.0.lock().unwrap().clone();
            let count = |kind| rows.iter().filter(|row| **row == kind).count();
            let is_recorded = count(Kind::CallDenied) == usize::from(!is_allowed)
                && count(Kind::CallIntent) == usize::from(is_allowed && cell.operation.reach == Reach::Outside)
                && count(Kind::PromptShown) == usize::from(is_asked)
                && count(Kind::PromptAnswered) == usize::from(is_asked);
            if found != expected || !is_recorded {
                wrong.push(format!("{state:?} {cell:?}: {found:?} instead of {expected:?}, recorded as {rows:?}"));
            }
            n_cells += 1;
        }
    }
    for &function in HostFunction::ALL {
        if !seen.contains(&function.name()) {
            wrong.push(format!("`{}` has no rows", function.name()));
        }
    }
    (n_cells, wrong)
}

#[test]
fn every_cell_is_decided_right_both_ways() {
    let (n_cells, wrong) = run(Fault::None, STATES);
    assert!(n_cells >= MIN_CELLS, "{n_cells} cells, at least {MIN_CELLS} are wanted");
    assert!(
        wrong.is_empty(),
        "{} of {n_cells} cells are wrong, the first:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(10)].join("\n")
    );
    println!("permission matrix: {n_cells} cells, all right");
}

/// The control: each of these faults is seen.
#[test]
fn planted_faults_turn_the_matrix_red() {
    let few = &[State::Always, State::NotGranted];
    assert!(run(Fault::None, few).1.is_empty());
    assert_eq!(run(Fault::InvertedCell(1_234), few).1.len(), 1, "one inverted cell is one wrong cell");
    assert!(run(Fault::TaintDropped, few).1.len() > 100, "a gate that is not told of foreign values allows too much");
    assert_eq!(run(Fault::FunctionForgotten, few).1.len(), 1, "a function without rows is named");
}
