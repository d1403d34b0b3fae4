//! What the user has set for the bridge, as the hub hands it over.

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Everything that can be set.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Address of Home Assistant, `http://homeassistant.local:8123`.
    #[serde(deserialize_with = "address_if_set")]
    pub(crate) url: Option<url::Url>,
    /// The MQTT broker.
    pub(crate) mqtt: Option<Mqtt>,
    /// Further names of entities: `"reading lamp" = "light.sofa_left"`.
    pub(crate) aliases: BTreeMap<String, String>,
    /// Devices that announce nothing.
    pub(crate) topics: Vec<PlainTopic>,
}

/// A broker and how to log in.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mqtt {
    /// `mqtt://host:port`.
    #[serde(deserialize_with = "address")]
    pub(crate) address: url::Url,
    #[serde(default)]
    pub(crate) user: String,
    #[serde(default)]
    pub(crate) password: String,
    /// Prefix of Home Assistant's discovery topics.
    #[serde(default = "discovery_prefix")]
    pub(crate) discovery: String,
}

impl std::fmt::Debug for Mqtt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mqtt").field("address", &self.address.as_str()).finish_non_exhaustive()
    }
}

/// One device on plain topics.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlainTopic {
    /// `light`, `switch`, `cover` or `lock`.
    pub(crate) kind: String,
    /// What people call it.
    pub(crate) name: String,
    /// The room it is in.
    pub(crate) area: Option<String>,
    /// Where orders go.
    pub(crate) command: String,
    /// Where its state comes from.
    pub(crate) state: Option<String>,
    /// Payload for on, open or lock.
    pub(crate) on: Option<String>,
    /// Payload for off, close or unlock.
    pub(crate) off: Option<String>,
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<url::Url, D::Error> {
    url::Url::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn address_if_set<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<url::Url>, D::Error> {
    address(deserializer).map(Some)
}

fn discovery_prefix() -> String {
    "homeassistant".to_owned()
}

impl Settings {
    /// Reads them. The text of the error names the key and no value.
    pub(crate) fn read(settings: Map<String, Value>) -> Result<Self, String> {
        serde_json::from_value(Value::Object(settings)).map_err(|error| format!("settings: {error}"))
    }
}
