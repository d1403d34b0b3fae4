//! The permissions that a skill may ask for: their names, tiers and scopes, as
//! `docs/skills.md` lists them. Whether one is in force is decided in [`crate::authorize`].

use std::collections::BTreeMap;
use std::fmt;

/// How much a permission can hurt, and so when the user is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Granted with the installation.
    T0,
    /// Asked for at the installation.
    T1,
    /// Asked for at the first use.
    T2,
    /// Confirmed at every use.
    T3,
    /// Never granted to a WASM skill.
    T4,
}

/// What a scope key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeKind {
    /// A whole number between 1 and the ceiling; the default stands where the manifest is silent.
    Limit {
        /// Used when the manifest does not name the key.
        default: u64,
        /// The host's policy: a manifest cannot ask for more.
        ceiling: u64,
    },
    /// A text.
    Text,
    /// A list of texts, not empty.
    Texts,
    /// `true` or `false`.
    Flag,
}

/// One scope key of one permission.
#[derive(Debug, Clone, Copy)]
pub struct ScopeKey {
    /// Key in the manifest.
    pub name: &'static str,
    /// What it holds.
    pub kind: ScopeKind,
    /// Whether the manifest must name it.
    pub required: bool,
}

const fn limit(name: &'static str, default: u64, ceiling: u64) -> ScopeKey {
    ScopeKey { name, kind: ScopeKind::Limit { default, ceiling }, required: false }
}
const fn texts(name: &'static str) -> ScopeKey {
    ScopeKey { name, kind: ScopeKind::Texts, required: true }
}
const fn text(name: &'static str) -> ScopeKey {
    ScopeKey { name, kind: ScopeKind::Text, required: true }
}
const fn level(name: &'static str) -> ScopeKey {
    ScopeKey { name, kind: ScopeKind::Text, required: false }
}
const fn flag(name: &'static str) -> ScopeKey {
    ScopeKey { name, kind: ScopeKind::Flag, required: false }
}

macro_rules! permissions {
    ($($(#[doc = $doc:literal])+ $name:ident => $text:literal, $tier:ident, $offered:literal, [$($key:expr),*];)+) => {
        /// A permission, by the name that manifests use.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Permission {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Permission {
            /// Every permission, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name that manifests use.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// How much it can hurt.
            #[must_use]
            pub const fn tier(self) -> Tier {
                match self { $(Self::$name => Tier::$tier,)+ }
            }

            /// Whether this host has functions that use it. Others can be declared and are denied.
            #[must_use]
            pub const fn is_offered(self) -> bool {
                match self { $(Self::$name => $offered,)+ }
            }

            /// What its entry in a manifest may say.
            #[must_use]
            pub const fn scope_keys(self) -> &'static [ScopeKey] {
                match self { $(Self::$name => const { &[$($key),*] },)+ }
            }
        }
    };
}

