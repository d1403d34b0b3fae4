//! Native skills: programs of their own, called over the bus. What they want from the
//! host passes the same gate as a host call of a WASM module, with the skill as actor.
//!
//! Deliberately absent: processes, sandboxes and the bus. The hub brings them in through
//! [`NativeProgram`]; here is decided what a program may ask for.

mod call;
mod order;

use crate::SkillError;
use crate::authorize::{Actor, Reach, Reason, Request, Usage};
use crate::control::CallControl;
use crate::grants::{GrantError, Grantor, code_digest};
use crate::host::SkillHost;
use crate::manifest::{self, Manifest, Runtime, SandboxProfile};
use crate::permission::Permission;
use crate::skill::{SkillInfo, SkillState, read_bounded};
use crate::taint::Taint;
use call::{FaultCount, NativeCall, Unasked};
use loqa_audit::{Outcome, Status};
use loqa_protocol::id::CallId;
use loqa_protocol::skill::{SkillAnswer, SkillCall};
use loqa_protocol::{PrivacyScope, SessionId, TurnId};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Largest program in bytes. Chosen: ten times the bundled one with debug information.
pub const MAX_PROGRAM_BYTES: usize = 512 * 1024 * 1024;
/// Time for what the host does around a start, apart from asking the person.
const START_BUDGET: Duration = Duration::from_secs(10);

/// A running program, as the skill host needs it. Every method may block, none for ever.
pub trait NativeProgram: Send + Sync {
    /// Carries a message to the program and waits for the answer, until `control` says stop.
    fn ask(&self, call: &SkillCall, control: &CallControl) -> Result<SkillAnswer, NativeFault>;
    /// Tells the program something, without waiting for an answer.
    fn tell(&self, call: &SkillCall);
    /// A secret that the user has set for this name and origin.
    fn secret(&self, name: &str, origin: &str) -> Option<String>;
    /// Addresses of a host. `None` when the user has not named an origin on that host for
    /// this skill; an empty list when the name leads nowhere.
    fn resolve(&self, host: &str, limit: Duration) -> Option<Vec<IpAddr>>;
    /// What the system will hold it back from, in plain words for the person who is asked.
    fn sandbox(&self) -> String;
    /// Has it started and kept running. Idempotent; does not wait until it is up.
    fn start(&self);
    /// Whether [`Self::start`] was the last word about it.
    fn is_started(&self) -> bool;
    /// Takes its identity away and ends it, at once. Idempotent.
    fn end(&self);
}

/// Why a program brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NativeFault {
    /// It does not run, or is just being started.
    #[error("is not running")]
    Gone,
    /// [`CallControl::stopped`] says why.
    #[error("was stopped")]
    Stopped,
    /// It answered with nonsense.
    #[error("answered with something else than an answer")]
    Nonsense,
}

/// The code of a native skill, read once: what was hashed is what has to run.
#[derive(Debug)]
pub struct NativeCode {
    /// Its manifest.
    pub manifest: Arc<Manifest>,
    /// Where it lies.
    pub folder: PathBuf,
    /// The program's file.
    pub path: PathBuf,
    /// The program's bytes.
    pub program: Vec<u8>,
    /// SHA-256 of the program, in hex.
    pub sha256: String,
    /// What grants bind to.
    pub digest: String,
}

impl NativeCode {
    /// Whether the skill in `folder` is a native one. A folder without a readable
    /// manifest is none: loading it tells what is wrong.
    #[must_use]
    pub fn is_in(folder: &Path) -> bool {
        let path = folder.join(manifest::FILE_NAME);
        read_bounded(&path, manifest::MAX_BYTES)
            .ok()
            .and_then(|bytes| Manifest::parse(&path, &bytes).ok())
            .is_some_and(|manifest| matches!(manifest.runtime, Runtime::Native { .. }))
    }

    /// Reads manifest and program.
    ///
    /// # Errors
    /// A file cannot be read, the manifest has faults, or it is of another kind.
    pub fn read(folder: &Path) -> Result<Self, SkillError> {
        Self::read_from(folder, None)
    }

    /// The same, with the program in another folder: those that come with Loqa lie with
    /// its other programs.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_from(folder: &Path, programs: Option<&Path>) -> Result<Self, SkillError> {
        let path = folder.join(manifest::FILE_NAME);
        let manifest_bytes = read_bounded(&path, manifest::MAX_BYTES)?;
        let manifest = Manifest::parse(&path, &manifest_bytes)?;
        let file = format!("{}{}", manifest.module, std::env::consts::EXE_SUFFIX);
        let program_path = programs.unwrap_or(folder).join(file);
        if manifest.runtime == Runtime::Wasm {
            let reason = "is a WASM module, no program".to_owned();
            return Err(SkillError::Module { skill: manifest.name, path: program_path, reason });
        }
        let program = read_bounded(&program_path, MAX_PROGRAM_BYTES)?;
        Ok(Self {
            sha256: hex::encode(Sha256::digest(&program)),
            digest: code_digest(&manifest_bytes, &program),
            manifest: Arc::new(manifest),
            folder: folder.to_owned(),
            path: program_path,
            program,
        })
    }

    /// What the manifest says that the system should let it do.
    #[must_use]
    pub fn sandbox(&self) -> SandboxProfile {
        match self.manifest.runtime {
            Runtime::Native { sandbox } => sandbox,
            // `read` lets no other kind through; the narrowest is right for a mistake.
            Runtime::Wasm => SandboxProfile::Offline,
        }
    }
}

