//! Random sequences of grants, revocations, uses, restarts and clocks that are set, through
//! the real grants on a real database, against a model that is simple enough to be read.
//!
//! `LOQA_TEST_N` is the number of sequences, 100000 for the figure; without it 1500.

use crate::support::{BENCH_START, TestClock, fast_folder};
use loqa_audit::LogOnly;
use loqa_protocol::{SessionId, TurnId};
use loqa_skills::authorize::{Actor, Gate, Reach, Request, Usage};
use loqa_skills::grants::{Grantor, Grants, Lifetime, NewGrant};
use loqa_skills::permission::Requested;
use loqa_skills::{CallControl, Clock, Permission, Scope, Taint};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use std::sync::Arc;
use std::time::Duration;

const DAY_MS: i64 = 24 * 3_600 * 1_000;
const UNUSED_MS: i64 = 90 * DAY_MS;
const STEPS: usize = 24;

const SKILLS: &[&str] = &["a", "b"];
const DIGESTS: &[&str] = &["old", "new"];
/// One that is granted for good, and one that runs out.
const PERMISSIONS: &[Permission] = &[Permission::LogWrite, Permission::NotifyShow];

/// One step.
#[derive(Debug, Clone)]
enum Step {
    Grant {
        skill: usize,
        digest: usize,
        permission: usize,
        lifetime: usize,
    },
    Revoke {
        skill: usize,
        permission: Option<usize>,
    },
    EndSession(u64),
    Use {
        skill: usize,
        digest: usize,
        permission: usize,
        session: u64,
    },
    /// Time passes while the program runs.
    Pass(i64),
    /// Somebody sets the clock, by so much; the hub looks at it within a minute.
    Set(i64),
    /// The program is off for so long.
    Restart(i64),
}

fn random_step(rng: &mut TestRng) -> Step {
    let mut below = |n: u64| rng.next_u64() % n;
    let pick = |value: u64| usize::try_from(value).unwrap();
    match below(20) {
        0..=4 => Step::Grant {
            skill: pick(below(2)),
            digest: pick(below(2)),
            permission: pick(below(2)),
            lifetime: pick(below(5)),
        },
        5 => Step::Revoke { skill: pick(below(2)), permission: Some(pick(below(2))) },
        6 => Step::Revoke { skill: pick(below(2)), permission: None },
        7 => Step::EndSession(below(2)),
        8..=14 => {
            Step::Use { skill: pick(below(2)), digest: pick(below(2)), permission: pick(below(2)), session: below(2) }
        }
        15 | 16 => Step::Pass(i64::try_from(below(60)).unwrap() * DAY_MS + 1),
        17 | 18 => Step::Set((i64::try_from(below(400)).unwrap() - 200) * DAY_MS),
        _ => Step::Restart(i64::try_from(below(60)).unwrap() * DAY_MS),
    }
}

fn lifetime(number: usize) -> Lifetime {
    match number {
        0 => Lifetime::Once,
        1 => Lifetime::Session(SessionId::from_bits(0)),
        2 => Lifetime::Session(SessionId::from_bits(1)),
        3 => Lifetime::Never,
        _ => Lifetime::Always,
    }
}

/// One grant of the model.
#[derive(Debug, Clone)]
struct Held {
    skill: usize,
    digest: usize,
    permission: usize,
    lifetime: Lifetime,
    /// On the model's clock of true time, which nobody can set.
    used_at: i64,
}

/// All that counts, and nothing about databases. Time is what really passed.
#[derive(Debug, Default)]
struct Model {
    held: Vec<Held>,
    now: i64,
}

impl Model {
    fn grant(&mut self, new: Held) {
        self.held.retain(|old| {
            let same = old.skill == new.skill && old.permission == new.permission;
            let gives_way = old.lifetime == Lifetime::Never
                || new.lifetime == Lifetime::Never
                || (old.digest == new.digest && old.lifetime == new.lifetime);
            !(same && gives_way)
        });
        self.held.push(new);
    }

    fn expire(&mut self) {
        let now = self.now;
        self.held.retain(|held| {
            held.lifetime == Lifetime::Never
                || PERMISSIONS[held.permission] == Permission::LogWrite
                || now - held.used_at <= UNUSED_MS
        });
    }

    /// Whether the use is allowed; a grant for one use is gone with it.
    fn take(&mut self, skill: usize, digest: usize, permission: usize, session: u64) -> bool {
        self.expire();
        let of = |held: &&mut Held| held.skill == skill && held.permission == permission;
        if self.held.iter_mut().filter(of).any(|held| held.lifetime == Lifetime::Never) {
            return false;
        }
        let session = Lifetime::Session(SessionId::from_bits(session));
        let lasting = self
            .held
            .iter_mut()
            .filter(of)
            .find(|held| held.digest == digest && (held.lifetime == Lifetime::Always || held.lifetime == session));
        if let Some(held) = lasting {
            // Uses are noted once a day.
            if self.now - held.used_at >= DAY_MS {
                held.used_at = self.now;
            }
            return true;
        }
        let once = self.held.iter().position(|held| {
            held.skill == skill
                && held.permission == permission
                && held.digest == digest
                && held.lifetime == Lifetime::Once
        });
        once.map(|idx| self.held.remove(idx)).is_some()
    }
}

struct System {
    folder: tempfile::TempDir,
    clock: Arc<TestClock>,
    gate: Gate,
    invocation: u64,
}

impl System {
    fn new() -> Self {
        let (folder, clock) = (fast_folder(), TestClock::at(BENCH_START));
        let gate = Self::open(&folder, &clock);
        Self { folder, clock, gate, invocation: 0 }
    }

