//! What the permission matrix does not show: rates, wildcards, bounds on questions, what
//! happens while one is open, and a record that cannot be written.

use super::*;
use crate::clock::SystemClock;
use crate::grants::Grantor;
use crate::permission::ScopeValue;
use crate::taint::Label;
use loqa_audit::{Entry, JournalError, LogOnly};
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

struct Bench {
    gate: Arc<Gate>,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with(Arc::new(LogOnly))
    }

    fn with(journal: Arc<dyn Journal>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let grants = Grants::open(folder.path(), Arc::new(SystemClock), Arc::new(LogOnly)).unwrap();
        Self { gate: Arc::new(Gate::new(Arc::new(grants), journal)), _folder: folder }
    }

    fn grant(&self, permission: Permission, scope: Scope) {
        let new = NewGrant {
            skill: "test".into(),
            digest: "code".into(),
            publisher: None,
            permission,
            scope: scope.resolved(permission),
            lifetime: Lifetime::Always,
            granted_by: Grantor::Operator,
        };
        self.gate.grants().grant(new).unwrap();
    }

    fn decide(&self, actor: &Actor, declared: &Scope, permission: Permission, usage: Usage<'_>, now_ms: i64) -> Reason {
        self.decide_with(actor, declared, permission, usage, now_ms, &Taint::user())
    }

    fn decide_with(
        &self,
        actor: &Actor,
        declared: &Scope,
        permission: Permission,
        usage: Usage<'_>,
        now_ms: i64,
        taint: &Taint,
    ) -> Reason {
        let declared = [Requested { permission, scope: declared.clone(), reason: "why\u{202e}".into() }];
        let reach = Reach::Outside;
        let request =
            Request { actor, declared: &declared, operation: "test", permission, usage, reach, taint, now_ms };
        self.gate.authorize(&request).map_or_else(|reason| reason, |_| Reason::Granted)
    }
}

fn actor(gate: &Gate, skill: &str, turn: u64) -> Actor {
    Actor {
        skill: skill.into(),
        version: "1.0.0".into(),
        title: "Test".into(),
        module: String::new(),
        digest: "code".into(),
        invocation: turn,
        turn: Some((SessionId::from_bits(1), TurnId::from_bits(turn))),
        scope: loqa_protocol::PrivacyScope::Persistent,
        since: gate.revocations(),
        control: CallControl::lasting(Duration::from_secs(60)),
    }
}

fn texts(key: &'static str, values: &[&str]) -> Scope {
    Scope::default().with(key, ScopeValue::Texts(values.iter().map(|value| (*value).to_owned()).collect()))
}

fn lights() -> Scope {
    let entities = ScopeValue::Texts(vec!["light.kitchen".into()]);
    texts("domains", &["light", "lock"]).with("entities", entities)
}

const LIGHT: Usage<'_> = Usage {
    entity: Some("light.kitchen"),
    bytes: 0,
    chars: 0,
    count: 0,
    tokens: 0,
    topic: None,
    method: None,
    url: None,
    secret: None,
    origin: None,
    level: None,
    is_critical: false,
    recipients: &[],
    profile: None,
    arguments: None,
    in_turn: false,
    rated: false,
};

type Meanwhile = Box<dyn Fn(&Question, &CallControl) + Send + Sync>;

/// Answers after a while, and does something before.
struct Person {
    answer: Answer,
    n_asked: AtomicUsize,
    meanwhile: Meanwhile,
}

impl Person {
    fn who_says(answer: Answer) -> Arc<Self> {
        Self::who_does(answer, |_, _| {})
    }

    fn who_does(answer: Answer, meanwhile: impl Fn(&Question, &CallControl) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { answer, n_asked: AtomicUsize::new(0), meanwhile: Box::new(meanwhile) })
    }

    fn n_asked(&self) -> usize {
        self.n_asked.load(Ordering::SeqCst)
    }
}

impl Consent for Person {
    fn ask(&self, question: &Question, _limit: Duration, control: &CallControl) -> Answer {
        self.n_asked.fetch_add(1, Ordering::SeqCst);
        (self.meanwhile)(question, control);
        self.answer
    }
}

#[test]
fn a_rate_is_kept_and_recovers() {
    let bench = Bench::new();
    let scope = Scope::default().with("per_minute", ScopeValue::Limit(2));
    bench.grant(Permission::TtsSay, scope.clone());
    let once = Usage { rated: true, ..Usage::default() };
    let actor = actor(&bench.gate, "test", 1);
    let at = |now_ms| bench.decide(&actor, &scope, Permission::TtsSay, once, now_ms);
    assert_eq!([at(100_000), at(100_001), at(100_002)], [Reason::Granted, Reason::Granted, Reason::RateExceeded]);
    assert_eq!(at(160_002), Reason::Granted, "a minute later there is room");
    assert_eq!(at(0), Reason::Granted, "a clock that was set back must not block");
}

