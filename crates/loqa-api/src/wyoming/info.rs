//! The answer to `describe`: which services there are.

use super::codec::Event;
use loqa_hub::Hub;
use loqa_protocol::engine::Capability;
use serde_json::{Value, json};

/// What this hub offers. A service is there when it is configured, also while its engine
/// still starts.
pub(super) fn info(hub: &Hub) -> Event {
    let config = hub.config();
    let spoken = vec![config.text("stt.language").to_owned()];
    let nodes = hub.nodes();
    let capabilities: Vec<&Capability> = nodes.iter().flat_map(|node| &node.capabilities).collect();
    let find = |kind: &str| capabilities.iter().find(|it| it.name.starts_with(kind)).copied();
    let is_configured = |kind: &str| hub.capabilities().iter().any(|name| name.starts_with(kind));
    let languages = |it: Option<&Capability>| {
        it.map(|it| it.languages.clone()).filter(|languages| !languages.is_empty()).unwrap_or(spoken.clone())
    };

    let asr = is_configured("stt.").then(|| {
        let model = find("stt.");
        let name = model.map_or(config.text("stt.model"), |it| &it.model);
        let model = with(artifact(name, "Speech recognition of Loqa"), json!({"languages": languages(model)}));
        let more = json!({"models": [model], "supports_transcript_streaming": false});
        with(artifact("loqa", "Loqa on this machine"), more)
    });
    let tts = is_configured("tts.").then(|| {
        let model = find("tts.");
        let mut names = model.map(|it| it.voices.clone()).unwrap_or_default();
        if names.is_empty() {
            names.push("default".to_owned());
        }
        let voices: Vec<Value> = names
            .iter()
            .map(|name| with(artifact(name, "Voice of Loqa"), json!({"languages": languages(model)})))
            .collect();
        let more = json!({"voices": voices, "supports_synthesize_streaming": true});
        with(artifact("loqa", "Loqa on this machine"), more)
    });
    let model = with(artifact("loqa", "Skills and language model of Loqa"), json!({"languages": spoken}));
    let more = json!({"models": [model], "supports_handled_streaming": false, "supports_home_control": true});
    let handle = with(artifact("loqa", "Loqa on this machine"), more);

    Event::new(
        "info",
        json!({
            "asr": asr.into_iter().collect::<Vec<_>>(),
            "tts": tts.into_iter().collect::<Vec<_>>(),
            "handle": [handle],
            "intent": [], "wake": [], "mic": [], "snd": [],
        }),
    )
}

/// What every artifact says of itself.
fn artifact(name: &str, description: &str) -> Value {
    json!({
        "name": name,
        "attribution": {"name": "Loqa", "url": ""},
        "installed": true,
        "description": description,
        "version": env!("CARGO_PKG_VERSION"),
    })
}

fn with(mut object: Value, more: Value) -> Value {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}
