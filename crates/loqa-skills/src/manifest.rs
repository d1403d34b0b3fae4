//! `skill.yaml`: what a skill is, what it offers and what it asks for.
//!
//! Reading is strict: every fault is found at once and reported with line, column,
//! rule and remedy. Nothing is granted here; permissions are only asked for.

mod fault;
mod json_schema;
mod parameters;
mod tables;
mod value;
mod yaml;

pub use fault::{Fault, Place, Rule};
pub use json_schema::json_schema;
pub use yaml::MAX_BYTES;

use crate::permission::{Permission, Requested, Scope, ScopeKind, ScopeValue, Tier};
use crate::schema::{Schema, Shape};
use fault::Faults;
use loqa_protocol::tool::{ToolEffect, ToolSpec};
use loqa_turn::intent::{IntentDecl, IntentIndex};
use std::fmt;
use std::path::Path;
use tables::{
    EVENT_KEYS, INTENT_KEYS, KEYS, KnownKey, MAX_AUTHOR, MAX_DESCRIPTION, MAX_EVENTS, MAX_LICENSE, MAX_REASON,
    MAX_SCOPE_TEXT, MAX_SCOPE_TEXTS, MAX_TEMPLATE, MAX_TEMPLATES, MAX_TITLE, MAX_TOOLS, PERMISSION_KEYS, TOOL_KEYS,
};
use value::{Mapping, check_characters, flag, integer, line, list, place_at_end, printable, text};
use yaml::Node;

/// Version of the host functions that this host offers; manifests name it as `host_api`.
pub const HOST_API: i64 = 1;
/// Version of the manifest's own shape.
pub const SCHEMA: i64 = 1;
/// Name of the manifest's file in a skill's folder.
pub const FILE_NAME: &str = "skill.yaml";
/// Events that a skill may subscribe to.
pub const EVENTS: &[&str] = &[TIMER_ELAPSED];
/// A timer of the skill has run out.
pub const TIMER_ELAPSED: &str = "timer.elapsed";

/// A manifest without faults.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// `[a-z0-9-]{2,40}`; also the skill's bus prefix and the name of its store.
    pub name: String,
    /// Version of the skill.
    pub version: semver::Version,
    /// For people.
    pub title: String,
    /// For people.
    pub description: String,
    /// Who wrote it.
    pub author: String,
    /// SPDX expression.
    pub license: String,
    /// File of the WASM module or of the program, in the skill's folder.
    pub module: String,
    /// How that file runs.
    pub runtime: Runtime,
    /// Tools, in the order of the file.
    pub tools: Vec<Tool>,
    /// Utterances that lead to a tool without a language model.
    pub intents: Vec<IntentDecl>,
    /// What it asks for; every permission at most once.
    pub permissions: Vec<Requested>,
    /// Events that it wants delivered.
    pub events: Vec<String>,
}

/// How a skill's code runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// A module in the WASM sandbox.
    Wasm,
    /// A program of its own.
    Native {
        /// What the operating system lets it do.
        sandbox: SandboxProfile,
    },
}

/// What the operating system lets a native skill do, as far as the system can hold it to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SandboxProfile {
    /// Its own folders and the bus, nothing else.
    Offline,
    /// The same, and connections to the ports of the origins that it was granted.
    Network,
}

impl SandboxProfile {
    /// Every profile.
    pub const ALL: &[Self] = &[Self::Offline, Self::Network];

    /// The name in manifests, also in the scope of `native:exec`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Network => "network",
        }
    }
}

/// A tool as declared.
#[derive(Debug, Clone)]
pub struct Tool {
    /// `skill.verb`.
    pub name: String,
    /// One sentence for a language model.
    pub description: String,
    /// What the arguments must look like.
    pub parameters: Schema,
    /// What a call can do.
    pub effect: ToolEffect,
}

impl Tool {
    /// The tool as planners see it.
    #[must_use]
    pub fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: self.name.clone(),
            description: self.description.clone(),
            parameters: self.parameters.to_json(),
            effect: self.effect,
        }
    }
}

