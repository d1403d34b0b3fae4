//! The smart-home bridge's manifest with a program that does whatever its tools are asked
//! to, once the gate lets it: what counts here is the gate.

use crate::stage::World;
use loqa_protocol::skill::{HostAnswer, HostCall, SkillAnswer, SkillCall};
use loqa_protocol::{ErrorCode, ToolOutcome};
use loqa_skills::grants::{Grantor, Lifetime};
use loqa_skills::native::{NativeCode, NativeFault, NativeProgram};
use loqa_skills::{CallControl, Permission, Scope, SkillHost};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

const NAME: &str = "smart-home";

struct Program {
    host: Weak<SkillHost>,
    world: Arc<World>,
}

/// Adds it, with every permission granted for as long as the gate grants it.
pub fn add(skills: &Arc<SkillHost>, folder: &Path, world: &Arc<World>) {
    let folder = folder.join(NAME);
    std::fs::create_dir_all(&folder).unwrap();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../skills/smart-home/skill.yaml");
    std::fs::copy(manifest, folder.join("skill.yaml")).unwrap();
    std::fs::write(folder.join(format!("{NAME}{}", std::env::consts::EXE_SUFFIX)), "a stand-in").unwrap();
    let code = NativeCode::read(&folder).unwrap();
    let program = Program { host: Arc::downgrade(skills), world: Arc::clone(world) };
    skills.add_native(&code, Arc::new(program), Some(Grantor::Bundled)).unwrap();
    for permission in [Permission::NativeExec, Permission::DeviceControl] {
        skills.grant_for(NAME, permission, &Scope::default(), Lifetime::Always, Grantor::Operator).unwrap();
    }
}

/// What a tool does to which device; `None` for one that only tells.
fn effect(tool: &str) -> Option<(&str, &'static str, bool)> {
    let verb = tool.strip_prefix("smart-home.")?;
    Some(match verb {
        "get_temperature" | "state" | "what_is_on" => return None,
        "set_temperature" => (verb, "climate.living", false),
        "close" => (verb, "cover.left", false),
        "open" | "set_position" => (verb, "cover.garage", true),
        "lock" | "unlock" => (verb, "lock.front", verb == "unlock"),
        "scene" => (verb, "scene.evening", false),
        _ => (verb, "light.kitchen", false),
    })
}

impl NativeProgram for Program {
    fn ask(&self, call: &SkillCall, _: &CallControl) -> Result<SkillAnswer, NativeFault> {
        let SkillCall::Tool { call, tool, .. } = call else { return Ok(SkillAnswer::Pong) };
        let done = || SkillAnswer::Done { outcome: ToolOutcome { say: "Done.".to_owned(), data: Value::Null } };
        let Some((operation, entity, critical)) = effect(tool) else { return Ok(done()) };
        let arguments = json!({ "operation": operation, "entity": entity, "data": null, "critical": critical });
        let host_call = HostCall { call: Some(call.clone()), function: "device".to_owned(), arguments };
        Ok(match self.host.upgrade().unwrap().native_host_call(NAME, &host_call) {
            HostAnswer::Ok(_) => {
                self.world.push(format!("bridge {operation} {entity}"));
                done()
            }
            HostAnswer::Error { message, .. } => SkillAnswer::Failed { code: ErrorCode::PermissionDenied, message },
        })
    }

    fn tell(&self, _: &SkillCall) {}

    fn secret(&self, _: &str, _: &str) -> Option<String> {
        None
    }

    fn resolve(&self, _: &str, _: Duration) -> Option<Vec<IpAddr>> {
        None
    }

    fn sandbox(&self) -> String {
        "It is a part of the test.".to_owned()
    }

    fn start(&self) {}

    fn is_started(&self) -> bool {
        true
    }

    fn end(&self) {}
}