permissions! {
    /// Write to the host's log.
    LogWrite => "log:write", T0, true, [limit("max_bytes", 8 * 1024, 8 * 1024)];
    /// Say something in the running turn, besides the reply itself.
    ReplySay => "reply:say", T0, true, [limit("max_chars", 1_000, 4_000)];
    /// Keep values under the skill's own name.
    KvStore => "kv:store", T0, true, [limit("max_bytes", 64 * 1024, 1024 * 1024)];
    /// Publish below the skill's own prefix.
    BusPublish => "bus:publish", T0, true, [texts("topics"), limit("per_minute", 60, 1_200)];
    /// Hear what others publish.
    BusSubscribe => "bus:subscribe", T1, true, [texts("topics")];
    /// Run timers and read the clock.
    TimerSet => "timer:set", T1, true, [limit("max", 20, 100)];
    /// Speak unasked.
    TtsSay => "tts:say", T1, true, [limit("per_minute", 20, 60), limit("max_chars", 400, 1_000)];
    /// Show a notification.
    NotifyShow => "notify:show", T1, true, [limit("per_minute", 10, 60), limit("max_chars", 400, 1_000)];
    /// Call named web addresses.
    HttpCall => "http:call", T1, true,
        [texts("urls"), texts("methods"), flag("lan"), limit("per_minute", 30, 600), limit("max_bytes", 64 * 1024, 1024 * 1024)];
    /// Have a named secret put into a request to one origin.
    SecretUse => "secret:use", T1, true, [text("name"), text("origin")];
    /// Read what was said.
    TranscriptRead => "transcript:read", T1, true, [level("level")];
    /// Read what happened.
    EventStoreRead => "event_store:read", T1, true, [level("level")];
    /// Ask the language model.
    LlmComplete => "llm:complete", T1, true, [limit("tokens_per_day", 10_000, 1_000_000)];
    /// Switch devices.
    DeviceControl => "device:control", T2, true, [texts("domains"), texts("entities"), limit("per_minute", 60, 600)];
    /// Send a message to a person.
    MessageSend => "message:send", T3, false, [texts("recipients"), limit("per_minute", 5, 30)];
    /// Delete the user's data.
    DataDelete => "data:delete", T3, false, [texts("recipients")];
    /// Run as a program of its own.
    NativeExec => "native:exec", T2, true, [text("profile")];
    /// Listen to the microphone.
    AudioCapture => "audio:capture", T4, false, [];
}

impl Permission {
    /// The permission of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|permission| permission.as_str() == name)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The value of one scope key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScopeValue {
    /// See [`ScopeKind::Limit`].
    Limit(u64),
    /// See [`ScopeKind::Text`].
    Text(String),
    /// See [`ScopeKind::Texts`].
    Texts(Vec<String>),
    /// See [`ScopeKind::Flag`].
    Flag(bool),
}

/// How far a permission reaches. Only keys of its permission's table are in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope(BTreeMap<&'static str, ScopeValue>);

impl Scope {
    /// Sets one key.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: ScopeValue) -> Self {
        self.0.insert(key, value);
        self
    }

    /// The value as written, without defaults.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&ScopeValue> {
        self.0.get(key)
    }

    /// The limit in force for `key`: as written, else the default, never above the
    /// ceiling. `None` when the permission has no such limit.
    #[must_use]
    pub fn limit(&self, permission: Permission, key: &str) -> Option<u64> {
        let (default, ceiling) = permission.scope_keys().iter().find_map(|candidate| match candidate.kind {
            ScopeKind::Limit { default, ceiling } if candidate.name == key => Some((default, ceiling)),
            ScopeKind::Limit { .. } | ScopeKind::Text | ScopeKind::Texts | ScopeKind::Flag => None,
        })?;
        match self.0.get(key) {
            Some(ScopeValue::Limit(limit)) => Some((*limit).min(ceiling)),
            _ => Some(default),
        }
    }

    /// Every key that is written, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, &ScopeValue)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }

    /// The texts of `key`; empty when there are none.
    #[must_use]
    pub fn texts(&self, key: &str) -> &[String] {
        match self.0.get(key) {
            Some(ScopeValue::Texts(texts)) => texts,
            _ => &[],
        }
    }
}

/// One entry of a manifest's permission list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// Which permission.
    pub permission: Permission,
    /// How far.
    pub scope: Scope,
    /// Why, in the author's words, for the prompt.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_permission() {
        for permission in Permission::ALL {
            assert_eq!(Permission::from_name(permission.as_str()), Some(*permission));
        }
        assert_eq!(Permission::from_name("kv:everything"), None);
    }

    #[test]
    fn a_limit_never_exceeds_the_ceiling() {
        let scope = Scope::default().with("max", ScopeValue::Limit(u64::MAX));
        assert_eq!(scope.limit(Permission::TimerSet, "max"), Some(100), "policy is above the manifest");
        assert_eq!(Scope::default().limit(Permission::TimerSet, "max"), Some(20), "silence means the default");
        assert_eq!(scope.limit(Permission::TimerSet, "max_bytes"), None, "a key of another permission means nothing");
    }
}
