//! Chat templates from the model file. The model is a small base model with a template
//! written into its file: its words mean nothing, its prompts are real.

use crate::kit::{answer, request, stories_with_template, timer_tools, tool};
use loqa_llm::decode::LoadOptions;
use loqa_llm::local::LocalModel;
use loqa_protocol::ErrorCode;
use loqa_protocol::llm::Role;
use serde_json::json;

fn load(template: &str) -> LocalModel {
    let folder = tempfile::tempdir().unwrap();
    LocalModel::load(&stories_with_template(folder.path(), template), LoadOptions::default()).unwrap()
}

const PLAIN: &str =
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content.strip() }}\n{% endfor %}[assistant] ";

#[test]
fn the_template_of_the_file_makes_the_prompt() {
    let mut model = load(PLAIN);
    assert!(model.header().has_chat_template);
    let short = answer(&mut model, &request(&[(Role::User, "hi")], &[])).unwrap().done.unwrap();
    let padded = answer(&mut model, &request(&[(Role::User, "   hi   ")], &[])).unwrap().done.unwrap();
    assert_eq!(short.prompt_tokens, padded.prompt_tokens, "the template strips");
    assert!(short.prompt_tokens > 10, "roles are part of the prompt: {short:?}");
}

#[test]
fn system_and_tools_are_computed_once_for_all_sessions() {
    let mut model = load(PLAIN);
    let system = "You are a helpful little story teller.";
    let tools = [tool("lamp.set", json!({"type": "object", "properties": {"on": {"type": "boolean"}}}))];
    let mut ask = |text: &str, tools: &[_]| {
        let mut asked = request(&[(Role::System, system), (Role::User, text)], tools);
        asked.max_tokens = 4;
        answer(&mut model, &asked).unwrap().done.unwrap()
    };
    let first = ask("One day a cat sat on the mat.", &tools);
    assert_eq!(first.cached_tokens, 0);
    // Another session with the same beginning, then one without tools, then the first kind again.
    let second = ask("The red ball is big.", &tools);
    assert!(second.cached_tokens * 2 > second.prompt_tokens, "{second:?}");
    let bare = ask("The red ball is big.", &[]);
    assert!(bare.cached_tokens < bare.prompt_tokens, "{bare:?}");
    let third = ask("Tom had a toy car.", &tools);
    assert!(third.cached_tokens >= second.cached_tokens - 4, "from the snapshot: {third:?} after {second:?}");
}

#[test]
fn a_template_that_shows_tools_is_given_them() {
    let tagged = "{{ bos_token }}{% if tools %}<tools>{% for t in tools %}{{ t | tojson }}{% endfor %}</tools> use <tool_call>{% endif %}\
        {% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}";
    let mut model = load(tagged);
    let mut asked = request(&[(Role::User, "hi")], &timer_tools()[..1]);
    asked.max_tokens = 1;
    let shown = answer(&mut model, &asked).unwrap().done.unwrap().prompt_tokens;
    asked.tools.clear();
    let hidden = answer(&mut model, &asked).unwrap().done.unwrap().prompt_tokens;
    assert!(shown > hidden + 50, "{shown} with the tool, {hidden} without");
}

#[test]
fn a_template_that_knows_two_roles_is_met_halfway() {
    let strict = "{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}\
        {{ raise_exception('roles must alternate') }}{% endif %}<{{ m.role }}> {{ m.content }} {% endfor %}";
    let mut model = load(strict);
    let chat = [
        (Role::System, "Be brief."),
        (Role::User, "hi"),
        (Role::Assistant, "hello"),
        (Role::Tool, "{}"),
        (Role::User, "and"),
    ];
    answer(&mut model, &request(&chat, &[])).unwrap();
    let failure = answer(&mut model, &request(&[(Role::Assistant, "hello")], &[])).expect_err("nothing helps here");
    assert_eq!(failure.code, ErrorCode::EngineFault);
    assert!(failure.message.contains("roles must alternate"), "{failure}");
}

#[test]
fn a_template_that_cannot_be_read_is_the_files_fault() {
    let folder = tempfile::tempdir().unwrap();
    let path = stories_with_template(folder.path(), "{% for m in messages %}{{ m.content }");
    let failure = LocalModel::load(&path, LoadOptions::default()).err().expect("refused");
    assert_eq!(failure.code, ErrorCode::ModelInvalid);
    assert!(failure.message.contains("chat template"), "{failure}");
}
