//! Who may say and hear what. Allow-lists only: what is not listed is refused by
//! the server itself.
//!
//! A native skill is an identity that nobody trusts. What it may be given is decided
//! here, before the server's configuration is written: its own prefix, literal
//! subjects to publish to, a wildcard only at the end of what it hears.

use crate::BusError;
use loqa_protocol::{InstanceId, id::is_token, subject};

/// The part of an inbox where a client's own confirmations come back.
pub(crate) const FLUSH: &str = "flush";

/// The subjects of one identity. Its own inbox `_INBOX.<identity>.>` is added by
/// the server when the identity is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// Subjects it may publish to.
    pub publish: Vec<String>,
    /// Subjects it may subscribe to; `subject queue` allows only that queue group.
    /// The server lets `a.>` through where `a.*` is listed, so a last `*` gives away
    /// everything below its prefix.
    pub subscribe: Vec<String>,
    /// Whether it may answer requests on the subjects it subscribes to: whoever
    /// hears `loqa.hub.ask` may publish to `_INBOX.*.hub.ask.*`, where the answers
    /// to exactly these requests go.
    pub responses: bool,
}

impl Permissions {
    /// The hub: everything that `docs/protocol.md` gives to it, nothing more.
    #[must_use]
    pub fn hub() -> Self {
        Self {
            publish: vec![
                "loqa.engine.control.*".to_owned(),
                "loqa.work.*.*".to_owned(),
                "loqa.work.*.*.*".to_owned(),
                "loqa.audio.*.*".to_owned(),
                "loqa.event.*".to_owned(),
                "loqa.prompt.*".to_owned(),
                subject::HUB_NONCE.to_owned(),
                subject::SKILL_CALL_ALL.to_owned(),
                "loqa.skill.*.out.>".to_owned(),
                "loqa.notice.*".to_owned(),
            ],
            subscribe: vec![
                subject::SKILL_HOST_ALL.to_owned(),
                subject::ENGINE_HELLO.to_owned(),
                subject::ENGINE_ANNOUNCE.to_owned(),
                subject::ENGINE_HEARTBEAT.to_owned(),
                subject::HUB_ASK.to_owned(),
                subject::HUB_NODES.to_owned(),
                subject::HUB_MODELS.to_owned(),
                subject::HUB_PROMPT.to_owned(),
                subject::HUB_GRANT.to_owned(),
                subject::HUB_SKILLS.to_owned(),
                subject::HUB_AUDIT.to_owned(),
                subject::HUB_STORE.to_owned(),
                subject::HUB_KEY.to_owned(),
                subject::HUB_NONCE.to_owned(),
                "loqa.event.*".to_owned(),
            ],
            responses: true,
        }
    }

    /// One engine process: its own control and audio, and work for its one
    /// capability, which it can take as a member of the queue group or when it is named.
    /// A capability that is no pair of tokens gives no work subject.
    #[must_use]
    pub fn engine(instance: &InstanceId, capability: &str) -> Self {
        let mut subscribe = vec![subject::engine_control(instance), subject::audio_all(instance)];
        if let Some(work) = subject::work(capability) {
            subscribe.push(format!("{work} {}", subject::WORKERS));
        }
        subscribe.extend(subject::work_at(capability, instance));
        Self {
            publish: vec![
                subject::ENGINE_HELLO.to_owned(),
                subject::ENGINE_ANNOUNCE.to_owned(),
                subject::ENGINE_HEARTBEAT.to_owned(),
            ],
            subscribe,
            responses: true,
        }
    }

    /// A native skill: hears its calls, asks for host functions, and beyond that the
    /// `topics` that it was granted below its own prefix.
    ///
    /// # Errors
    /// A topic is not grantable, see [`Topics::check`]; the message names it.
    pub fn skill(skill: &str, topics: &Topics) -> Result<Self, BusError> {
        topics.check(skill)?;
        let mut publish = vec![subject::skill_host(skill)];
        publish.extend(topics.publish.iter().map(|topic| subject::skill_out(skill, topic)));
        let mut subscribe = vec![subject::skill_call(skill)];
        subscribe.extend(topics.subscribe.iter().map(|topic| subject::skill_in(skill, topic)));
        Ok(Self { publish, subscribe, responses: true })
    }

    /// `loqa ask`, `loqa nodes`, `loqa skill` and observers: asks the hub, listens to events,
    /// answers questions to the person.
    #[must_use]
    pub fn operator() -> Self {
        Self {
            publish: [
                subject::HUB_ASK,
                subject::HUB_NODES,
                subject::HUB_MODELS,
                subject::HUB_PROMPT,
                subject::HUB_GRANT,
                subject::HUB_SKILLS,
                subject::HUB_AUDIT,
                subject::HUB_STORE,
                subject::HUB_KEY,
            ]
            .map(str::to_owned)
            .to_vec(),
            subscribe: ["loqa.event.*", "loqa.prompt.*", "loqa.notice.*", "loqa.skill.*.out.>"]
                .map(str::to_owned)
                .to_vec(),
            responses: false,
        }
    }

