//! Takes the host calls of native skills from the bus and gives the answers back, to
//! nobody but the skill that asked.
//!
//! Who asks is in the subject, which the server's permissions vouch for. The reply
//! subject is written by the skill and vouched for by nobody: the hub may publish to
//! more subjects than the skill, so an answer that goes where the skill says would be
//! the skill publishing in the hub's name.

use loqa_bus::{Bus, BusError, Message};
use loqa_protocol::id::is_token;
use loqa_protocol::skill::{HostAnswer, HostCall};
use loqa_protocol::subject;
use loqa_skills::SkillHost;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Host calls of one skill that may run at the same time; one more is told so. Chosen:
/// each holds a thread, and some wait for a person.
const MAX_AT_ONCE: usize = 12;
/// Host calls that may wait to be looked at.
const QUEUE: usize = 256;

/// Where answers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answering {
    /// To the inbox of the skill that the subject names. What the product does.
    OwnInbox,
    /// Wherever the message says. The fault that tests put in, to show that they would see it.
    WhereTold,
}

/// Serves host calls until the bus closes. Returns once the subscription is in force.
///
/// # Errors
/// The bus cannot be reached.
pub async fn serve_host_calls(
    bus: Bus,
    skills: Arc<SkillHost>,
    answering: Answering,
) -> Result<tokio::task::JoinHandle<()>, BusError> {
    let mut calls = bus.subscribe(subject::SKILL_HOST_ALL, None, QUEUE).await?;
    bus.flush().await?;
    Ok(tokio::spawn(async move {
        let mut permits: BTreeMap<String, Arc<Semaphore>> = BTreeMap::new();
        while let Some(message) = calls.next().await {
            let Some((skill, reply)) = asker(&message, answering) else {
                tracing::warn!(subject = %message.subject, "a host call names no inbox of its own, it is not answered");
                continue;
            };
            let permits = permits.entry(skill.clone()).or_insert_with(|| Arc::new(Semaphore::new(MAX_AT_ONCE)));
            let Ok(permit) = Arc::clone(permits).try_acquire_owned() else {
                answer(&bus, &reply, &refused("busy", "too many host calls run at the same time")).await;
                continue;
            };
            let (bus, skills) = (bus.clone(), Arc::clone(&skills));
            tokio::spawn(async move {
                let answered = match message.json::<HostCall>() {
                    Ok(call) => tokio::task::spawn_blocking(move || skills.native_host_call(&skill, &call))
                        .await
                        .unwrap_or_else(|_| refused("failed", "the host broke")),
                    Err(error) => refused("bad_arguments", &error.to_string()),
                };
                answer(&bus, &reply, &answered).await;
                drop(permit);
            });
        }
    }))
}

/// The skill that asks, and where its answer goes. `None`: not to be answered at all.
fn asker(message: &Message, answering: Answering) -> Option<(String, String)> {
    let skill = subject::skill_of_host(&message.subject)?;
    let reply = message.reply.as_deref()?;
    let is_own = is_own_inbox(skill, reply);
    (is_own || answering == Answering::WhereTold).then(|| (skill.to_owned(), reply.to_owned()))
}

/// `_INBOX.skill-<name>.skill.<name>.host.<token>`, as [`Bus`] makes them.
fn is_own_inbox(skill: &str, reply: &str) -> bool {
    let prefix = subject::inbox_prefix(&subject::skill_identity(skill));
    reply
        .strip_prefix(&prefix)
        .and_then(|rest| rest.strip_prefix(".skill."))
        .and_then(|rest| rest.strip_prefix(skill))
        .and_then(|rest| rest.strip_prefix(".host."))
        .is_some_and(is_token)
}

async fn answer(bus: &Bus, reply: &str, answer: &HostAnswer) {
    if let Err(error) = bus.respond(reply, answer).await {
        tracing::debug!(%error, "answer to a native skill did not leave");
    }
}

fn refused(code: &str, message: &str) -> HostAnswer {
    HostAnswer::Error { code: code.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_inbox_of_the_skill_in_the_subject_is_answered() {
        let token = "0123456789abcdef0123456789abcdef";
        assert!(is_own_inbox("home", &format!("_INBOX.skill-home.skill.home.host.{token}")));
        for foreign in [
            format!("_INBOX.skill-home2.skill.home2.host.{token}"),
            format!("_INBOX.skill-home.skill.home.call.{token}"),
            format!("_INBOX.skill-home.skill.home.host.{token}.x"),
            format!("_INBOX.skill-home.{token}"),
            format!("_INBOX.hub.skill.home.host.{token}"),
            format!("_INBOX.skill-hom.skill.home.host.{token}"),
            "_INBOX.skill-home.skill.home.host.".to_owned(),
            "_INBOX.skill-home.skill.home.host.>".to_owned(),
            "_INBOX.skill-home.skill.home.host.A".to_owned(),
            "loqa.hub.ask".to_owned(),
            String::new(),
        ] {
            assert!(!is_own_inbox("home", &foreign), "{foreign}");
        }
    }
}