#[test]
fn tokens_are_counted_over_a_day() {
    let bench = Bench::new();
    let scope = Scope::default().with("tokens_per_day", ScopeValue::Limit(100));
    bench.grant(Permission::LlmComplete, scope.clone());
    let actor = actor(&bench.gate, "test", 1);
    let spend = |tokens, now_ms| {
        let usage = Usage { tokens, ..Usage::default() };
        bench.decide(&actor, &scope, Permission::LlmComplete, usage, now_ms)
    };
    assert_eq!(spend(60, 0), Reason::Granted);
    assert_eq!(spend(60, 1), Reason::RateExceeded);
    assert_eq!(spend(40, 2), Reason::Granted);
    assert_eq!(spend(101, 3), Reason::OutOfScope, "more than a day's allowance at once");
    assert_eq!(spend(60, 24 * 3_600_000 + 1), Reason::Granted);
}

#[test]
fn a_wildcard_makes_the_person_be_asked() {
    let bench = Bench::new();
    let person = Person::who_says(Answer::Session);
    bench.gate.set_consent(person.clone());
    let get = |url| Usage { method: Some("GET"), url: Some(url), ..Usage::default() };
    let with = |url: &str| texts("urls", &[url]).with("methods", ScopeValue::Texts(vec!["GET".into()]));
    let actor = actor(&bench.gate, "test", 1);
    let wild = with("https://*.example.org/");
    assert_eq!(bench.decide(&actor, &wild, Permission::HttpCall, get("https://a.example.org/x"), 0), Reason::Granted);
    assert_eq!(person.n_asked(), 1);
    assert_eq!(bench.decide(&actor, &wild, Permission::HttpCall, get("https://b.example.org/x"), 0), Reason::Granted);
    assert_eq!(person.n_asked(), 1, "the session has it");
    for url in
        ["https://example.org/", "https://a.example.org.evil.test/", "http://a.example.org/", "https://10.0.0.1/"]
    {
        assert_eq!(bench.decide(&actor, &wild, Permission::HttpCall, get(url), 0), Reason::OutOfScope, "{url}");
    }
    let bench = Bench::new();
    bench.gate.set_consent(person.clone());
    let decided =
        bench.decide(&actor, &with("https://a.example.org/"), Permission::HttpCall, get("https://a.example.org/"), 0);
    assert_eq!(
        (decided, person.n_asked()),
        (Reason::NotGranted, 1),
        "a fixed address is asked for at the installation"
    );
}

#[test]
fn a_fixed_address_is_no_choice_and_a_prefix_is() {
    let bench = Bench::new();
    let person = Person::who_says(Answer::Deny);
    bench.gate.set_consent(person.clone());
    let scope = texts("urls", &["https://api.example/v1/forecast", "https://api.example/any/"])
        .with("methods", ScopeValue::Texts(vec!["GET".into()]));
    bench.grant(Permission::HttpCall, scope.clone());
    let foreign = Taint::user().with(Label::Web("https://geo.example:443".into()));
    let get = |turn, url| {
        let usage = Usage { method: Some("GET"), url: Some(url), ..Usage::default() };
        let actor = actor(&bench.gate, "test", turn);
        bench.decide_with(&actor, &scope, Permission::HttpCall, usage, 0, &foreign)
    };
    assert_eq!(get(1, "https://api.example/v1/forecast?latitude=52.5"), Reason::Granted, "only the query is free");
    assert_eq!(person.n_asked(), 0);
    assert_eq!(get(2, "https://api.example/any/where"), Reason::Denied);
    assert_eq!(person.n_asked(), 1);
}

#[test]
fn who_said_no_is_left_in_peace_for_the_turn() {
    let bench = Bench::new();
    let person = Person::who_says(Answer::Deny);
    bench.gate.set_consent(person.clone());
    let light = |turn| bench.decide(&actor(&bench.gate, "test", turn), &lights(), Permission::DeviceControl, LIGHT, 0);
    assert_eq!([light(1), light(1), light(1)], [Reason::Denied; 3]);
    assert_eq!(person.n_asked(), 1);
    assert_eq!(light(2), Reason::Denied);
    assert_eq!(person.n_asked(), 2, "another turn may ask again");
}

