//! How far a permission reaches: whether one use lies within a scope, what a scope
//! does to the tier of its permission, and scopes as JSON.
//!
//! Names are compared here as texts. Which address a host name leads to is looked up
//! at the time of the call and checked there, see [`web::is_lan_address`].

mod json;
pub mod web;

use crate::authorize::Usage;
use crate::permission::{Permission, Scope, ScopeKind, ScopeValue, Tier};
pub use json::ScopeFault;
use web::{Pattern, Target};

/// Domains whose devices open a house or guard it.
const CRITICAL_DOMAINS: &[&str] = &["lock", "alarm_control_panel"];

/// Whether switching this entity is confirmed at every use, as far as its name tells.
pub(crate) fn is_critical_entity(entity: &str) -> bool {
    CRITICAL_DOMAINS.contains(&domain_of(entity))
}

/// What one use would do, read once, so that manifest and grant decide about the same thing.
pub(crate) struct Considered<'a> {
    pub(crate) permission: Permission,
    pub(crate) usage: Usage<'a>,
    /// The address, normalised; `None` when there is none or it cannot be used.
    pub(crate) target: Option<Target>,
}

impl<'a> Considered<'a> {
    pub(crate) fn new(permission: Permission, usage: Usage<'a>) -> Self {
        let target = match permission {
            Permission::HttpCall => usage.url.and_then(|url| Target::parse(url).ok()),
            Permission::SecretUse => usage.origin.and_then(|origin| Target::parse(origin).ok()),
            _ => None,
        };
        Self { permission, usage, target }
    }

    /// Whether the use lies within `scope`. What does not say what it would reach lies in none.
    pub(crate) fn is_within(&self, scope: &Scope) -> bool {
        let usage = &self.usage;
        let below = |key, used: u64| scope.limit(self.permission, key).is_none_or(|limit| used <= limit);
        below("max_bytes", usage.bytes)
            && below("max_chars", usage.chars)
            && below("max", usage.count)
            && below("tokens_per_day", usage.tokens)
            && self.is_named_in(scope)
    }

    fn is_named_in(&self, scope: &Scope) -> bool {
        let usage = &self.usage;
        let lists = |key, name: &str| scope.texts(key).iter().any(|listed| listed == name);
        match self.permission {
            Permission::BusPublish | Permission::BusSubscribe => {
                usage.topic.is_some_and(|topic| lists("topics", topic))
            }
            Permission::HttpCall => {
                usage.method.is_some_and(|method| lists("methods", method))
                    && self.target.as_ref().is_some_and(|target| web::allows(scope, target))
            }
            Permission::SecretUse => {
                usage.secret.is_some_and(|secret| scope.text("name") == Some(secret))
                    && self
                        .target
                        .as_ref()
                        .is_some_and(|target| scope.text("origin").is_some_and(|origin| web::is_origin(origin, target)))
            }
            Permission::TranscriptRead => is_level_within(usage.level, scope.text("level"), transcript_rank),
            Permission::EventStoreRead => is_level_within(usage.level, scope.text("level"), event_store_rank),
            Permission::DeviceControl => usage.entity.is_some_and(|entity| is_entity_within(scope, entity)),
            Permission::MessageSend | Permission::DataDelete => {
                !usage.recipients.is_empty()
                    && usage.recipients.iter().all(|to| lists("recipients", to) || lists("recipients", "*"))
            }
            Permission::NativeExec => usage.profile.is_some_and(|profile| scope.text("profile") == Some(profile)),
            Permission::LogWrite
            | Permission::ReplySay
            | Permission::KvStore
            | Permission::TimerSet
            | Permission::TtsSay
            | Permission::NotifyShow
            | Permission::LlmComplete => true,
            Permission::AudioCapture => false,
        }
    }

    /// The tier of this very use: what opens a house is confirmed every time.
    pub(crate) fn tier(&self, declared: &Scope) -> Tier {
        let is_critical = self.permission == Permission::DeviceControl
            && (self.usage.is_critical || self.usage.entity.is_some_and(is_critical_entity));
        if is_critical { Tier::T3 } else { tier_in(self.permission, declared) }
    }

    /// Whether the use picks where something goes, beyond what the manifest fixes.
    pub(crate) fn chooses_destination(&self, declared: &Scope) -> bool {
        match self.permission {
            Permission::HttpCall => !self.target.as_ref().is_some_and(|target| web::is_fixed(declared, target)),
            Permission::SecretUse => declared.text("origin").is_none_or(|origin| origin.contains('*')),
            Permission::DeviceControl | Permission::MessageSend | Permission::DataDelete => true,
            _ => false,
        }
    }

