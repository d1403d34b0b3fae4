//! The rows of decisions and questions.

use crate::authorize::{Reason, Request};
use crate::host::contents;
use crate::scope::Considered;
use crate::taint::Label;
use loqa_audit::{Context, Decision, Effect, Entry, Kind};
use std::borrow::Cow;

pub(super) fn prompt(
    request: &Request<'_>,
    considered: &Considered<'_>,
    kind: Kind,
    word: &'static str,
    decision: Option<Decision>,
) -> Entry {
    Entry { decision, reason: Some(Cow::Borrowed(word)), ..entry(request, considered, kind, Reason::Granted, None) }
}

pub(super) fn entry(
    request: &Request<'_>,
    considered: &Considered<'_>,
    kind: Kind,
    reason: Reason,
    grant: Option<String>,
) -> Entry {
    let actor = request.actor;
    let (session, turn) = actor.turn.clone().unzip();
    Entry {
        permission: Some(Cow::Borrowed(request.permission.as_str())),
        grant,
        decision: Some(if reason == Reason::Granted { Decision::Allow } else { Decision::Deny }),
        reason: Some(Cow::Borrowed(reason.as_str())),
        effect: Some(Effect {
            operation: Cow::Borrowed(request.operation),
            target: considered.template(),
            bytes_out: None,
        }),
        payload: contents(actor.scope, request.usage.arguments.map(serde_json::Value::from)),
        ..Entry::new(
            kind,
            actor.audited(),
            Context {
                invocation: Some(actor.invocation),
                session,
                turn,
                trigger: None,
                taint: request.taint.labels().map(Label::to_string).collect(),
            },
        )
    }
}