#[test]
fn questions_of_a_skill_are_bounded() {
    let bench = Bench::new();
    let person = Person::who_says(Answer::Deny);
    bench.gate.set_consent(person.clone());
    let decided = (0..20)
        .map(|turn| bench.decide(&actor(&bench.gate, "test", turn), &lights(), Permission::DeviceControl, LIGHT, 0))
        .collect::<Vec<_>>();
    assert_eq!(person.n_asked(), ask::MAX_PER_MINUTE);
    assert_eq!(decided[ask::MAX_PER_MINUTE..], [Reason::TooManyQuestions; 20 - ask::MAX_PER_MINUTE]);
    let other = actor(&bench.gate, "other", 1);
    assert_eq!(bench.decide(&other, &lights(), Permission::DeviceControl, LIGHT, 0), Reason::Denied);
    assert_eq!(person.n_asked(), ask::MAX_PER_MINUTE + 1, "another skill has its own");
}

#[test]
fn one_question_of_a_skill_is_open_at_a_time() {
    let bench = Arc::new(Bench::new());
    let (inner, seen) = (Arc::clone(&bench), Arc::<Mutex<Vec<Reason>>>::default());
    let nested = Arc::clone(&seen);
    let person = Person::who_does(Answer::Once, move |question, _| {
        if question.skill == "test" {
            let second = actor(&inner.gate, "test", 2);
            nested.lock().unwrap().push(inner.decide(&second, &lights(), Permission::DeviceControl, LIGHT, 0));
            let other = actor(&inner.gate, "other", 2);
            nested.lock().unwrap().push(inner.decide(&other, &lights(), Permission::DeviceControl, LIGHT, 0));
        }
    });
    bench.gate.set_consent(person);
    let first = actor(&bench.gate, "test", 1);
    assert_eq!(bench.decide(&first, &lights(), Permission::DeviceControl, LIGHT, 0), Reason::Granted);
    assert_eq!(*seen.lock().unwrap(), [Reason::TooManyQuestions, Reason::Granted]);
}

#[test]
fn once_is_one_call_of_the_skill() {
    let bench = Bench::new();
    let person = Person::who_says(Answer::Once);
    bench.gate.set_consent(person.clone());
    let first = actor(&bench.gate, "test", 1);
    let light = |actor: &Actor| bench.decide(actor, &lights(), Permission::DeviceControl, LIGHT, 0);
    assert_eq!([light(&first), light(&first)], [Reason::Granted; 2]);
    assert_eq!(person.n_asked(), 1);
    assert_eq!(light(&actor(&bench.gate, "test", 2)), Reason::Granted);
    assert_eq!(person.n_asked(), 2, "the next call asks again");
    assert!(bench.gate.grants().list(None).is_empty(), "nothing is kept");
}

#[test]
fn a_lock_is_confirmed_every_time_whatever_is_granted() {
    let bench = Bench::new();
    let person = Person::who_says(Answer::Once);
    bench.gate.set_consent(person.clone());
    let scope = texts("domains", &["light", "lock", "cover"]).with("entities", ScopeValue::Texts(vec!["*".into()]));
    bench.grant(Permission::DeviceControl, scope.clone());
    let first = actor(&bench.gate, "test", 1);
    let use_of = |entity, is_critical| {
        let usage = Usage { entity: Some(entity), is_critical, ..Usage::default() };
        bench.decide(&first, &scope, Permission::DeviceControl, usage, 0)
    };
    assert_eq!([use_of("light.kitchen", false), use_of("cover.blind", false)], [Reason::Granted; 2]);
    assert_eq!(person.n_asked(), 0);
    for (idx, (entity, is_critical)) in
        [("lock.front", false), ("lock.front", false), ("cover.garage", true)].into_iter().enumerate()
    {
        assert_eq!(use_of(entity, is_critical), Reason::Granted);
        assert_eq!(person.n_asked(), idx + 1, "{entity}");
    }
}

#[test]
fn the_budget_stands_still_while_the_person_thinks() {
    let bench = Bench::new();
    let person = Person::who_does(Answer::Once, |_, control| {
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(control.stopped(), None, "the call lives on");
    });
    bench.gate.set_consent(person);
    let control = CallControl::lasting(Duration::from_millis(150));
    let actor = Actor { control: control.clone(), ..actor(&bench.gate, "test", 1) };
    assert_eq!(bench.decide(&actor, &lights(), Permission::DeviceControl, LIGHT, 0), Reason::Granted);
    assert!(control.stopped().is_none() && control.left() <= Duration::from_millis(150));
}