/// Every fault of one manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFaults {
    /// The file, as it was named.
    pub file: String,
    /// In the order of the file; never empty.
    pub faults: Vec<Fault>,
}

impl fmt::Display for ManifestFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, fault) in self.faults.iter().enumerate() {
            if idx > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{fault}", self.file)?;
        }
        Ok(())
    }
}

impl std::error::Error for ManifestFaults {}

impl Manifest {
    /// Reads a manifest. `file` names it in faults.
    pub fn parse(file: &Path, bytes: &[u8]) -> Result<Self, ManifestFaults> {
        let mut faults = Faults::default();
        let manifest = read_bytes(bytes, &mut faults);
        match manifest {
            Some(manifest) if faults.is_empty() => Ok(manifest),
            _ => Err(ManifestFaults { file: file.display().to_string(), faults: faults.into_sorted() }),
        }
    }

    /// The tool of that name.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.name == name)
    }

    /// What was asked for under that permission.
    #[must_use]
    pub fn requested(&self, permission: Permission) -> Option<&Requested> {
        self.permissions.iter().find(|requested| requested.permission == permission)
    }
}

fn read_bytes(bytes: &[u8], faults: &mut Faults) -> Option<Manifest> {
    if bytes.len() > MAX_BYTES {
        faults.add(
            Place::START,
            Rule::FileSize,
            format!("the manifest has {} bytes", bytes.len()),
            format!("keep it below {MAX_BYTES} bytes"),
        );
        return None;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
            faults.add(place_at_end(&good), Rule::Characters, "not UTF-8", "save the file as UTF-8");
            return None;
        }
    };
    check_characters(text, faults);
    let root = yaml::parse(text, faults)?;
    read_manifest(&root, faults)
}

fn known(keys: &[KnownKey]) -> Vec<&'static str> {
    keys.iter().map(|(key, _)| *key).collect()
}

fn read_manifest(root: &Node, faults: &mut Faults) -> Option<Manifest> {
    let map = Mapping::of(root, "the manifest", faults)?;
    map.refuse_unknown(&known(KEYS), faults);
    if let Some(node) = map.required("schema", faults)
        && let Some(schema) = integer(node, "schema", faults)
        && schema != SCHEMA
    {
        faults.add(
            node.place,
            Rule::Unsupported,
            format!("manifest schema {schema} is not known"),
            format!("write `schema: {SCHEMA}`"),
        );
    }
    let name = map.required("name", faults).and_then(|node| read_skill_name(node, faults));
    let version = map.required("version", faults).and_then(|node| read_version(node, faults));
    let title = map.required("title", faults).and_then(|node| line(node, "title", MAX_TITLE, faults));
    let description =
        map.required("description", faults).and_then(|node| line(node, "description", MAX_DESCRIPTION, faults));
    let author = map.required("author", faults).and_then(|node| line(node, "author", MAX_AUTHOR, faults));
    let license = map.required("license", faults).and_then(|node| line(node, "license", MAX_LICENSE, faults));
    let runtime = map.required("runtime", faults).and_then(|node| read_runtime(node, faults).map(|it| (node, it)));
    let tools = map.optional("tools").map_or_else(Vec::new, |node| read_tools(node, name.as_deref(), faults));
    let intents = map.optional("intents").map_or_else(Vec::new, |node| read_intents(node, &tools, faults));
    let permissions = map.optional("permissions").map_or_else(Vec::new, |node| read_permissions(node, faults));
    let events = map.optional("events").map_or_else(Vec::new, |node| read_events(node, &permissions, faults));
    if let Some((node, (_, runtime))) = &runtime {
        check_native(node.place, *runtime, &permissions, &events, faults);
    }
    let (_, (module, runtime)) = runtime?;
    Some(Manifest {
        name: name?,
        version: version?,
        title: title?,
        description: description?,
        author: author?,
        license: license?,
        module,
        runtime,
        tools,
        intents,
        permissions,
        events,
    })
}

