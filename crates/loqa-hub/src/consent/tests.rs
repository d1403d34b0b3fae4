//! Questions to the person, without a bus.

use super::*;
use loqa_protocol::SessionId;
use loqa_skills::consent::Occasion;
use loqa_skills::permission::Tier;
use loqa_skills::{Permission, Scope, Taint};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn question(occasion: Occasion) -> Question {
    Question {
        skill: "test".into(),
        title: "Test".into(),
        version: "1.0.0".into(),
        digest: "00".into(),
        permission: Permission::DeviceControl,
        tier: Tier::T2,
        occasion,
        operation: "device",
        target: "device light.kitchen".into(),
        reason: "to switch".into(),
        scope: Scope::default(),
        taint: Taint::user(),
        turn: Some((SessionId::from_bits(1), TurnId::from_bits(1))),
    }
}

/// Asks in a thread of its own and hands the open question over.
fn ask(
    prompts: &Arc<Prompts>,
    occasion: Occasion,
    limit: Duration,
    control: CallControl,
) -> (Prompt, std::thread::JoinHandle<Answer>) {
    let asked = Arc::clone(prompts);
    let thread = std::thread::spawn(move || asked.ask(&question(occasion), limit, &control));
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(prompt) = prompts.list().pop() {
            return (prompt, thread);
        }
        assert!(Instant::now() < patience, "the question never opened");
        std::thread::sleep(Duration::from_millis(1));
    }
}

const LONG: Duration = Duration::from_secs(120);

#[test]
fn the_first_answer_counts_and_only_one_that_was_offered() {
    let prompts = Arc::new(Prompts::default());
    let count = prompts.count();
    assert_eq!(*count.borrow(), 0);
    let (prompt, thread) = ask(&prompts, Occasion::EveryUse, LONG, CallControl::lasting(LONG));
    assert_eq!(*count.borrow(), 1);
    assert_eq!(prompt.answers, ["once", "deny", "never"], "a confirmation is for this time");
    for wrong in ["always", "session", "yes", "", "unanswered", "ONCE"] {
        assert_eq!(prompts.answer(&prompt.id, wrong), Err(NotTaken::NoAnswer), "{wrong}");
    }
    assert_eq!(prompts.answer(&PromptId::from_bits(1), "once"), Err(NotTaken::NotOpen));
    assert_eq!(prompts.answer(&prompt.id, "once"), Ok(()));
    assert_eq!(prompts.answer(&prompt.id, "deny"), Err(NotTaken::NotOpen));
    assert_eq!(*count.borrow(), 0, "whoever shows it is told before the answer takes its way");
    assert_eq!(thread.join().unwrap(), Answer::Once);
    assert!(prompts.list().is_empty());
}

#[test]
fn no_answer_in_time_is_a_no_and_the_turn_knows_meanwhile() {
    let prompts = Arc::new(Prompts::default());
    let (_, thread) = ask(&prompts, Occasion::FirstUse, Duration::from_millis(300), CallControl::lasting(LONG));
    assert!(prompts.asking().borrow().contains(&TurnId::from_bits(1)));
    assert_eq!(thread.join().unwrap(), Answer::Unanswered);
    assert_eq!(*prompts.count().borrow(), 0);
    assert!(prompts.asking().borrow().is_empty());
    assert!(prompts.list().is_empty());
}

#[test]
fn a_cancel_ends_the_question() {
    let prompts = Arc::new(Prompts::default());
    let cancel = Arc::new(AtomicBool::new(false));
    let control = CallControl::new(Instant::now() + LONG, Arc::clone(&cancel));
    let (prompt, thread) = ask(&prompts, Occasion::FirstUse, LONG, control);
    cancel.store(true, Ordering::Relaxed);
    assert_eq!(thread.join().unwrap(), Answer::Unanswered);
    assert_eq!(prompts.answer(&prompt.id, "always"), Err(NotTaken::NotOpen), "too late");
}
