//! Talking, as the shell uses it: a stand-in of the same shape as `loqa-talk`.

use loqa_hub::{Hub, SinkFactory};
use loqa_protocol::SessionId;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::broadcast;

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TalkEvent {
    Opened,
    Closed,
    Held,
    LetGo,
    Level { level: f32 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TalkPhase {
    Offline,
    Muted,
    Idle,
    Listening,
    Thinking,
    Speaking,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TalkSnapshot {
    pub phase: TalkPhase,
    pub is_muted: bool,
    pub is_held: bool,
    pub session: Option<SessionId>,
    pub microphone: Option<&'static str>,
    pub speaker: Option<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
pub struct DeviceList {
    microphones: Vec<()>,
}

#[derive(Clone)]
pub struct Loudspeaker;

impl Loudspeaker {
    pub fn start(_speaker: Option<String>) -> anyhow::Result<Self> {
        Ok(Self)
    }
    pub fn factory(&self) -> SinkFactory {
        Arc::new(|| loqa_hub::sink::AudioSink::memory().0)
    }
}

pub struct TalkOptions {
    pub microphone: Option<String>,
    pub loudspeaker: Loudspeaker,
}

#[derive(Clone)]
pub struct Talk {
    events: broadcast::Sender<TalkEvent>,
}

impl Talk {
    pub fn start(_hub: Arc<Hub>, _options: TalkOptions) -> anyhow::Result<Self> {
        Ok(Self { events: broadcast::channel(16).0 })
    }
    pub fn press(&self) {
        let _ = self.events.send(TalkEvent::Held);
    }
    pub fn release(&self) {
        let _ = self.events.send(TalkEvent::LetGo);
    }
    pub fn cancel(&self) {}
    pub fn mute(&self, _on: bool) {}
    pub fn text(&self, _text: String, _speak: bool) {}
    pub fn fresh(&self) {}
    pub fn listen_levels(&self, _on: bool) {}
    pub fn try_speaker(&self) {}
    pub fn devices(&self) -> DeviceList {
        DeviceList { microphones: Vec::new() }
    }
    pub fn choose(&self, _microphone: Option<String>, _speaker: Option<String>) {}
    pub fn snapshot(&self) -> TalkSnapshot {
        TalkSnapshot {
            phase: TalkPhase::Idle,
            is_muted: false,
            is_held: false,
            session: None,
            microphone: None,
            speaker: None,
        }
    }
    pub fn events(&self) -> broadcast::Receiver<TalkEvent> {
        self.events.subscribe()
    }
    pub async fn stop(&self) {}
}