    /// The supervisor's own identity: it says a nonce and hears it.
    pub(crate) fn supervisor() -> Self {
        Self {
            publish: vec![subject::HUB_NONCE.to_owned()],
            subscribe: vec![subject::HUB_NONCE.to_owned()],
            responses: false,
        }
    }

    /// All that it may publish to: its list, a corner of its own inbox for
    /// [`crate::Bus::flush`], and where answers go.
    pub(crate) fn publish_list(&self, identity: &str) -> Vec<String> {
        let mut list = self.publish.clone();
        list.push(format!("{}.{FLUSH}.*", subject::inbox_prefix(identity)));
        if self.responses {
            list.extend(self.subscribe.iter().filter_map(|entry| {
                let pattern = entry.split(' ').next()?;
                let asked = pattern.strip_prefix("loqa.")?;
                // What a skill hears below `in` is told to it, not asked.
                let asker = match skill_part(pattern) {
                    Some(subject::SKILL_CALL) => subject::HUB_IDENTITY,
                    Some(subject::SKILL_IN) => return None,
                    Some(_) | None => "*",
                };
                Some(match asked.strip_suffix(".>") {
                    Some(_) => format!("_INBOX.{asker}.{asked}"),
                    None => format!("_INBOX.{asker}.{asked}.*"),
                })
            }));
        }
        list
    }

    /// All that it may subscribe to: its list, and its own inbox.
    pub(crate) fn subscribe_list(&self, identity: &str) -> Vec<String> {
        let mut list = self.subscribe.clone();
        list.push(format!("{}.>", subject::inbox_prefix(identity)));
        list
    }

    /// Refuses what would widen an identity beyond `loqa.` or break out of the
    /// configuration file that the lists are written to.
    pub(crate) fn check(&self, identity: &str) -> Result<(), BusError> {
        let refuse = |reason: String| Err(BusError::InvalidIdentity { identity: identity.to_owned(), reason });
        if !is_token(identity) {
            return refuse("not a subject token, [a-z0-9_-]{1,64} is allowed".to_owned());
        }
        for entry in &self.publish {
            if !is_own_subject(entry) {
                return refuse(format!("may not publish to `{entry}`"));
            }
        }
        for entry in &self.subscribe {
            let (pattern, queue) = match entry.split_once(' ') {
                Some((pattern, queue)) => (pattern, Some(queue)),
                None => (entry.as_str(), None),
            };
            if !is_own_subject(pattern) || queue.is_some_and(|queue| !is_token(queue)) {
                return refuse(format!("may not subscribe to `{entry}`"));
            }
        }
        Ok(())
    }
}

/// What a native skill may say and hear besides its calls, relative to its own prefix:
/// it publishes below `loqa.skill.<name>.out` and hears below `loqa.skill.<name>.in`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topics {
    /// Literal topics to publish on.
    pub publish: Vec<String>,
    /// Topics to hear; a last token may be `*` or `>`.
    pub subscribe: Vec<String>,
}

impl Topics {
    /// Whether a skill of that name may be given all of them.
    ///
    /// # Errors
    /// The name is no token, or a topic is not made of literal tokens (with one wildcard
    /// allowed at the end of what is heard).
    pub fn check(&self, skill: &str) -> Result<(), BusError> {
        let refuse = |reason: String| Err(BusError::InvalidIdentity { identity: skill.to_owned(), reason });
        if !is_token(skill) || skill.len() > MAX_SKILL_NAME {
            return refuse(format!("not a skill's name, [a-z0-9-]{{2,{MAX_SKILL_NAME}}} is allowed"));
        }
        if let Some(topic) = self.publish.iter().find(|topic| !is_publish_topic(topic)) {
            return refuse(format!("may not publish on `{}`: literal tokens only", topic.escape_debug()));
        }
        if let Some(topic) = self.subscribe.iter().find(|topic| !is_subscribe_topic(topic)) {
            let topic = topic.escape_debug();
            return refuse(format!("may not hear `{topic}`: literal tokens, a wildcard only as the last one"));
        }
        Ok(())
    }
}

/// Longest name of a skill, from the manifest's rules; its identity has a prefix.
const MAX_SKILL_NAME: usize = 40;
/// Most tokens of a topic. Chosen: far more than a person would read.
const MAX_TOPIC_TOKENS: usize = 16;

/// `a.b`: nothing but literal tokens.
fn is_publish_topic(topic: &str) -> bool {
    topic.split('.').count() <= MAX_TOPIC_TOKENS && topic.split('.').all(is_token)
}

/// `a.b`, `a.*`, `a.>`, `*` or `>`: a wildcard stands alone or at the end.
fn is_subscribe_topic(topic: &str) -> bool {
    match topic.rsplit_once('.') {
        Some((head, "*" | ">")) => is_publish_topic(head),
        Some(_) => is_publish_topic(topic),
        None => matches!(topic, "*" | ">") || is_token(topic),
    }
}

