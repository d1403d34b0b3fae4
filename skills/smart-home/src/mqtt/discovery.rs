//! Home Assistant's MQTT discovery: what a device says about itself on
//! `homeassistant/<kind>/…/config`, and how it is then told what to do. Plain topics
//! from the settings become the same.
//! <https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery>

use crate::act::Order;
use crate::home::{Domain, Entity, Source, plain};
use crate::settings::PlainTopic;
use serde_json::{Map, Value, json};

/// Longest topic that is subscribed to or published on.
const MAX_TOPIC: usize = 512;

/// One device: the entity that it becomes, and its topics.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Device {
    pub(super) entity: Entity,
    command: Option<String>,
    state: Option<String>,
    availability: Option<String>,
    /// Further topics by what is set or read there: `brightness`, `position`, `temperature`.
    set: Map<String, Value>,
    get: Map<String, Value>,
    is_json: bool,
    brightness_scale: f64,
    payloads: [(&'static str, String); 5],
}

impl Device {
    /// Reads a discovery message. `None` when it is none that can be used; an empty
    /// payload means that the device is gone, which the caller sees by itself.
    pub(super) fn discovered(topic: &str, prefix: &str, payload: &[u8]) -> Option<Self> {
        let (kind, object) = parts(topic, prefix)?;
        let config: Value = serde_json::from_slice(payload).ok()?;
        let config = config.as_object()?;
        let base = text(config, "~", "~").unwrap_or_default();
        let topic = |short: &str, long: &str| {
            text(config, short, long).map(|topic| topic.replace('~', &base)).filter(|topic| is_topic(topic))
        };
        let device = config.get("device").or_else(|| config.get("dev")).and_then(Value::as_object);
        let id = format!("{kind}.{object}");
        let mut entity = Entity::new(&id, Source::Mqtt)?;
        let own = text(config, "name", "name").map(|name| plain(&name)).filter(|name| !name.is_empty());
        let of_device = device.and_then(|device| text(device, "name", "name")).map(|name| plain(&name));
        if let Some(name) = own.or(of_device).filter(|name| !name.is_empty()) {
            entity.name = name;
        }
        entity.area = device.and_then(|device| text(device, "sa", "suggested_area")).map(|area| plain(&area));
        if let Some(class) = text(config, "dev_cla", "device_class") {
            entity.attributes.insert("device_class".to_owned(), Value::from(class));
        }
        let mut set = Map::new();
        let mut get = Map::new();
        for (what, short_set, long_set, short_get, long_get) in [
            ("brightness", "bri_cmd_t", "brightness_command_topic", "bri_stat_t", "brightness_state_topic"),
            ("rgb", "rgb_cmd_t", "rgb_command_topic", "rgb_stat_t", "rgb_state_topic"),
            ("position", "set_pos_t", "set_position_topic", "pos_t", "position_topic"),
            ("temperature", "temp_cmd_t", "temperature_command_topic", "temp_stat_t", "temperature_state_topic"),
            ("mode", "mode_cmd_t", "mode_command_topic", "mode_stat_t", "mode_state_topic"),
            ("current_temperature", "", "", "curr_temp_t", "current_temperature_topic"),
        ] {
            set.extend(topic(short_set, long_set).map(|topic| (what.to_owned(), Value::from(topic))));
            get.extend(topic(short_get, long_get).map(|topic| (what.to_owned(), Value::from(topic))));
        }
        let payload =
            |short: &str, long: &str, default: &str| text(config, short, long).unwrap_or_else(|| default.to_owned());
        Some(Self {
            entity,
            command: topic("cmd_t", "command_topic"),
            state: topic("stat_t", "state_topic"),
            availability: topic("avty_t", "availability_topic"),
            set,
            get,
            is_json: text(config, "schema", "schema").as_deref() == Some("json"),
            brightness_scale: config
                .get("bri_scl")
                .or_else(|| config.get("brightness_scale"))
                .and_then(Value::as_f64)
                .filter(|scale| (1.0..=65_535.0).contains(scale))
                .unwrap_or(255.0),
            payloads: [
                ("on", payload("pl_on", "payload_on", "ON")),
                ("off", payload("pl_off", "payload_off", "OFF")),
                ("open", payload("pl_open", "payload_open", "OPEN")),
                ("close", payload("pl_cls", "payload_close", "CLOSE")),
                (
                    "lock",
                    format!(
                        "{}\n{}",
                        payload("pl_lock", "payload_lock", "LOCK"),
                        payload("pl_unlk", "payload_unlock", "UNLOCK")
                    ),
                ),
            ],
        })
    }

    /// A device from the settings.
    pub(super) fn plain(topic: &PlainTopic) -> Option<Self> {
        let object: String =
            topic.name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let mut entity = Entity::new(&format!("{}.{object}", topic.kind), Source::Mqtt)?;
        entity.name = plain(&topic.name);
        entity.area = topic.area.as_deref().map(plain);
        let own = |payload: &Option<String>, default: &str| payload.clone().unwrap_or_else(|| default.to_owned());
        Some(Self {
            entity,
            command: Some(topic.command.clone()).filter(|topic| is_topic(topic)),
            state: topic.state.clone().filter(|topic| is_topic(topic)),
            availability: None,
            set: Map::new(),
            get: Map::new(),
            is_json: false,
            brightness_scale: 255.0,
            payloads: [
                ("on", own(&topic.on, "ON")),
                ("off", own(&topic.off, "OFF")),
                ("open", own(&topic.on, "OPEN")),
                ("close", own(&topic.off, "CLOSE")),
                ("lock", format!("{}\n{}", own(&topic.on, "LOCK"), own(&topic.off, "UNLOCK"))),
            ],
        })
    }

    /// Topics to listen to.
    pub(super) fn topics(&self) -> Vec<String> {
        let read = self.get.values().filter_map(Value::as_str).map(str::to_owned);
        self.state.iter().chain(&self.availability).cloned().chain(read).collect()
    }

    /// What to publish for an order; `None` when the device cannot do that.
    pub(super) fn order(&self, order: &Order) -> Option<Vec<(String, String)>> {
        let command = || self.command.clone();
        let payload = |name: &str| {
            self.payloads
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, payload)| payload.clone())
                .unwrap_or_default()
        };
        let set = |what: &str| self.set.get(what).and_then(Value::as_str).map(str::to_owned);
        let number = |key: &str| order.data.get(key).and_then(Value::as_f64);
        let lock = payload("lock");
        let (lock, unlock) = lock.split_once('\n').unwrap_or(("LOCK", "UNLOCK"));
        Some(match (self.entity.domain, order.service) {
            (Domain::Light, "turn_on") => {
                let level = number("brightness_pct").map(|percent| (percent / 100.0 * self.brightness_scale).round());
                let rgb = order.data.get("color_name").and_then(Value::as_str).and_then(rgb);
                if self.is_json {
                    let mut message = json!({ "state": "ON" });
                    if let Some(level) = level {
                        message["brightness"] = json!(level);
                    }
                    if let Some([r, g, b]) = rgb {
                        message["color"] = json!({ "r": r, "g": g, "b": b });
                    }
                    vec![(command()?, message.to_string())]
                } else {
                    let mut messages = vec![(command()?, payload("on"))];
                    if let Some(level) = level {
                        messages.push((set("brightness")?, level.to_string()));
                    }
                    if order.data.contains_key("color_name") {
                        let [r, g, b] = rgb?;
                        messages.push((set("rgb")?, format!("{r},{g},{b}")));
                    }
                    messages
                }
            }
            (Domain::Light, "turn_off") if self.is_json => vec![(command()?, json!({ "state": "OFF" }).to_string())],
            (Domain::Light | Domain::Switch, "turn_off") => vec![(command()?, payload("off"))],
            (Domain::Switch | Domain::Scene, "turn_on") => vec![(command()?, payload("on"))],
            (Domain::Cover, "open_cover") => vec![(command()?, payload("open"))],
            (Domain::Cover, "close_cover") => vec![(command()?, payload("close"))],
            (Domain::Cover, "set_cover_position") => vec![(set("position")?, number("position")?.round().to_string())],
            (Domain::Lock, "lock") => vec![(command()?, lock.to_owned())],
            (Domain::Lock, "unlock") => vec![(command()?, unlock.to_owned())],
            (Domain::Climate, "set_temperature") => vec![(set("temperature")?, number("temperature")?.to_string())],
            (Domain::Climate, "turn_off") => vec![(set("mode")?, "off".to_owned())],
            (Domain::Climate, "turn_on") => vec![(set("mode")?, "heat".to_owned())],
            _ => return None,
        })
    }

    /// Takes a message on one of its topics.
    pub(super) fn heard(&self, topic: &str, payload: &[u8], entity: &mut Entity) {
        let Ok(payload) = std::str::from_utf8(payload) else { return };
        let payload = plain(payload);
        if self.availability.as_deref() == Some(topic) {
            entity.state = if payload == "offline" { "unavailable" } else { "unknown" }.to_owned();
            return;
        }
        for (what, known) in &self.get {
            if known.as_str() == Some(topic) {
                let key = if what == "position" { "current_position" } else { what };
                if let Some(number) = payload.parse::<f64>().ok().filter(|number| number.is_finite()) {
                    entity.attributes.insert(key.to_owned(), json!(number));
                }
            }
        }
        if self.state.as_deref() != Some(topic) {
            return;
        }
        // A JSON light says `{"state": "ON", "brightness": 12}`; many others do so too.
        let said = serde_json::from_str::<Value>(&payload).ok();
        let state = said.as_ref().and_then(|said| said.get("state")).and_then(Value::as_str).unwrap_or(&payload);
        if let Some(level) = said.as_ref().and_then(|said| said.get("brightness")).and_then(Value::as_f64) {
            entity.attributes.insert("brightness".to_owned(), json!(level / self.brightness_scale * 255.0));
        }
        let is = |name: &str| self.payloads.iter().any(|(known, payload)| *known == name && payload == state);
        entity.state = match entity.domain {
            _ if is("on") => "on".to_owned(),
            _ if is("off") => "off".to_owned(),
            _ => state.to_lowercase().chars().take(40).collect(),
        };
    }
}

