//! Answers the operator: which questions are open, what is granted, and changes to it.

use crate::consent::Prompts;
use loqa_bus::{Bus, BusError, Message};
use loqa_protocol::grant::{GrantInfo, GrantReply, GrantRequest, PromptReply, PromptRequest};
use loqa_protocol::{ErrorCode, Failure, Hop, SessionId, subject};
use loqa_skills::grants::{Grant, GrantError, Grantor, Lifetime};
use loqa_skills::scope::tier_in;
use loqa_skills::{Permission, Scope, SkillHost};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Requests that may wait. Chosen.
const QUEUE: usize = 32;

/// Serves until the bus is closed.
pub async fn serve(prompts: Arc<Prompts>, skills: Arc<SkillHost>, bus: Bus) {
    let subscriptions = async {
        let prompts = bus.subscribe(subject::HUB_PROMPT, None, QUEUE).await?;
        let grants = bus.subscribe(subject::HUB_GRANT, None, QUEUE).await?;
        bus.flush().await?;
        Ok::<_, BusError>((prompts, grants))
    };
    let (mut asked, mut granted) = match subscriptions.await {
        Ok(subscriptions) => subscriptions,
        Err(error) => {
            tracing::error!(%error, "questions to the person cannot be answered, so every one is a no");
            return;
        }
    };
    loop {
        tokio::select! {
            Some(message) = asked.next() => {
                let reply = message.json::<PromptRequest>().map_or_else(refused_prompt, |request| about_prompts(&prompts, &request));
                respond(&bus, &message, &reply).await;
            }
            Some(message) = granted.next() => {
                let reply = match message.json::<GrantRequest>() {
                    Ok(request) => {
                        let skills = Arc::clone(&skills);
                        let changed = tokio::task::spawn_blocking(move || about_grants(&skills, request)).await;
                        changed.unwrap_or_else(|error| refused_grant(&error))
                    }
                    Err(error) => refused_grant(&error),
                };
                respond(&bus, &message, &reply).await;
            }
            else => return,
        }
    }
}

async fn respond<T: Serialize>(bus: &Bus, to: &Message, reply: &T) {
    if let Some(subject) = &to.reply
        && let Err(error) = bus.respond(subject, reply).await
    {
        tracing::debug!(%error, "answer to the operator did not leave");
    }
}

fn bad_request(error: impl std::fmt::Display) -> Failure {
    Failure::new(Hop::Hub, ErrorCode::BadRequest, error.to_string())
}

fn refused_prompt(error: impl std::fmt::Display) -> PromptReply {
    PromptReply::Refused { failure: bad_request(error) }
}

fn refused_grant(error: &impl std::fmt::Display) -> GrantReply {
    GrantReply::Refused { failure: bad_request(error) }
}

fn about_prompts(prompts: &Prompts, request: &PromptRequest) -> PromptReply {
    match request {
        PromptRequest::List => PromptReply::Open { prompts: prompts.list() },
        PromptRequest::Answer { prompt, answer } => match prompts.answer(prompt, answer) {
            Ok(()) => PromptReply::Taken,
            Err(error) => refused_prompt(error),
        },
    }
}

/// What an operator wants of the grants, and what came of it. Blocks.
pub fn about_grants(skills: &SkillHost, request: GrantRequest) -> GrantReply {
    let changed = match request {
        GrantRequest::List { skill } => Ok(skills.grants().list(skill.as_deref())),
        GrantRequest::Grant { skill, permission, scope, lifetime, session } => {
            grant(skills, &skill, &permission, &scope, &lifetime, session)
        }
        GrantRequest::Revoke { skill, permission } => permission
            .map(|name| permission_of(&name))
            .transpose()
            .and_then(|permission| skills.grants().revoke(&skill, permission, Grantor::Operator).map_err(failed)),
    };
    match changed {
        Ok(grants) => GrantReply::Grants { grants: grants.iter().map(grant_info).collect() },
        Err(failure) => GrantReply::Refused { failure },
    }
}

fn grant(
    skills: &SkillHost,
    skill: &str,
    permission: &str,
    scope: &Map<String, Value>,
    lifetime: &str,
    session: Option<SessionId>,
) -> Result<Vec<Grant>, Failure> {
    let permission = permission_of(permission)?;
    let scope = Scope::from_json(permission, scope).map_err(bad_request)?;
    let lifetime = lifetime_of(lifetime, session).map_err(bad_request)?;
    let grant = skills.grant_for(skill, permission, &scope, lifetime, Grantor::Operator).map_err(failed)?;
    Ok(vec![grant])
}

fn permission_of(name: &str) -> Result<Permission, Failure> {
    Permission::from_name(name).ok_or_else(|| {
        let known = Permission::ALL.iter().map(|permission| permission.as_str()).collect::<Vec<_>>().join(", ");
        bad_request(format!("there is no such permission; use one of: {known}"))
    })
}

/// The lifetime that a request names.
pub(crate) fn lifetime_of(word: &str, session: Option<SessionId>) -> Result<Lifetime, &'static str> {
    match (word, session) {
        ("once", None) => Ok(Lifetime::Once),
        ("always", None) => Ok(Lifetime::Always),
        ("never", None) => Ok(Lifetime::Never),
        ("session", Some(session)) => Ok(Lifetime::Session(session)),
        ("session", None) => Err("name the session"),
        ("once" | "always" | "never", Some(_)) => Err("only a grant for a session has one"),
        _ => Err("a lifetime is once, session, always or never"),
    }
}

fn failed(error: GrantError) -> Failure {
    match error {
        GrantError::Store(_) | GrantError::Audit(_) => {
            Failure::new(Hop::Hub, ErrorCode::StorageFault, error.to_string())
        }
        GrantError::Policy { .. } | GrantError::Unknown { .. } | GrantError::NotAsked { .. } => bad_request(error),
    }
}

/// A grant as clients see it.
#[must_use]
pub fn grant_info(grant: &Grant) -> GrantInfo {
    GrantInfo {
        id: grant.id.clone(),
        skill: grant.skill.clone(),
        digest: grant.digest.clone(),
        publisher: grant.publisher.clone(),
        permission: grant.permission.as_str().to_owned(),
        tier: tier_in(grant.permission, &grant.scope).as_str().to_owned(),
        scope: grant.scope.to_json(),
        lifetime: grant.lifetime.as_str().to_owned(),
        session: match &grant.lifetime {
            Lifetime::Session(session) => Some(session.clone()),
            Lifetime::Once | Lifetime::Always | Lifetime::Never => None,
        },
        granted_at_ms: grant.granted_at_ms,
        last_used_ms: grant.last_used_ms,
        granted_by: grant.granted_by.as_str().to_owned(),
        ended: grant.ended.map(|ended| ended.as_str().to_owned()),
    }
}