/// The token after the name in `loqa.skill.<name>.<part>…`.
fn skill_part(pattern: &str) -> Option<&str> {
    let mut tokens = pattern.split('.');
    match (tokens.next(), tokens.next(), tokens.next(), tokens.next()) {
        (Some("loqa"), Some("skill"), Some(_), part) => part,
        _ => None,
    }
}

/// `loqa.` and at least one literal token more, then tokens, `*`, or a last `>`.
fn is_own_subject(pattern: &str) -> bool {
    let mut tokens = pattern.split('.').peekable();
    if tokens.next() != Some("loqa") || !tokens.next().is_some_and(is_token) {
        return false;
    }
    while let Some(token) = tokens.next() {
        let last = tokens.peek().is_none();
        if !(is_token(token) || token == "*" || (token == ">" && last)) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_subjects_below_a_literal_loqa_prefix_are_accepted() {
        let with = |entry: &str| Permissions {
            publish: vec![entry.to_owned()],
            subscribe: vec![entry.to_owned()],
            responses: false,
        };
        for good in ["loqa.hub.ask", "loqa.work.*.*", "loqa.audio.e-1.>", "loqa.event.*"] {
            assert!(with(good).check("x").is_ok(), "{good}");
        }
        for bad in [
            ">",
            "*",
            "loqa",
            "loqa.",
            "loqa.>",
            "loqa.*",
            "loqa.*.hello",
            "_INBOX.>",
            "_INBOX.hub.>",
            "$SYS.>",
            "loqa.a b",
            "loqa.hub.\"x",
            "loqa.hub.>.x",
            "loqa..x",
            "LOQA.x",
            "loqa.hub.x\n",
            "",
        ] {
            assert!(with(bad).check("x").is_err(), "{bad:?} must not reach the configuration");
        }
        for bad in ["", "A", "a.b", "a b", "*", ">", "a\"b"] {
            assert!(Permissions::operator().check(bad).is_err(), "{bad:?} is no identity");
        }
    }

    #[test]
    fn every_built_in_role_passes_its_own_check() {
        let instance = InstanceId::from_bits(7);
        for role in [
            Permissions::hub(),
            Permissions::engine(&instance, "stt.whisper"),
            Permissions::operator(),
            Permissions::supervisor(),
            Permissions::skill("smart-home", &Topics::default()).unwrap(),
        ] {
            role.check("someone").unwrap();
        }
    }

    #[test]
    fn a_skill_is_given_its_own_prefix_and_the_inbox_of_the_hub_only() {
        let topics = Topics { publish: vec!["state.light".into()], subscribe: vec!["order.>".into(), "tick".into()] };
        let permissions = Permissions::skill("home", &topics).unwrap();
        assert_eq!(
            permissions.publish_list("skill-home"),
            [
                "loqa.skill.home.host",
                "loqa.skill.home.out.state.light",
                "_INBOX.skill-home.flush.*",
                "_INBOX.hub.skill.home.call.*"
            ]
        );
        assert_eq!(
            permissions.subscribe_list("skill-home"),
            ["loqa.skill.home.call", "loqa.skill.home.in.order.>", "loqa.skill.home.in.tick", "_INBOX.skill-home.>"]
        );
    }

    #[test]
    fn topics_are_literal_but_for_the_end_of_what_is_heard() {
        let publish = |topic: &str| Topics { publish: vec![topic.to_owned()], ..Topics::default() }.check("home");
        let subscribe = |topic: &str| Topics { subscribe: vec![topic.to_owned()], ..Topics::default() }.check("home");
        for good in ["a", "a.b_c.d-1"] {
            assert!(publish(good).is_ok() && subscribe(good).is_ok(), "{good}");
        }
        for heard_only in ["*", ">", "a.*", "a.b.>"] {
            assert!(publish(heard_only).is_err(), "{heard_only} is no literal subject");
            assert!(subscribe(heard_only).is_ok(), "{heard_only} lies below the skill's own prefix");
        }
        for bad in
            ["", ".", "a.", ".a", "a..b", "*.a", ">.a", "a.*.b", "a.>.b", "A", "a b", "$sys", "a\n", "ä", "a.*.*"]
        {
            assert!(publish(bad).is_err() && subscribe(bad).is_err(), "{bad:?} must not be granted");
        }
        for bad in ["", "a.b", "*", ">", "A", "a b", &"x".repeat(41)] {
            assert!(Topics::default().check(bad).is_err(), "{bad:?} is no name of a skill");
        }
    }

    #[test]
    fn a_malformed_capability_gives_no_work_subject() {
        let instance = InstanceId::from_bits(7);
        for bad in ["stt", "stt.>", "*.*", "stt.a.b"] {
            let permissions = Permissions::engine(&instance, bad);
            assert!(permissions.subscribe.iter().all(|s| !s.starts_with("loqa.work")), "{bad}");
        }
    }
}
