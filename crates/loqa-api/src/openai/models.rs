//! What can be asked for by name: `loqa` for everything, and the engines' models.

use super::Shared;
use super::error::OpenAiError;
use axum::Json;
use axum::extract::{Path, State};
use loqa_hub::Hub;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The whole assistant; also stands for the recogniser and the voice that are configured.
pub(super) const LOQA: &str = "loqa";
/// Names that programs send which cannot be told another one.
const HEARS: &[&str] = &["whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"];
const SPEAKS: &[&str] = &["tts-1", "tts-1-hd", "gpt-4o-mini-tts"];

pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let models: Vec<Value> = all(&shared.hub).iter().map(|id| model(id)).collect();
    Json(json!({"object": "list", "data": models}))
}

pub(super) async fn retrieve(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, OpenAiError> {
    let all = all(&shared.hub);
    if all.contains(&id) { Ok(Json(model(&id))) } else { Err(OpenAiError::no_such_model(&id, &listed(&all))) }
}

/// Whether a recogniser may be asked for by this name.
pub(super) fn hears(hub: &Hub, model: &str) -> Result<(), OpenAiError> {
    known(hub, "stt.", HEARS, model)
}

/// Whether a voice may be asked for by this name.
pub(super) fn speaks(hub: &Hub, model: &str) -> Result<(), OpenAiError> {
    known(hub, "tts.", SPEAKS, model)
}

/// Whether the assistant may be asked for by this name.
pub(super) fn chats(model: &str) -> Result<(), OpenAiError> {
    if model == LOQA { Ok(()) } else { Err(OpenAiError::no_such_model(model, LOQA)) }
}

fn known(hub: &Hub, kind: &str, aliases: &[&str], model: &str) -> Result<(), OpenAiError> {
    let mut there_are = engines(hub, kind);
    there_are.insert(LOQA.to_owned());
    if there_are.contains(model) || aliases.contains(&model) {
        return Ok(());
    }
    Err(OpenAiError::no_such_model(model, &listed(&there_are)))
}

fn all(hub: &Hub) -> BTreeSet<String> {
    let mut all = engines(hub, "stt.");
    all.extend(engines(hub, "tts."));
    all.insert(LOQA.to_owned());
    all
}

/// Models of the engines of one kind.
fn engines(hub: &Hub, kind: &str) -> BTreeSet<String> {
    let nodes = hub.nodes();
    let capabilities = nodes.iter().flat_map(|node| &node.capabilities);
    capabilities.filter(|it| it.name.starts_with(kind)).map(|it| it.model.clone()).collect()
}

fn listed(models: &BTreeSet<String>) -> String {
    models.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn model(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": 0, "owned_by": "loqa"})
}