/// Whether a text is the name of a skill: `[a-z0-9-]{2,40}`, with a letter or digit at both ends.
#[must_use]
pub fn is_skill_name(name: &str) -> bool {
    (2..=40).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn read_skill_name(node: &Node, faults: &mut Faults) -> Option<String> {
    let name = text(node, "name", faults)?;
    if !is_skill_name(name) {
        faults.add(
            node.place,
            Rule::Name,
            format!("`{}` is not a skill name", printable(name)),
            "use 2 to 40 of a-z, 0-9 and -, with a letter or digit at both ends",
        );
        return None;
    }
    Some(name.to_owned())
}

fn read_version(node: &Node, faults: &mut Faults) -> Option<semver::Version> {
    let version = text(node, "version", faults)?;
    match semver::Version::parse(version) {
        Ok(version) => Some(version),
        Err(error) => {
            faults.add(
                node.place,
                Rule::Value,
                format!("`{}` is not a semantic version: {error}", printable(version)),
                "write three numbers, for example 0.1.0",
            );
            None
        }
    }
}

fn read_runtime(node: &Node, faults: &mut Faults) -> Option<(String, Runtime)> {
    let map = Mapping::of(node, "runtime", faults)?;
    let kind_node = map.required("kind", faults)?;
    let is_native = match text(kind_node, "kind", faults)? {
        "wasm" => false,
        "native" => true,
        other => {
            faults.add(
                kind_node.place,
                Rule::Value,
                format!("runtime kind `{}` is not known", printable(other)),
                "write `kind: wasm`",
            );
            return None;
        }
    };
    let file_key = if is_native { "program" } else { "module" };
    let known: &[&str] =
        if is_native { &["kind", "program", "host_api", "sandbox"] } else { &["kind", "module", "host_api"] };
    map.refuse_unknown(known, faults);
    if let Some(api_node) = map.required("host_api", faults)
        && let Some(api) = integer(api_node, "host_api", faults)
        && api != HOST_API
    {
        faults.add(
            api_node.place,
            Rule::Unsupported,
            format!("host API {api} is not offered by this version"),
            format!("build against version {HOST_API} and write `host_api: {HOST_API}`"),
        );
    }
    let runtime = if is_native {
        map.required("sandbox", faults)
            .and_then(|node| read_sandbox(node, faults))
            .map(|sandbox| Runtime::Native { sandbox })
    } else {
        Some(Runtime::Wasm)
    };
    let file_node = map.required(file_key, faults)?;
    let file = text(file_node, file_key, faults)?;
    let plain = !file.is_empty()
        && file.len() <= 100
        && file.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        && !file.starts_with('.');
    if is_native && !plain {
        faults.add(
            file_node.place,
            Rule::Path,
            format!("`{}` is not a program in the skill's own folder", printable(file)),
            "name a file beside skill.yaml, for example smart-home",
        );
        return None;
    }
    if !is_native && (!plain || !file.ends_with(".wasm")) {
        faults.add(
            file_node.place,
            Rule::Path,
            format!("`{}` is not a module in the skill's own folder", printable(file)),
            "name a file beside skill.yaml, for example timer.wasm",
        );
        return None;
    }
    Some((file.to_owned(), runtime?))
}

fn read_sandbox(node: &Node, faults: &mut Faults) -> Option<SandboxProfile> {
    let name = text(node, "sandbox", faults)?;
    let profile = SandboxProfile::ALL.iter().copied().find(|profile| profile.as_str() == name);
    if profile.is_none() {
        let known = SandboxProfile::ALL.iter().map(|profile| profile.as_str()).collect::<Vec<_>>().join(" or ");
        faults.add(
            node.place,
            Rule::Value,
            format!("sandbox profile `{}` is not known", printable(name)),
            format!("write {known}"),
        );
    }
    profile
}

/// A program needs `native:exec` with the profile that it runs under, and takes no events.
fn check_native(place: Place, runtime: Runtime, permissions: &[Requested], events: &[String], faults: &mut Faults) {
    let exec = permissions.iter().find(|requested| requested.permission == Permission::NativeExec);
    let Runtime::Native { sandbox } = runtime else { return };
    let profile = exec.and_then(|requested| requested.scope.get("profile"));
    if profile != Some(&ScopeValue::Text(sandbox.as_str().to_owned())) {
        faults.add(
            place,
            Rule::Reference,
            "a native skill does not ask for `native:exec` with its own sandbox profile",
            format!("add `{{ use: native:exec, profile: {}, reason: … }}` to `permissions`", sandbox.as_str()),
        );
    }
    if !events.is_empty() {
        faults.add(
            place,
            Rule::Unsupported,
            "events are delivered to WASM skills only",
            "remove `events`; a native skill can wait by itself",
        );
    }
}

fn read_tools(node: &Node, skill: Option<&str>, faults: &mut Faults) -> Vec<Tool> {
    let mut tools: Vec<Tool> = Vec::new();
    for item in list(node, "tools", MAX_TOOLS, faults) {
        let Some(map) = Mapping::of(item, "a tool", faults) else { continue };
        map.refuse_unknown(&known(TOOL_KEYS), faults);
        let name = map.required("name", faults).and_then(|node| read_tool_name(node, skill, &tools, faults));
        let description =
            map.required("description", faults).and_then(|node| line(node, "description", MAX_DESCRIPTION, faults));
        let parameters = match map.optional("parameters") {
            Some(node) => parameters::read(node, faults),
            None => Some(Schema { description: None, shape: Shape::Object { properties: Vec::new() } }),
        };
        let effect = map.required("effect", faults).and_then(|node| read_effect(node, faults));
        if let (Some(name), Some(description), Some(parameters), Some(effect)) = (name, description, parameters, effect)
        {
            tools.push(Tool { name, description, parameters, effect });
        }
    }
    tools
}

fn read_tool_name(node: &Node, skill: Option<&str>, tools: &[Tool], faults: &mut Faults) -> Option<String> {
    let name = text(node, "name", faults)?;
    let verb = name.split_once('.').map(|(_, verb)| verb);
    let shaped = verb.is_some_and(|verb| {
        (1..=40).contains(&verb.len())
            && verb.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    });
    let owned = match (skill, name.split_once('.')) {
        (Some(skill), Some((prefix, _))) => prefix == skill,
        (None, _) | (_, None) => true,
    };
    if !shaped || !owned {
        faults.add(
            node.place,
            Rule::Name,
            format!("`{}` is not a tool name of this skill", printable(name)),
            format!("write `{}.` and a verb of a-z, 0-9 and _", skill.unwrap_or("skill")),
        );
        return None;
    }
    if tools.iter().any(|tool| tool.name == name) {
        faults.add(node.place, Rule::DuplicateName, format!("the tool `{name}` is declared twice"), "keep one of them");
        return None;
    }
    Some(name.to_owned())
}

fn read_effect(node: &Node, faults: &mut Faults) -> Option<ToolEffect> {
    match text(node, "effect", faults)? {
        "read" => Some(ToolEffect::Read),
        "safe" => Some(ToolEffect::Safe),
        "sensitive" => Some(ToolEffect::Sensitive),
        other => {
            faults.add(
                node.place,
                Rule::Value,
                format!("effect `{}` is not known", printable(other)),
                "write read, safe or sensitive",
            );
            None
        }
    }
}

fn read_intents(node: &Node, tools: &[Tool], faults: &mut Faults) -> Vec<IntentDecl> {
    let mut intents = Vec::new();
    for item in list(node, "intents", MAX_TOOLS, faults) {
        let Some(map) = Mapping::of(item, "an intent", faults) else { continue };
        map.refuse_unknown(&known(INTENT_KEYS), faults);
        let mut tool = None;
        if let Some(tool_node) = map.required("tool", faults)
            && let Some(name) = text(tool_node, "tool", faults)
        {
            tool = tools.iter().find(|tool| tool.name == name);
            if tool.is_none() {
                faults.add(
                    tool_node.place,
                    Rule::Reference,
                    format!("no valid tool `{}` is declared", printable(name)),
                    "name a tool from `tools`",
                );
            }
        }
        let Some(say_node) = map.required("say", faults) else { continue };
        let mut say = Vec::new();
        for template in list(say_node, "say", MAX_TEMPLATES, faults) {
            let Some(words) = line(template, "template", MAX_TEMPLATE, faults) else { continue };
            if let Some(tool) = tool {
                check_template(template.place, tool, &words, faults);
            }
            say.push(words);
        }
        if say.is_empty() {
            faults.add(say_node.place, Rule::Value, "an intent without a template", "write at least one template");
        }
        if let Some(tool) = tool {
            intents.push(IntentDecl { tool: tool.name.clone(), say });
        }
    }
    intents
}

/// Compiles one template by itself, so that its fault has a place, and holds its slots to the tool.
fn check_template(place: Place, tool: &Tool, words: &str, faults: &mut Faults) {
    if let Err(errors) = IntentIndex::compile(&[IntentDecl { tool: tool.name.clone(), say: vec![words.to_owned()] }]) {
        for error in errors {
            faults.add(
                place,
                Rule::Template,
                format!("character {} of the template: {}", error.column, error.message),
                error.remedy,
            );
        }
        return;
    }
    let Shape::Object { properties } = &tool.parameters.shape else { return };
    for slot in slots(words) {
        if !properties.iter().any(|property| property.name == slot) {
            faults.add(
                place,
                Rule::Reference,
                format!("`{}` has no parameter `{slot}`", tool.name),
                "name the slot after a parameter",
            );
        }
    }
}

/// Names of the slots of a template that compiles.
fn slots(template: &str) -> impl Iterator<Item = &str> {
    template
        .split('{')
        .skip(1)
        .filter_map(|tail| tail.split_once('}'))
        .map(|(slot, _)| slot.split_once(':').map_or(slot, |(name, _)| name).trim())
}

fn read_permissions(node: &Node, faults: &mut Faults) -> Vec<Requested> {
    let mut permissions: Vec<Requested> = Vec::new();
    for item in list(node, "permissions", Permission::ALL.len(), faults) {
        let Some(map) = Mapping::of(item, "a permission", faults) else { continue };
        let Some(use_node) = map.required("use", faults) else { continue };
        let Some(name) = text(use_node, "use", faults) else { continue };
        let Some(permission) = Permission::from_name(name) else {
            let known = Permission::ALL.iter().map(|permission| permission.as_str()).collect::<Vec<_>>().join(", ");
            faults.add(
                use_node.place,
                Rule::UnknownPermission,
                format!("there is no permission `{}`", printable(name)),
                format!("use one of: {known}"),
            );
            continue;
        };
        if permission.tier() == Tier::T4 {
            faults.add(
                use_node.place,
                Rule::ForbiddenPermission,
                format!("`{permission}` is never granted to a WASM skill"),
                "remove it",
            );
        }
        if permissions.iter().any(|requested| requested.permission == permission) {
            faults.add(
                use_node.place,
                Rule::DuplicateName,
                format!("`{permission}` is asked for twice"),
                "keep one entry with the wider scope",
            );
            continue;
        }
        let known = known(PERMISSION_KEYS)
            .into_iter()
            .chain(permission.scope_keys().iter().map(|key| key.name))
            .collect::<Vec<_>>();
        map.refuse_unknown(&known, faults);
        let reason = map.required("reason", faults).and_then(|node| line(node, "reason", MAX_REASON, faults));
        let scope = read_scope(&map, permission, faults);
        if let Some(reason) = reason {
            permissions.push(Requested { permission, scope, reason });
        }
    }
    permissions
}

fn read_scope(map: &Mapping<'_>, permission: Permission, faults: &mut Faults) -> Scope {
    let mut scope = Scope::default();
    for key in permission.scope_keys() {
        let node = if key.required { map.required(key.name, faults) } else { map.optional(key.name) };
        let Some(node) = node else { continue };
        let value = match key.kind {
            ScopeKind::Limit { ceiling, .. } => integer(node, key.name, faults).and_then(|limit| {
                let allowed = u64::try_from(limit).ok().filter(|limit| (1..=ceiling).contains(limit));
                if allowed.is_none() {
                    faults.add(
                        node.place,
                        Rule::Value,
                        format!("`{}` of `{permission}` is {limit}", key.name),
                        format!("write a number from 1 to {ceiling}"),
                    );
                }
                allowed.map(ScopeValue::Limit)
            }),
            ScopeKind::Text => line(node, key.name, MAX_SCOPE_TEXT, faults).map(ScopeValue::Text),
            ScopeKind::Flag => flag(node, key.name, faults).map(ScopeValue::Flag),
            ScopeKind::Texts => {
                let texts = list(node, key.name, MAX_SCOPE_TEXTS, faults)
                    .iter()
                    .filter_map(|item| {
                        let text = line(item, key.name, MAX_SCOPE_TEXT, faults)?;
                        check_topic(permission, item, &text, faults);
                        Some(text)
                    })
                    .collect::<Vec<_>>();
                if texts.is_empty() {
                    faults.add(node.place, Rule::Value, format!("`{}` is empty", key.name), "name at least one");
                }
                Some(ScopeValue::Texts(texts))
            }
        };
        if let Some(value) = value {
            scope = scope.with(key.name, value);
        }
    }
    scope
}

/// Topics to publish on are literal subject tokens below the skill's own prefix.
fn check_topic(permission: Permission, node: &Node, topic: &str, faults: &mut Faults) {
    let literal = topic.len() <= 200 && topic.split('.').all(loqa_protocol::id::is_token);
    if permission == Permission::BusPublish && !literal {
        faults.add(
            node.place,
            Rule::Value,
            format!("`{}` is not a topic", printable(topic)),
            "use tokens of a-z, 0-9, _ and - with dots between, without wildcards and without the skill's prefix",
        );
    }
}

fn read_events(node: &Node, permissions: &[Requested], faults: &mut Faults) -> Vec<String> {
    let Some(map) = Mapping::of(node, "events", faults) else { return Vec::new() };
    map.refuse_unknown(&known(EVENT_KEYS), faults);
    let Some(subscribe) = map.required("subscribe", faults) else { return Vec::new() };
    let mut events = Vec::new();
    for item in list(subscribe, "subscribe", MAX_EVENTS, faults) {
        let Some(event) = text(item, "event", faults) else { continue };
        let port = event.strip_prefix(crate::BUS_EVENT_PREFIX);
        let hears = |port: &str| {
            permissions.iter().any(|requested| {
                requested.permission == Permission::BusSubscribe
                    && requested.scope.texts("topics").iter().any(|topic| topic == port)
            })
        };
        if port.is_none() && !EVENTS.contains(&event) {
            faults.add(
                item.place,
                Rule::Value,
                format!("event `{}` is not known", printable(event)),
                format!("use one of: {}, or `bus.` and a topic of `bus:subscribe`", EVENTS.join(", ")),
            );
        } else if port.is_some_and(|port| !hears(port)) {
            faults.add(
                item.place,
                Rule::Reference,
                format!("`{}` is no topic of `bus:subscribe`", printable(event)),
                "name the skill and its topic there, for example weather.changed",
            );
        } else if events.iter().any(|existing| existing == event) {
            faults.add(
                item.place,
                Rule::DuplicateName,
                format!("the event `{event}` stands twice"),
                "keep one of them",
            );
        } else {
            if event == TIMER_ELAPSED
                && !permissions.iter().any(|requested| requested.permission == Permission::TimerSet)
            {
                faults.add(
                    item.place,
                    Rule::Reference,
                    format!("`{event}` comes only to skills that ask for `timer:set`"),
                    "add `timer:set` to `permissions`",
                );
            }
            events.push(event.to_owned());
        }
    }
    events
}
