//! The checks on a request and on a finished call that every backend shares.

use crate::decode::failure;
use crate::schema::Schema;
use loqa_protocol::llm::LlmRequest;
use loqa_protocol::{ErrorCode, Failure, ToolCall, ToolSpec};
use serde_json::Value;

/// Most tools in one request. Chosen: grammar and prompt of more would not fit small models.
const MAX_TOOLS: usize = 128;

/// Refuses what no backend could answer.
pub fn check_request(request: &LlmRequest) -> Result<(), Failure> {
    let bad = |text: String| Err(failure(ErrorCode::BadRequest, text));
    if request.messages.is_empty() {
        return bad("the chat has no messages".into());
    }
    if request.max_tokens == 0 {
        return bad("`max_tokens` is 0, nothing could be answered".into());
    }
    if request.tools.len() > MAX_TOOLS {
        return bad(format!("{} tools are offered, at most {MAX_TOOLS} are allowed", request.tools.len()));
    }
    Ok(())
}

/// Reads the schemas of the offered tools; what is not supported is named.
pub fn read(tools: &[ToolSpec]) -> Result<Vec<(&ToolSpec, Schema)>, Failure> {
    let bad = |text: String| failure(ErrorCode::BadRequest, text);
    let mut read: Vec<(&ToolSpec, Schema)> = Vec::with_capacity(tools.len());
    for tool in tools {
        let printable = tool.name.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\');
        if !printable || !(1..=64).contains(&tool.name.len()) {
            return Err(bad(format!("`{}` cannot be the name of a tool", tool.name.escape_debug())));
        }
        if read.iter().any(|(other, _)| other.name == tool.name) {
            return Err(bad(format!("the tool `{}` is offered twice", tool.name)));
        }
        let schema = Schema::of_tool(&tool.name, &tool.parameters).map_err(|error| bad(error.to_string()))?;
        read.push((tool, schema));
    }
    Ok(read)
}

/// Lets a call through only when its tool is offered and its arguments fit.
pub fn check_call(tools: &[(&ToolSpec, Schema)], call: ToolCall) -> Result<ToolCall, Failure> {
    let Some((_, schema)) = tools.iter().find(|(tool, _)| tool.name == call.name) else {
        return Err(failure(ErrorCode::ToolUnknown, "the model called a tool that is not offered"));
    };
    let ToolCall { name, arguments } = call;
    let arguments = Value::Object(arguments);
    schema.check(&name, &arguments).map_err(|misfit| {
        failure(ErrorCode::ToolArguments, format!("the model called a tool with arguments that do not fit: {misfit}"))
    })?;
    match arguments {
        Value::Object(arguments) => Ok(ToolCall { name, arguments }),
        _ => Err(failure(ErrorCode::EngineFault, "the arguments of a call were no object")),
    }
}