#[test]
fn a_revocation_and_a_cancel_outdo_the_answer() {
    let bench = Bench::new();
    let gate = Arc::downgrade(&bench.gate);
    bench.gate.set_consent(Person::who_does(Answer::Always, move |_, control| {
        let gate = gate.upgrade().unwrap();
        gate.grants().revoke("test", None, Grantor::Operator).unwrap();
        assert_eq!(control.stopped(), Some(Stopped::Revoked(Permission::DeviceControl)));
    }));
    let first = actor(&bench.gate, "test", 1);
    assert_eq!(bench.decide(&first, &lights(), Permission::DeviceControl, LIGHT, 0), Reason::NotGranted);
    assert!(bench.gate.grants().list(None).is_empty(), "the answer came too late to be kept");

    let cancel = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let control = CallControl::new(Instant::now() + Duration::from_secs(60), Arc::clone(&cancel));
    bench.gate.set_consent(Person::who_does(Answer::Always, move |_, _| cancel.store(true, Ordering::SeqCst)));
    let second = Actor { control, ..actor(&bench.gate, "test", 2) };
    assert_eq!(bench.decide(&second, &lights(), Permission::DeviceControl, LIGHT, 0), Reason::Cancelled);
    assert!(bench.gate.grants().list(None).is_empty());
}

#[test]
fn a_never_given_elsewhere_ends_an_open_question() {
    let bench = Bench::new();
    let gate = Arc::downgrade(&bench.gate);
    bench.gate.set_consent(Person::who_does(Answer::Always, move |_, _| {
        let never = NewGrant {
            skill: "test".into(),
            digest: "code".into(),
            publisher: None,
            permission: Permission::DeviceControl,
            scope: Scope::default(),
            lifetime: Lifetime::Never,
            granted_by: Grantor::Operator,
        };
        gate.upgrade().unwrap().grants().grant(never).unwrap();
    }));
    let first = actor(&bench.gate, "test", 1);
    assert_eq!(bench.decide(&first, &lights(), Permission::DeviceControl, LIGHT, 0), Reason::NotGranted);
    let second = actor(&bench.gate, "test", 2);
    assert_eq!(bench.decide(&second, &lights(), Permission::DeviceControl, LIGHT, 0), Reason::Never);
}

#[test]
fn hostile_texts_are_shown_plainly() {
    let bench = Bench::new();
    let person = Person::who_does(Answer::Deny, |question, _| {
        for shown in [&question.title, &question.reason, &question.target] {
            assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "{shown:?}");
        }
        assert!(question.target.contains("\\u{1b}[2J"), "{}", question.target);
    });
    bench.gate.set_consent(person.clone());
    let hostile = Actor { title: "\u{1b}[31mBank\u{202e}".into(), ..actor(&bench.gate, "test", 1) };
    let usage = Usage { arguments: Some("turn_on \u{1b}[2J"), ..LIGHT };
    assert_eq!(bench.decide(&hostile, &lights(), Permission::DeviceControl, usage, 0), Reason::Denied);
    assert_eq!(person.n_asked(), 1);
}

#[test]
fn what_belongs_to_a_turn_is_denied_outside_of_one() {
    let bench = Bench::new();
    bench.grant(Permission::ReplySay, Scope::default());
    let event = Actor { turn: None, ..actor(&bench.gate, "test", 1) };
    let usage = Usage { in_turn: true, ..Usage::default() };
    assert_eq!(bench.decide(&event, &Scope::default(), Permission::ReplySay, usage, 0), Reason::NoTurn);
}

#[test]
fn the_audit_comes_first_and_its_failure_denies() {
    struct Broken(Mutex<Vec<Kind>>);
    impl Journal for Broken {
        fn append(&self, entry: Entry) -> Result<u64, JournalError> {
            self.append_later(entry);
            Err(JournalError("disk full".into()))
        }
        fn append_later(&self, entry: Entry) {
            self.0.lock().unwrap().push(entry.kind);
        }
        fn finish(&self, _intent: u64, _outcome: Outcome) {
            unreachable!("nothing was begun");
        }
    }
    let seen = Arc::new(Broken(Mutex::default()));
    let bench = Bench::with(seen.clone());
    bench.grant(Permission::LogWrite, Scope::default());
    let first = actor(&bench.gate, "test", 1);
    let decided = bench.decide(&first, &Scope::default(), Permission::LogWrite, Usage::default(), 0);
    assert_eq!(decided, Reason::AuditFailed);
    assert_eq!(*seen.0.lock().unwrap(), [Kind::CallIntent], "the intent was offered first");
}