/// Kind and object of `<prefix>/<kind>/[<node>/]<object>/config`.
pub(super) fn parts<'a>(topic: &'a str, prefix: &str) -> Option<(&'a str, String)> {
    let rest = topic.strip_prefix(prefix)?.strip_prefix('/')?.strip_suffix("/config")?;
    let (kind, object) = rest.split_once('/')?;
    let object: String =
        object.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    Some((kind, object))
}

fn text(map: &Map<String, Value>, short: &str, long: &str) -> Option<String> {
    map.get(long).or_else(|| map.get(short)).and_then(Value::as_str).map(str::to_owned)
}

/// A topic that can be published on and listened to: no wildcards, and none of the
/// broker's own.
fn is_topic(topic: &str) -> bool {
    !topic.is_empty()
        && topic.len() <= MAX_TOPIC
        && !topic.starts_with('$')
        && !topic.contains(['#', '+', '\0'])
        && !topic.chars().any(char::is_control)
}

/// The colours that the tool knows.
fn rgb(name: &str) -> Option<[u8; 3]> {
    Some(match name {
        "red" => [255, 0, 0],
        "orange" => [255, 165, 0],
        "yellow" => [255, 255, 0],
        "green" => [0, 255, 0],
        "blue" => [0, 0, 255],
        "purple" => [128, 0, 128],
        "pink" => [255, 192, 203],
        "white" => [255, 255, 255],
        "warmwhite" => [255, 214, 170],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(topic: &str, config: Value) -> Device {
        Device::discovered(topic, "homeassistant", config.to_string().as_bytes()).unwrap()
    }

    fn order(service: &'static str, data: Value) -> Order {
        Order { service, entities: vec![], data: data.as_object().unwrap().clone() }
    }

    #[test]
    fn a_light_with_abbreviations_is_understood_and_told_what_to_do() {
        let light = device(
            "homeassistant/light/0x12/desk/config",
            json!({ "~": "zigbee/desk", "name": "Desk lamp", "cmd_t": "~/set", "stat_t": "~/state",
                    "bri_cmd_t": "~/bri", "bri_scl": 100, "rgb_cmd_t": "~/rgb", "dev": { "sa": "Study" } }),
        );
        assert_eq!((light.entity.id.as_str(), light.entity.area.as_deref()), ("light.0x12_desk", Some("Study")));
        assert_eq!(light.topics(), ["zigbee/desk/state"]);
        assert_eq!(light.order(&order("turn_off", json!({}))), Some(vec![("zigbee/desk/set".into(), "OFF".into())]));
        assert_eq!(
            light.order(&order("turn_on", json!({ "brightness_pct": 40 }))),
            Some(vec![("zigbee/desk/set".into(), "ON".into()), ("zigbee/desk/bri".into(), "40".into())])
        );
        assert_eq!(
            light.order(&order("turn_on", json!({ "color_name": "red" }))).unwrap()[1],
            ("zigbee/desk/rgb".into(), "255,0,0".into())
        );
        let mut entity = light.entity.clone();
        light.heard("zigbee/desk/state", b"ON", &mut entity);
        assert_eq!(entity.state, "on");
    }

    #[test]
    fn a_light_that_speaks_json_a_cover_a_lock_and_a_thermostat() {
        let light = device(
            "homeassistant/light/a/config",
            json!({ "schema": "json", "command_topic": "a/set", "state_topic": "a" }),
        );
        assert_eq!(
            light.order(&order("turn_on", json!({ "brightness_pct": 100 }))),
            Some(vec![("a/set".into(), json!({ "state": "ON", "brightness": 255.0 }).to_string())])
        );
        let mut entity = light.entity.clone();
        light.heard("a", br#"{"state":"OFF","brightness":51}"#, &mut entity);
        assert_eq!((entity.state.as_str(), entity.attributes["brightness"].as_f64()), ("off", Some(51.0)));
        let cover = device(
            "homeassistant/cover/b/config",
            json!({ "cmd_t": "b/set", "set_pos_t": "b/pos", "pl_open": "UP", "dev_cla": "garage" }),
        );
        assert_eq!(cover.order(&order("open_cover", json!({}))), Some(vec![("b/set".into(), "UP".into())]));
        assert_eq!(
            cover.order(&order("set_cover_position", json!({ "position": 30 }))),
            Some(vec![("b/pos".into(), "30".into())])
        );
        assert!(cover.entity.is_door());
        let lock = device("homeassistant/lock/c/config", json!({ "cmd_t": "c/set", "pl_unlk": "0" }));
        assert_eq!(lock.order(&order("unlock", json!({}))), Some(vec![("c/set".into(), "0".into())]));
        let climate = device("homeassistant/climate/d/config", json!({ "temp_cmd_t": "d/t", "curr_temp_t": "d/now" }));
        assert_eq!(
            climate.order(&order("set_temperature", json!({ "temperature": 21.5 }))),
            Some(vec![("d/t".into(), "21.5".into())])
        );
        assert_eq!(climate.order(&order("open_cover", json!({}))), None, "it cannot do that");
    }

    #[test]
    fn hostile_announcements_get_no_topic_of_the_broker_and_no_wildcard() {
        for topic in ["$SYS/x", "a/#", "+", "", "a\u{1}b"] {
            let light = device("homeassistant/light/a/config", json!({ "cmd_t": topic, "stat_t": topic }));
            assert_eq!(light.topics(), Vec::<String>::new(), "{topic:?}");
            assert_eq!(light.order(&order("turn_on", json!({}))), None, "{topic:?}");
        }
        for (topic, payload) in [
            ("homeassistant/light/a/config", "[]"),
            ("homeassistant/light/a/config", "x"),
            ("homeassistant/sensor/a/config", "{}"),
            ("homeassistant/light/config", "{}"),
            ("other/light/a/config", "{}"),
            ("homeassistant/light/a/state", "{}"),
        ] {
            assert!(Device::discovered(topic, "homeassistant", payload.as_bytes()).is_none(), "{topic} {payload}");
        }
    }

    #[test]
    fn a_plain_topic_from_the_settings_is_a_device() {
        let topic = PlainTopic {
            kind: "switch".into(),
            name: "Coffee machine".into(),
            area: Some("Kitchen".into()),
            command: "cmnd/coffee/POWER".into(),
            state: Some("stat/coffee/POWER".into()),
            on: Some("1".into()),
            off: None,
        };
        let device = Device::plain(&topic).unwrap();
        assert_eq!(device.entity.id, "switch.coffee_machine");
        assert_eq!(device.order(&order("turn_on", json!({}))), Some(vec![("cmnd/coffee/POWER".into(), "1".into())]));
        assert!(Device::plain(&PlainTopic { kind: "toaster".into(), ..topic }).is_none());
    }
}
