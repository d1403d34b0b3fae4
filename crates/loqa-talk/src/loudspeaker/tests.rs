//! The queue of the speaker, on an output that keeps the time of a real one.

use super::*;
use loqa_audio::Pace;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// More than anything here takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn in_real_time(_: Option<&str>, events: mpsc::Sender<OutputEvent>) -> Result<Output, AudioError> {
    Ok(Output::null(Pace::RealTime, move |event| drop(events.try_send(event))))
}

fn missing() -> AudioError {
    AudioError::NoDevice { direction: "speaker", name: None, hint: "plug one in".to_owned() }
}

async fn event(sink: &mut AudioSink) -> &'static str {
    match tokio::time::timeout(PATIENCE, sink.events.recv()).await.unwrap() {
        Some(SinkEvent::FirstSample { .. }) => "first",
        Some(SinkEvent::Drained) => "drained",
        Some(SinkEvent::Failed(_)) => "failed",
        None => "gone",
    }
}

async fn say(sink: &AudioSink, seconds: f64) {
    sink.commands.send(SinkCommand::Chunk(vec![1; (seconds * 24_000.0) as usize])).await.unwrap();
    sink.commands.send(SinkCommand::Finish).await.unwrap();
}

#[tokio::test]
async fn an_answer_comes_first_and_the_announcement_is_said_again_from_its_beginning() {
    let speaker = Loudspeaker::start_on(None, in_real_time).unwrap();
    let mut announcement = speaker.factory()();
    say(&announcement, 1.0).await;
    assert_eq!(event(&mut announcement).await, "first");

    let was_heard = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&was_heard);
    let mut answer = speaker.answer(move || heard.store(true, Ordering::Release));
    say(&answer, 0.2).await;
    assert_eq!(event(&mut answer).await, "first");
    assert!(announcement.events.try_recv().is_err(), "the announcement waits");
    assert_eq!(event(&mut answer).await, "drained");
    assert!(was_heard.load(Ordering::Acquire));
    let again = Instant::now();
    assert_eq!(event(&mut announcement).await, "drained");
    assert!(again.elapsed() >= Duration::from_millis(900), "all of it is said again: {:?}", again.elapsed());
}

#[tokio::test]
async fn nothing_is_announced_while_somebody_talks() {
    let speaker = Loudspeaker::start_on(None, in_real_time).unwrap();
    speaker.hold_back(true);
    let mut announcement = speaker.factory()();
    say(&announcement, 0.1).await;
    let mut answer = speaker.answer(|| {});
    say(&answer, 0.1).await;
    assert_eq!(event(&mut answer).await, "first");
    assert_eq!(event(&mut answer).await, "drained");
    assert!(announcement.events.try_recv().is_err(), "it was there before the answer, and waits");
    speaker.hold_back(false);
    assert_eq!(event(&mut announcement).await, "first");
    assert_eq!(event(&mut announcement).await, "drained");
}

#[tokio::test]
async fn a_stopped_answer_is_silent_and_the_next_one_is_heard() {
    let speaker = Loudspeaker::start_on(None, in_real_time).unwrap();
    assert_eq!(speaker.heard_until(Instant::now()), None);
    let mut answer = speaker.answer(|| {});
    say(&answer, 60.0).await;
    assert_eq!(event(&mut answer).await, "first");
    let now = Instant::now();
    assert_eq!(speaker.heard_until(now), Some(now), "it is heard");
    answer.commands.send(SinkCommand::Stop).await.unwrap();
    assert_eq!(event(&mut answer).await, "drained");
    let later = Instant::now() + PATIENCE;
    assert!(speaker.heard_until(later).unwrap() < later, "and is not any more");
    let mut next = speaker.answer(|| {});
    say(&next, 0.1).await;
    assert_eq!(event(&mut next).await, "first");
    assert_eq!(event(&mut next).await, "drained");
}

#[tokio::test]
async fn a_speaker_that_is_missing_is_looked_for_until_it_is_there() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let speaker = Loudspeaker::start_on(None, move |device, events| {
        if counted.fetch_add(1, Ordering::AcqRel) < 2 { Err(missing()) } else { in_real_time(device, events) }
    })
    .unwrap();
    let mut state = speaker.watch();
    let mut announcement = speaker.factory()();
    let wait = tokio::time::timeout(PATIENCE, state.wait_for(|state| state.fault == Some(DeviceFault::Missing)));
    drop(wait.await.unwrap().unwrap());
    assert_eq!(event(&mut announcement).await, "failed", "text is what remains of it");
    drop(tokio::time::timeout(PATIENCE, state.wait_for(|state| state.fault.is_none())).await.unwrap().unwrap());
    let mut answer = speaker.answer(|| {});
    say(&answer, 0.1).await;
    assert_eq!(event(&mut answer).await, "first");
    assert!(tries.load(Ordering::Acquire) >= 3);
}

#[tokio::test]
async fn another_speaker_takes_over_in_the_middle_of_an_answer() {
    let opened = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&opened);
    let speaker = Loudspeaker::start_on(Some("desk".to_owned()), move |device, events| {
        list.lock().unwrap().push(device.map(str::to_owned));
        in_real_time(device, events)
    })
    .unwrap();
    let mut answer = speaker.answer(|| {});
    say(&answer, 1.0).await;
    assert_eq!(event(&mut answer).await, "first");
    speaker.choose(Some("headset".to_owned()));
    assert_eq!(event(&mut answer).await, "drained", "it goes on to its end, and begins once");
    assert_eq!(*opened.lock().unwrap(), [Some("desk".to_owned()), Some("headset".to_owned())]);
    assert_eq!(speaker.watch().borrow().chosen.as_deref(), Some("headset"));
}

#[tokio::test]
async fn the_end_leaves_nobody_waiting() {
    let speaker = Loudspeaker::start_on(None, in_real_time).unwrap();
    let mut answer = speaker.answer(|| {});
    say(&answer, 60.0).await;
    assert_eq!(event(&mut answer).await, "first");
    let mut announcement = speaker.factory()();
    speaker.stop().await;
    assert_eq!(event(&mut answer).await, "drained");
    assert!(matches!(event(&mut announcement).await, "drained" | "gone"));
}

#[test]
fn without_a_runtime_it_says_so() {
    assert!(matches!(Loudspeaker::start_on(None, in_real_time), Err(TalkError::NoRuntime)));
}
