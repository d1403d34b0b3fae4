//! What runs beside the turns: timers of skills, what skills publish to each other, and
//! what they want said.

use super::Inner;
use crate::session::hops::HopEvent;
use crate::sink::{SinkCommand, SinkEvent};
use loqa_protocol::tts::TtsRequest;
use loqa_protocol::{SessionId, ToolOutcome, TurnId, WorkId};
use loqa_skills::SkillEvent;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, mpsc};

/// Passes on what skills publish to the skills that subscribed.
pub(super) async fn run_publications(inner: Arc<Inner>, published: Arc<Notify>) {
    loop {
        published.notified().await;
        let skills = inner.context.skills.clone();
        let delivered = tokio::task::spawn_blocking(move || {
            let mut said = Vec::new();
            for delivery in skills.take_publications() {
                match skills.deliver_publication(&delivery) {
                    Ok(outcome) => said.extend(outcome),
                    Err(failure) => tracing::warn!(skill = delivery.to, %failure, "a publication was not taken"),
                }
            }
            said
        })
        .await;
        for outcome in delivered.unwrap_or_default().into_iter().filter(|outcome| !outcome.say.is_empty()) {
            let _ = inner.announcements.send(outcome.say).await;
        }
        inner.timers_changed.notify_one();
    }
}

/// Delivers due timers to their skills. Sleeps at most a second while one is set, so
/// that a changed wall clock is noticed.
pub(super) async fn run_timers(inner: Arc<Inner>) {
    loop {
        let skills = inner.context.skills.clone();
        let due = tokio::task::spawn_blocking(move || {
            let mut said: Vec<ToolOutcome> = Vec::new();
            for timer in skills.due_timers(wall_ms()) {
                let event = SkillEvent { name: timer.name, data: timer.data };
                match skills.deliver(&timer.skill, &event) {
                    Ok(outcome) => said.extend(outcome),
                    Err(failure) => tracing::warn!(skill = %timer.skill, %failure, "event was not taken"),
                }
            }
            if let Err(error) = skills.grants().tick() {
                tracing::error!(%error, "the clock of the grants cannot be kept");
            }
            (said, skills.next_timer())
        })
        .await;
        let Ok((said, next)) = due else { continue };
        for outcome in said.into_iter().filter(|outcome| !outcome.say.is_empty()) {
            let _ = inner.announcements.send(outcome.say).await;
        }
        let pause = next.map_or(Duration::from_mins(1), |due_ms| {
            Duration::from_millis(u64::try_from(due_ms - wall_ms()).unwrap_or(0)).min(Duration::from_secs(1))
        });
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = inner.timers_changed.notified() => {}
        }
    }
}

fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Speaks announcements one after the other.
pub(super) async fn announce(inner: Arc<Inner>, mut texts: mpsc::Receiver<String>) {
    while let Some(text) = texts.recv().await {
        let voice = inner.tuning().voice;
        let (Some(speakers), Some(capability)) = (&inner.speakers, &voice.tts) else {
            tracing::info!("an announcement has no voice or no output");
            continue;
        };
        let mut sink = speakers();
        let (events, mut hop) = mpsc::channel(64);
        let (clauses, queue) = mpsc::channel(1);
        let request = TtsRequest {
            work: WorkId::from_bits(rand::random()),
            turn: TurnId::from_bits(rand::random()),
            session: SessionId::from_bits(rand::random()),
            text,
            voice: voice.voice.clone(),
            speed: voice.speed,
            deadline_ms: 30_000,
        };
        let running = inner.context.reach.speak(capability.clone(), queue, events, 0);
        if clauses.send((0, request)).await.is_err() {
            continue;
        }
        drop(clauses);
        while let Some((_, event)) = hop.recv().await {
            match event {
                HopEvent::Chunk { samples, .. } => {
                    let _ = sink.commands.send(SinkCommand::Chunk(samples)).await;
                }
                HopEvent::Failed(failure) => tracing::warn!(%failure, "an announcement was not spoken"),
                HopEvent::ClauseDone { .. } => break,
                HopEvent::Partial(_)
                | HopEvent::Heard { .. }
                | HopEvent::Delta { .. }
                | HopEvent::ModelToolCall { .. }
                | HopEvent::ReplyDone(_) => {}
            }
        }
        running.finished();
        let _ = sink.commands.send(SinkCommand::Finish).await;
        while let Some(event) = sink.events.recv().await {
            if matches!(event, SinkEvent::Drained | SinkEvent::Failed(_)) {
                break;
            }
        }
    }
}