    /// What the use is about, without contents: the query of an address and the names of
    /// people stay out.
    pub(crate) fn template(&self) -> Option<String> {
        let usage = &self.usage;
        match self.permission {
            Permission::HttpCall => self.target.as_ref().map(|target| target.template()),
            Permission::SecretUse => {
                let origin = self.target.as_ref().map(|target| target.origin()).unwrap_or_default();
                usage.secret.map(|secret| format!("{secret} → {origin}"))
            }
            Permission::DeviceControl => usage.entity.map(str::to_owned),
            Permission::TranscriptRead | Permission::EventStoreRead => usage.level.map(str::to_owned),
            Permission::NativeExec => usage.profile.map(str::to_owned),
            Permission::MessageSend | Permission::DataDelete => Some(format!("{} recipients", usage.recipients.len())),
            _ => usage.topic.map(str::to_owned),
        }
    }

    /// What exactly would be done to what, for the person.
    pub(crate) fn shown(&self, operation: &str) -> String {
        let usage = &self.usage;
        let mut parts = vec![usage.method.unwrap_or(operation).to_owned()];
        parts.extend(usage.secret.map(str::to_owned));
        parts.extend(self.target.as_ref().map(|target| target.as_str().to_owned()));
        parts.extend([usage.topic, usage.level, usage.entity, usage.profile].into_iter().flatten().map(str::to_owned));
        if !usage.recipients.is_empty() {
            parts.push(usage.recipients.join(", "));
        }
        parts.extend(usage.arguments.map(str::to_owned));
        parts.join(" ")
    }
}

/// The tier of a permission with this scope: a wildcard, and more of a conversation than
/// the skill's own arguments, are asked for at the first use.
#[must_use]
pub fn tier_in(permission: Permission, scope: &Scope) -> Tier {
    let base = permission.tier();
    let is_wide = match permission {
        Permission::HttpCall => {
            scope.texts("urls").iter().any(|url| Pattern::parse(url).is_none_or(|pattern| pattern.is_wild()))
        }
        Permission::SecretUse => scope.text("origin").is_none_or(|origin| origin.contains('*')),
        Permission::TranscriptRead => scope.text("level").is_some_and(|level| level != "args"),
        Permission::EventStoreRead => scope.text("level").is_some_and(|level| level != "own"),
        _ => false,
    };
    if is_wide { base.max(Tier::T2) } else { base }
}

impl Scope {
    /// The text of `key`, if there is one.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key) {
            Some(ScopeValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether the flag `key` is set.
    #[must_use]
    pub fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Some(ScopeValue::Flag(true)))
    }

    /// The same with every limit spelled out as it is in force, so that a later manifest
    /// or program with other defaults changes nothing about it.
    #[must_use]
    pub fn resolved(&self, permission: Permission) -> Self {
        let mut resolved = self.clone();
        for key in permission.scope_keys() {
            if let (ScopeKind::Limit { .. }, Some(limit)) = (key.kind, self.limit(permission, key.name)) {
                resolved = resolved.with(key.name, ScopeValue::Limit(limit));
            }
        }
        resolved
    }

    /// The same with the keys of `narrower` in place of its own. What is wider there has
    /// no effect, because the manifest decides as well.
    #[must_use]
    pub fn narrowed(mut self, narrower: &Self) -> Self {
        for (key, value) in narrower.entries() {
            self = self.with(key, value.clone());
        }
        self
    }
}

fn domain_of(entity: &str) -> &str {
    entity.split_once('.').map_or("", |(domain, _)| domain)
}

fn is_entity_within(scope: &Scope, entity: &str) -> bool {
    let is_token = |token: &str| {
        !token.is_empty() && token.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let Some((domain, name)) = entity.split_once('.') else { return false };
    is_token(domain)
        && is_token(name)
        && scope.texts("domains").iter().any(|listed| listed == domain)
        && scope
            .texts("entities")
            .iter()
            .any(|listed| listed == entity || listed == "*" || listed.strip_suffix(".*") == Some(domain))
}

fn is_level_within(used: Option<&str>, allowed: Option<&str>, rank: fn(&str) -> Option<u64>) -> bool {
    match (used.and_then(rank), rank(allowed.unwrap_or_default())) {
        (Some(used), Some(allowed)) => used <= allowed,
        _ => false,
    }
}

/// `args` (also where the manifest is silent) < `utterance` < `history:N`.
fn transcript_rank(level: &str) -> Option<u64> {
    match level {
        "" | "args" => Some(0),
        "utterance" => Some(1),
        _ => {
            let turns = level.strip_prefix("history:")?;
            let is_plain = !turns.is_empty() && turns.len() <= 3 && turns.bytes().all(|b| b.is_ascii_digit());
            is_plain.then(|| turns.parse::<u64>().ok().filter(|turns| *turns > 0)).flatten().map(|turns| turns + 1)
        }
    }
}

/// `own` (also where the manifest is silent) < `session` < `all`.
fn event_store_rank(level: &str) -> Option<u64> {
    match level {
        "" | "own" => Some(0),
        "session" => Some(1),
        "all" => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