/// One native skill of a host.
pub(crate) struct NativeSkill {
    pub(crate) manifest: Arc<Manifest>,
    sha256: String,
    pub(crate) digest: String,
    is_bundled: bool,
    program: Arc<dyn NativeProgram>,
    /// Held while the person is asked whether it may start.
    starting: Mutex<()>,
    calls: Mutex<BTreeMap<CallId, Arc<Mutex<NativeCall>>>>,
    unasked: Mutex<Unasked>,
    faults: Mutex<FaultCount>,
    is_suspended: AtomicBool,
}

impl NativeSkill {
    pub(crate) fn info(&self) -> SkillInfo {
        let state = if self.is_suspended.load(Ordering::Relaxed) { SkillState::Suspended } else { SkillState::Enabled };
        SkillInfo::of(&self.manifest, &self.sha256, state)
    }

    fn calls(&self) -> MutexGuard<'_, BTreeMap<CallId, Arc<Mutex<NativeCall>>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SkillHost {
    /// Adds a native skill in place of one of the same name; its program is started
    /// by [`Self::start_native`] or by its first call.
    /// With `by`, what it asks for of T0 and T1 counts as granted by them, as for [`Self::load`].
    ///
    /// # Errors
    /// The grants cannot be written.
    pub fn add_native(
        &self,
        code: &NativeCode,
        program: Arc<dyn NativeProgram>,
        by: Option<Grantor>,
    ) -> Result<SkillInfo, GrantError> {
        let name = code.manifest.name.clone();
        if let Some(by) = by {
            self.grants().grant_at_install(&code.manifest, &code.digest, None, &|_| true, by)?;
        }
        let skill = Arc::new(NativeSkill {
            manifest: Arc::clone(&code.manifest),
            sha256: code.sha256.clone(),
            digest: code.digest.clone(),
            is_bundled: by == Some(Grantor::Bundled),
            program,
            starting: Mutex::default(),
            calls: Mutex::default(),
            unasked: Mutex::default(),
            faults: Mutex::default(),
            is_suspended: AtomicBool::new(false),
        });
        let info = skill.info();
        tracing::info!(skill = info.name, version = info.version, program = info.module_sha256, "native skill added");
        self.natives.write().unwrap_or_else(PoisonError::into_inner).insert(name, skill);
        Ok(info)
    }

    /// Starts a native skill's program, if it is allowed to run. Blocks while the person
    /// is asked. A program that runs already is left alone.
    ///
    /// # Errors
    /// Why it may not run.
    pub fn start_native(&self, name: &str) -> Result<(), Reason> {
        let skill = self.native(name).ok_or(Reason::NotDeclared)?;
        self.start_program(&skill, None, CallControl::lasting(START_BUDGET))
    }

    /// The same for a call that needs the program; its clock stands still meanwhile.
    fn start_program(
        &self,
        skill: &NativeSkill,
        turn: Option<(SessionId, TurnId)>,
        control: CallControl,
    ) -> Result<(), Reason> {
        // One question at a time; whoever comes second finds it answered.
        let _starting = skill.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if skill.program.is_started() {
            return Ok(());
        }
        let Runtime::Native { sandbox: profile } = skill.manifest.runtime else { return Err(Reason::NotDeclared) };
        let actor = self.native_actor(skill, turn, control);
        let authorized = self.shared.gate.authorize(&Request {
            actor: &actor,
            declared: &skill.manifest.permissions,
            operation: "start_program",
            permission: Permission::NativeExec,
            usage: Usage {
                profile: Some(profile.as_str()),
                arguments: Some(&skill.program.sandbox()),
                ..Usage::default()
            },
            reach: Reach::Outside,
            taint: &Taint::user(),
            now_ms: self.shared.clock.wall_ms(),
        })?;
        skill.program.start();
        authorized.finish(Outcome::of(Status::Ok));
        Ok(())
    }

    /// Ends a native skill's program and forgets the skill. An unknown name is no error.
    pub fn remove_native(&self, name: &str) {
        let skill = self.natives.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        if let Some(skill) = skill {
            skill.program.end();
        }
    }

    pub(crate) fn native(&self, name: &str) -> Option<Arc<NativeSkill>> {
        self.natives.read().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }

    pub(crate) fn all_natives(&self) -> Vec<Arc<NativeSkill>> {
        self.natives.read().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }

    /// Ends the program of a skill that lost `native:exec`, or everything. Hang it on
    /// [`crate::grants::Grants::on_end`]; what is running loses its program in mid-call.
    pub fn end_native_without(&self, name: &str, permission: Option<Permission>) {
        if permission.is_none_or(|permission| permission == Permission::NativeExec)
            && let Some(skill) = self.native(name)
        {
            skill.program.end();
        }
    }

    fn native_actor(&self, skill: &NativeSkill, turn: Option<(SessionId, TurnId)>, control: CallControl) -> Actor {
        Actor {
            skill: skill.manifest.name.clone(),
            version: skill.manifest.version.to_string(),
            title: skill.manifest.title.clone(),
            module: skill.sha256.clone(),
            digest: skill.digest.clone(),
            invocation: self.next_invocation(),
            turn,
            scope: PrivacyScope::Persistent,
            since: self.shared.gate.revocations(),
            control,
        }
    }
}