    fn open(folder: &tempfile::TempDir, clock: &Arc<TestClock>) -> Gate {
        let clock = Arc::clone(clock) as Arc<dyn Clock>;
        let grants = Grants::open(folder.path(), clock, Arc::new(LogOnly)).unwrap();
        Gate::new(Arc::new(grants), Arc::new(LogOnly))
    }

    fn take(&mut self, skill: usize, digest: usize, permission: usize, session: u64) -> bool {
        self.invocation += 1;
        let permission = PERMISSIONS[permission];
        let actor = Actor {
            skill: SKILLS[skill].into(),
            version: "1.0.0".into(),
            title: String::new(),
            module: String::new(),
            digest: DIGESTS[digest].into(),
            invocation: self.invocation,
            turn: Some((SessionId::from_bits(session), TurnId::from_bits(self.invocation))),
            scope: loqa_protocol::PrivacyScope::Persistent,
            since: self.gate.revocations(),
            control: CallControl::lasting(Duration::from_secs(60)),
        };
        let declared = [Requested { permission, scope: Scope::default(), reason: String::new() }];
        let request = Request {
            actor: &actor,
            declared: &declared,
            operation: "test",
            permission,
            usage: Usage::default(),
            reach: Reach::Inside,
            taint: &Taint::user(),
            now_ms: self.clock.wall_ms(),
        };
        self.gate.authorize(&request).is_ok()
    }
}

/// A fault put in on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// A clock that is set back takes the clock of the grants with it.
    ClockFollows,
    /// A revocation is forgotten.
    RevocationLost,
    /// A restart makes sessions' grants lasting.
    SessionSurvives,
}

/// Plays one sequence; the first difference.
fn play(seed: u64, fault: Fault) -> Result<usize, String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let (mut model, mut system) = (Model::default(), System::new());
    let (mut log, mut n_uses) = (Vec::new(), 0);
    for _ in 0..STEPS {
        let step = random_step(&mut rng);
        log.push(step.clone());
        match step {
            Step::Grant { skill, digest, permission, lifetime: number } => {
                let lifetime = lifetime(number);
                let grants = system.gate.grants();
                grants
                    .grant(NewGrant {
                        skill: SKILLS[skill].into(),
                        digest: DIGESTS[digest].into(),
                        publisher: None,
                        permission: PERMISSIONS[permission],
                        scope: Scope::default().resolved(PERMISSIONS[permission]),
                        lifetime: lifetime.clone(),
                        granted_by: Grantor::Operator,
                    })
                    .unwrap();
                model.expire();
                model.grant(Held { skill, digest, permission, lifetime, used_at: model.now });
            }
            Step::Revoke { skill, permission } => {
                if fault != Fault::RevocationLost {
                    let permission = permission.map(|permission| PERMISSIONS[permission]);
                    system.gate.grants().revoke(SKILLS[skill], permission, Grantor::Operator).unwrap();
                }
                model.held.retain(|held| {
                    held.skill != skill || permission.is_some_and(|permission| permission != held.permission)
                });
            }
            Step::EndSession(session) => {
                let session = SessionId::from_bits(session);
                system.gate.grants().end_session(&session).unwrap();
                model.held.retain(|held| held.lifetime != Lifetime::Session(session.clone()));
            }
            Step::Use { skill, digest, permission, session } => {
                n_uses += 1;
                let expected = model.take(skill, digest, permission, session);
                let found = system.take(skill, digest, permission, session);
                if found != expected {
                    return Err(format!("seed {seed}: {found} instead of {expected} after {log:#?}\n{model:#?}"));
                }
            }
            Step::Pass(ms) => {
                system.clock.pass(ms);
                model.now += ms;
            }
            Step::Set(ms) => {
                // What the hub does every minute.
                system.gate.grants().tick().unwrap();
                system.clock.set_by(ms);
                if fault == Fault::ClockFollows {
                    model.now += ms;
                }
                system.gate.grants().tick().unwrap();
            }
            Step::Restart(ms) => {
                system.gate.grants().tick().unwrap();
                system.clock.pass(ms);
                system.gate = System::open(&system.folder, &system.clock);
                model.now += ms;
                if fault != Fault::SessionSurvives {
                    model.held.retain(|held| !matches!(held.lifetime, Lifetime::Session(_)));
                }
            }
        }
    }
    Ok(n_uses)
}

fn n_sequences() -> u64 {
    std::env::var("LOQA_TEST_N").map_or(1_500, |n| n.parse().expect("LOQA_TEST_N is a number"))
}

#[test]
fn random_sequences_are_decided_as_the_model_says() {
    let n_threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let n_uses = std::thread::scope(|scope| {
        let parts = (0..n_threads).map(|part| {
            scope.spawn(move || {
                let seeds = (0..n_sequences()).filter(|seed| seed % n_threads == part);
                seeds.map(|seed| play(seed, Fault::None).unwrap_or_else(|broken| panic!("{broken}"))).sum::<usize>()
            })
        });
        parts.collect::<Vec<_>>().into_iter().map(|part| part.join().unwrap()).sum::<usize>()
    });
    println!("grant sequences: {}, {n_uses} uses decided as the model says", n_sequences());
}

/// The control: each of these faults is found.
#[test]
fn planted_faults_break_a_sequence() {
    for fault in [Fault::ClockFollows, Fault::RevocationLost, Fault::SessionSurvives] {
        assert!((0..3_000).any(|seed| play(seed, fault).is_err()), "{fault:?} is not seen");
    }
}
