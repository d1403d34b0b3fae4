//! How turns begin: in which session, told what, kept how long; and how sessions are forgotten.

use super::{Inner, MAX_TEXT, RunningTurn, TurnOptions};
use crate::audit;
use crate::session::driver::{TurnInput, VoiceSettings, run_turn};
use crate::session::{Remembered, Session};
use crate::sink::AudioSink;
use loqa_protocol::client::TurnReport;
use loqa_protocol::llm::ChatMessage;
use loqa_protocol::{ErrorCode, Failure, Hop, SessionId, TurnClass, TurnId};
use loqa_skills::Taint;
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc, oneshot};

/// Sessions kept in memory; the oldest idle ones beyond it are forgotten. Chosen.
const MAX_SESSIONS: usize = 64;

/// Begins a typed turn, spoken on the hub's own output where that is wanted.
pub(super) async fn ask(inner: &Arc<Inner>, options: TurnOptions, text: String, speak: bool) -> RunningTurn {
    let sink = inner.speakers.as_ref().filter(|_| speak).map(|speakers| speakers());
    begin(inner, options, TurnInput::Text(text), sink).await
}

/// Begins a turn of the person at this machine; without a sink its answer is text only.
pub(super) async fn begin(
    inner: &Arc<Inner>,
    options: TurnOptions,
    input: TurnInput,
    sink: Option<AudioSink>,
) -> RunningTurn {
    begin_said(inner, options, input, sink, Said { taint: Taint::user(), earlier: Vec::new() }).await
}

/// Where the words of a turn come from, and what a new session is told of an earlier conversation.
pub(super) struct Said {
    pub taint: Taint,
    pub earlier: Vec<ChatMessage>,
}

/// Begins a turn of whoever said it.
pub(super) async fn begin_said(
    inner: &Arc<Inner>,
    options: TurnOptions,
    input: TurnInput,
    sink: Option<AudioSink>,
    said: Said,
) -> RunningTurn {
    let session_id = options.session.unwrap_or_else(|| SessionId::from_bits(rand::random()));
    let turn = TurnId::from_bits(rand::random());
    let (orders, order_receiver) = mpsc::channel(4);
    let (sender, report) = oneshot::channel();
    if let TurnInput::Text(text) = &input
        && let Some(failure) = unfit_text(text)
    {
        let _ = sender.send(TurnReport {
            session: session_id,
            turn: turn.clone(),
            transcript: String::new(),
            class: TurnClass::None,
            tool: None,
            reply: String::new(),
            latency_ms: None,
            failure: Some(failure),
        });
        return RunningTurn { turn, orders, report };
    }
    let session = {
        let mut sessions = inner.sessions.lock().await;
        if sessions.len() >= MAX_SESSIONS && !sessions.contains_key(&session_id) {
            // An idle session is one that nobody else holds.
            let idle = sessions.iter().find(|(_, s)| Arc::strong_count(s) == 1).map(|(id, _)| id.clone());
            if let Some(idle) = idle {
                sessions.remove(&idle);
                forget(inner, idle, "forgotten");
            }
        }
        if !sessions.contains_key(&session_id) {
            audit::session_started(&*inner.audit, &session_id);
        }
        sessions.entry(session_id.clone()).or_insert_with(|| Arc::new(Mutex::new(Session::new(session_id)))).clone()
    };
    let scope = inner.privacy.scope(options.guest);
    let (inner, id) = (inner.clone(), turn.clone());
    tokio::spawn(async move {
        // Turns of one session follow each other.
        let mut session = session.lock().await;
        let mut context = inner.context.clone();
        context.reach.scope = scope;
        if let Some(keep) = options.keep_audio {
            session.keep_audio = Some(keep);
        }
        context.keep_audio = session.keep_audio.unwrap_or(inner.privacy.keep_audio()) && scope.may_be_kept();
        let offer = inner.skills.offer();
        (context.intents, context.tools) = (offer.intents, offer.tools);
        let tuning = inner.tuning();
        (context.settings, context.voice) = (tuning.settings, tuning.voice);
        let sink = sink.unwrap_or_else(|| {
            context.voice = Arc::new(VoiceSettings { tts: None, ..VoiceSettings::clone(&context.voice) });
            AudioSink::memory().0
        });
        // What a guest says is not told to the owner's next turn, nor the other way round.
        let as_guest = !scope.may_be_kept();
        if as_guest {
            session.swap_histories();
        } else {
            session.forget_guest();
        }
        if session.history.is_empty() {
            let taint = &said.taint;
            let earlier = said.earlier.into_iter().map(|message| Remembered { message, taint: taint.clone() });
            session.history.extend(earlier);
        }
        let report = run_turn(&context, &mut session, id, input, sink, order_receiver, said.taint).await;
        if as_guest {
            session.swap_histories();
        }
        inner.timers_changed.notify_one();
        let _ = sender.send(report);
    });
    RunningTurn { turn, orders, report }
}

fn unfit_text(text: &str) -> Option<Failure> {
    let length = text.chars().count();
    if length > MAX_TEXT {
        let message = format!("the text has {length} characters, a turn accepts {MAX_TEXT}");
        return Some(Failure::new(Hop::Input, ErrorCode::TextTooLong, message));
    }
    let speaks = text.chars().any(char::is_alphanumeric);
    (!speaks).then(|| Failure::new(Hop::Input, ErrorCode::NotUnderstood, "the text holds no word"))
}

/// What hangs on a session goes with it.
pub(super) fn forget(inner: &Inner, session: SessionId, reason: &'static str) {
    audit::session_ended(&*inner.audit, &session, reason);
    let (skills, store) = (inner.context.skills.clone(), inner.privacy.store().clone());
    tokio::task::spawn_blocking(move || {
        if let Err(error) = skills.grants().end_session(&session) {
            tracing::error!(%error, "the grants of a session that ended cannot be ended");
        }
        if let Err(error) = store.end_session(&session) {
            tracing::error!(%error, "what was kept for a session that ended stays");
        }
    });
}
