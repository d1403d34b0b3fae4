//! The skills: which there are, what they may do, switching them, trying them without
//! consequences, and what each of them did.

use crate::audit::{AuditRows, page};
use crate::extract::{ApiJson, ApiPath, ApiQuery, tagged};
use crate::limits::{LONG, Within};
use crate::problem::{ApiResult, Problem, blocking};
use crate::sessions::check_limit;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use loqa_audit::Filter;
use loqa_hub::skills::bundled;
use loqa_protocol::client::{SkillRow, SkillRunState};
use loqa_protocol::{ErrorCode, Failure, ToolCall, ToolOutcome, ToolSpec};
use loqa_skills::installed::{Index, InstalledError, InstalledSkill, NotLoaded, Switch};
use loqa_skills::permission::Requested;
use loqa_skills::upgrade::Decision;
use loqa_skills::{Clock as _, Installed, Manifest, SystemClock, dry_run, sheet};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Every skill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Skills {
    /// Bundled ones first, then by name.
    pub skills: Vec<Skill>,
}

/// One skill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Skill {
    /// Its name.
    pub name: String,
    /// Its title, in the author's words; empty while it is not loaded.
    pub title: String,
    /// The version in use.
    pub version: String,
    /// Where it comes from.
    pub source: SkillSource,
    /// Whether it is to be loaded.
    pub enabled: bool,
    /// Whether it takes calls.
    pub state: SkillStatus,
    /// Why it could not be loaded.
    pub problem: Option<String>,
    /// Public key of the publisher, in hex; of installed ones that are signed.
    pub publisher: Option<String>,
    /// Digest of all contents, in hex; of installed ones.
    pub digest: Option<String>,
    /// When it was installed, in milliseconds since the Unix epoch.
    pub installed_at_ms: Option<i64>,
    /// The version before, for a rollback.
    pub previous: Option<String>,
    /// A version that waits for an answer.
    pub staged: Option<String>,
    /// Names of its tools.
    pub tools: Vec<String>,
}

/// Where a skill comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkillSource {
    /// Part of Loqa.
    Bundled,
    /// Installed by the user.
    Installed,
    /// Loaded from the folder in which it is being written.
    Development,
}

/// Whether a skill takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkillStatus {
    /// It does.
    Enabled,
    /// It failed too often and does not.
    Suspended,
    /// It is not loaded.
    NotLoaded,
}

/// One skill with what it may do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SkillDetail {
    /// The skill.
    pub skill: Skill,
    /// Its permission sheet: what it asks for.
    pub permissions: Vec<PermissionLine>,
    /// The tools that it offers while it is loaded.
    pub tools: Vec<ToolSpec>,
    /// Of a version that waits: what the user has to agree to.
    pub staged: Option<StagedVersion>,
}

/// A version that waits for an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StagedVersion {
    /// Its version.
    pub version: String,
    /// Digest of its contents, in hex; an agreement names it.
    pub digest: String,
    /// How it differs from the version in use, in the host's words.
    pub differences: Vec<String>,
    /// What it asks for.
    pub permissions: Vec<PermissionLine>,
}

/// One line of a permission sheet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PermissionLine {
    /// Name of the permission.
    pub permission: String,
    /// `T0` to `T4`, with this scope.
    pub tier: String,
    /// What it lets a skill do, in the host's words.
    pub sentence: String,
    /// How far, as the manifest wrote it.
    pub scope: Map<String, Value>,
    /// Why, in the author's words: escape it, never style it.
    pub reason: String,
}

/// The permission sheet of these permissions.
pub(crate) fn permission_lines(requested: &[Requested]) -> Vec<PermissionLine> {
    let line = |line: sheet::Line| PermissionLine {
        permission: line.permission.to_owned(),
        tier: line.tier.to_owned(),
        sentence: line.sentence.to_owned(),
        scope: line.scope,
        reason: line.reason,
    };
    sheet::lines(requested).into_iter().map(line).collect()
}

/// An agreement to the version that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// Its digest, as it was shown.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub digest: String,
}

/// What a skill is tried with: a text for its own utterances, or a call of a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DryRunRequest {
    /// Say this to the skill's own utterances.
    #[serde(default)]
    #[schema(max_length = 2000)]
    pub text: Option<String>,
    /// Call this tool.
    #[serde(default)]
    pub tool: Option<String>,
    /// Arguments of the tool.
    #[serde(default)]
    pub arguments: Map<String, Value>,
    /// Answer what reaches outside with a stand-in, instead of refusing it.
    #[serde(default)]
    pub simulate: bool,
}

/// What a skill would have done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DryRunReport {
    /// The tool that was called.
    pub trigger: String,
    /// Every host call, in order.
    pub steps: Vec<DryRunStep>,
    /// What the skill replied.
    pub outcome: Option<ToolOutcome>,
    /// Why it did not.
    pub failure: Option<Failure>,
}

/// One host call of a dry run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DryRunStep {
    /// The host function.
    pub function: String,
    /// What it would do, in a line.
    pub what: String,
    /// Its arguments as the skill gave them, or null where they are no JSON.
    pub arguments: Value,
    /// The permission that it needs.
    pub permission: String,
    /// `T0` to `T4`.
    pub tier: String,
    /// When that permission is granted.
    pub grant: String,
    /// `granted` where the gate would let it through once it is granted, else why not.
    pub decision: String,
    /// Whether it would reach outside of the skill.
    pub outside: bool,
}

/// Which part of a skill's history.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CallsQuery {
    /// Most rows; 50 when it is left out.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next` of the page before; the newest rows when it is left out.
    #[param(pattern = "^r[0-9a-f]{1,16}$")]
    pub after: Option<String>,
}

pub(crate) fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(info, remove))
        .routes(routes!(enable))
        .routes(routes!(disable))
        .routes(routes!(roll_back))
        .routes(routes!(accept))
        .routes(routes!(calls))
        .routes(routes!(try_out))
}

pub(crate) fn problem_of(error: InstalledError) -> Problem {
    let code = match &error {
        InstalledError::NotInstalled(_) => ErrorCode::NotFound,
        InstalledError::AlreadyInstalled(_) | InstalledError::NoVersion { .. } => ErrorCode::Conflict,
        InstalledError::Package(_) => ErrorCode::BadRequest,
        InstalledError::Busy => ErrorCode::RateLimited,
        InstalledError::Io { .. } | InstalledError::Damaged { .. } => ErrorCode::StorageFault,
    };
    Problem::new(code, error.to_string())
}

pub(crate) fn installed(state: &AppState) -> Installed {
    Installed::in_data(&state.hub.paths().data)
}

pub(crate) fn now_ms() -> i64 {
    SystemClock.wall_ms()
}

/// What is bundled, installed and loaded, seen together.
struct Overview {
    bundled: Vec<(Manifest, PathBuf)>,
    index: Index,
    loaded: Vec<SkillRow>,
    titles: Vec<(String, String)>,
    not_loaded: Vec<NotLoaded>,
}

impl Overview {
    fn of(state: &AppState) -> ApiResult<Self> {
        let skills = state.hub.skills();
        Ok(Self {
            bundled: bundled(state.hub.paths()),
            index: installed(state).index().map_err(problem_of)?,
            loaded: skills.rows(),
            titles: skills.host().skills().into_iter().map(|skill| (skill.name, skill.title)).collect(),
            not_loaded: skills.not_loaded(),
        })
    }

    fn status(&self, name: &str) -> SkillStatus {
        match self.loaded.iter().find(|row| row.name == name).map(|row| row.state) {
            Some(SkillRunState::Enabled) => SkillStatus::Enabled,
            Some(SkillRunState::Suspended) => SkillStatus::Suspended,
            None => SkillStatus::NotLoaded,
        }
    }

    fn title(&self, name: &str) -> String {
        self.titles.iter().find(|(known, _)| known == name).map(|(_, title)| title.clone()).unwrap_or_default()
    }

    fn rows(&self) -> Vec<Skill> {
        let is_dev = |name: &str| self.loaded.iter().any(|row| row.dev && row.name == name);
        let bundled = self.bundled.iter().map(|(manifest, _)| manifest).filter(|manifest| !is_dev(&manifest.name));
        let installed = self.index.skills.iter().filter(|(name, _)| !is_dev(name));
        let developed = self.loaded.iter().filter(|row| row.dev);
        bundled
            .map(|manifest| self.of_bundled(manifest))
            .chain(installed.map(|(name, skill)| self.of_installed(name, skill)))
            .chain(developed.map(|row| self.of_developed(row)))
            .collect()
    }

    fn of_bundled(&self, manifest: &Manifest) -> Skill {
        Skill {
            title: manifest.title.clone(),
            version: manifest.version.to_string(),
            tools: manifest.tools.iter().map(|tool| tool.name.clone()).collect(),
            ..self.bare(&manifest.name, SkillSource::Bundled)
        }
    }

    fn of_installed(&self, name: &str, skill: &InstalledSkill) -> Skill {
        let current = &skill.current;
        Skill {
            version: current.version.to_string(),
            enabled: skill.state == Switch::Enabled,
            problem: self.not_loaded.iter().find(|fault| fault.name == name).map(|fault| fault.reason.clone()),
            publisher: current.publisher.clone(),
            digest: Some(current.digest.clone()),
            installed_at_ms: Some(current.installed_at_ms),
            previous: skill.previous.as_ref().map(|version| version.version.to_string()),
            staged: skill.staged.as_ref().map(|version| version.version.to_string()),
            tools: current.tools.keys().cloned().collect(),
            ..self.bare(name, SkillSource::Installed)
        }
    }

    fn of_developed(&self, row: &SkillRow) -> Skill {
        Skill {
            version: row.version.clone(),
            tools: row.tools.clone(),
            ..self.bare(&row.name, SkillSource::Development)
        }
    }

    fn bare(&self, name: &str, source: SkillSource) -> Skill {
        Skill {
            name: name.to_owned(),
            title: self.title(name),
            version: String::new(),
            source,
            enabled: true,
            state: self.status(name),
            problem: None,
            publisher: None,
            digest: None,
            installed_at_ms: None,
            previous: None,
            staged: None,
            tools: Vec::new(),
        }
    }
}

fn no_skill() -> Problem {
    Problem::not_found("there is no such skill; `/v1/skills` lists those that are")
}

pub(crate) fn detail(state: &AppState, name: &str) -> ApiResult<SkillDetail> {
    let overview = Overview::of(state)?;
    let skill = overview.rows().into_iter().find(|skill| skill.name == name).ok_or_else(no_skill)?;
    let installed_skill = overview.index.skills.get(name);
    let requested = match (overview.bundled.iter().find(|(manifest, _)| manifest.name == name), installed_skill) {
        (Some((manifest, _)), _) => manifest.permissions.clone(),
        (None, Some(installed)) => installed.current.requested(),
        (None, None) => Vec::new(),
    };
    let staged = match installed_skill.and_then(|skill| skill.staged.as_ref()) {
        Some(version) => {
            let (_, decision) = installed(state).consider_staged(name).map_err(problem_of)?;
            let differences = match decision {
                Decision::Ask(differences) => differences.iter().map(ToString::to_string).collect(),
                Decision::Refuse(refusal) => vec![refusal.to_string()],
                Decision::Same | Decision::Replace => Vec::new(),
            };
            Some(StagedVersion {
                version: version.version.to_string(),
                digest: version.digest.clone(),
                differences,
                permissions: permission_lines(&version.requested()),
            })
        }
        None => None,
    };
    let tools = state.hub.tools().into_iter().filter(|tool| skill.tools.contains(&tool.name)).collect();
    Ok(SkillDetail { skill, permissions: permission_lines(&requested), tools, staged })
}

/// Has the hub look again, then shows the skill.
pub(crate) fn reloaded(state: &AppState, name: &str) -> ApiResult<SkillDetail> {
    state.hub.skills().reload().map_err(problem_of)?;
    detail(state, name)
}

/// Only installed skills can be changed; tells why another one cannot.
fn must_be_installed(state: &AppState, name: &str) -> ApiResult<()> {
    let skill = Overview::of(state)?.rows().into_iter().find(|skill| skill.name == name).ok_or_else(no_skill)?;
    match skill.source {
        SkillSource::Installed => Ok(()),
        SkillSource::Bundled => Err(Problem::new(
            ErrorCode::Conflict,
            "the skill is part of Loqa; leave it out of `paths.skills` to be without it",
        )),
        SkillSource::Development => {
            Err(Problem::new(ErrorCode::Conflict, "the skill is being written; leave it out of `skills.dev`"))
        }
    }
}

/// List the skills
#[utoipa::path(get, path = "/v1/skills", tag = "skills",
    responses((status = 200, body = Skills, headers(("ETag" = String))), (status = 304)))]
async fn list(State(state): State<Arc<AppState>>, headers: HeaderMap) -> ApiResult<Response> {
    let skills = blocking(move || Ok(Skills { skills: Overview::of(&state)?.rows() })).await?;
    tagged(&headers, &skills)
}

/// Show a skill and what it may do
#[utoipa::path(get, path = "/v1/skills/{name}", tag = "skills", params(("name" = String, Path)),
    responses((status = 200, body = SkillDetail)))]
async fn info(State(state): State<Arc<AppState>>, ApiPath(name): ApiPath<String>) -> ApiResult<Json<SkillDetail>> {
    blocking(move || detail(&state, &name).map(Json)).await
}

async fn switch(state: Arc<AppState>, name: String, to: Switch) -> ApiResult<Json<SkillDetail>> {
    blocking(move || {
        must_be_installed(&state, &name)?;
        installed(&state).switch(&name, to, now_ms()).map_err(problem_of)?;
        reloaded(&state, &name).map(Json)
    })
    .await
}

/// Have an installed skill loaded
#[utoipa::path(post, path = "/v1/skills/{name}/enable", tag = "skills", params(("name" = String, Path)),
    responses((status = 200, body = SkillDetail)))]
async fn enable(State(state): State<Arc<AppState>>, ApiPath(name): ApiPath<String>) -> ApiResult<Json<SkillDetail>> {
    switch(state, name, Switch::Enabled).await
}

/// Keep an installed skill, but do not load it
#[utoipa::path(post, path = "/v1/skills/{name}/disable", tag = "skills", params(("name" = String, Path)),
    responses((status = 200, body = SkillDetail)))]
async fn disable(State(state): State<Arc<AppState>>, ApiPath(name): ApiPath<String>) -> ApiResult<Json<SkillDetail>> {
    switch(state, name, Switch::Disabled).await
}

/// Return to the version before
#[utoipa::path(post, path = "/v1/skills/{name}/rollback", tag = "skills", params(("name" = String, Path)),
    responses((status = 200, body = SkillDetail)))]
async fn roll_back(State(state): State<Arc<AppState>>, ApiPath(name): ApiPath<String>) -> ApiResult<Json<SkillDetail>> {
    blocking(move || {
        must_be_installed(&state, &name)?;
        installed(&state).roll_back(&name, now_ms()).map_err(problem_of)?;
        reloaded(&state, &name).map(Json)
    })
    .await
}

/// Agree to the version that waits, and use it
#[utoipa::path(post, path = "/v1/skills/{name}/upgrade", tag = "skills", params(("name" = String, Path)),
    request_body = Agreement, responses((status = 200, body = SkillDetail)))]
async fn accept(
    State(state): State<Arc<AppState>>,
    ApiPath(name): ApiPath<String>,
    ApiJson(Agreement { digest }): ApiJson<Agreement>,
) -> ApiResult<Json<SkillDetail>> {
    blocking(move || {
        must_be_installed(&state, &name)?;
        let store = installed(&state);
        let (_, decision) = store.consider_staged(&name).map_err(problem_of)?;
        if let Decision::Refuse(refusal) = decision {
            return Err(Problem::new(ErrorCode::Conflict, refusal.to_string()));
        }
        store.accept_staged(&name, &digest, now_ms()).map_err(problem_of)?;
        reloaded(&state, &name).map(Json)
    })
    .await
}

/// Remove an installed skill, its files and what it has kept
#[utoipa::path(delete, path = "/v1/skills/{name}", tag = "skills", params(("name" = String, Path)),
    responses((status = 204)))]
async fn remove(State(state): State<Arc<AppState>>, ApiPath(name): ApiPath<String>) -> ApiResult<StatusCode> {
    blocking(move || {
        must_be_installed(&state, &name)?;
        installed(&state).remove(&name, now_ms()).map_err(problem_of)?;
        state.hub.skills().reload().map_err(problem_of)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// List what a skill did: the rows of the audit in which it acts
#[utoipa::path(get, path = "/v1/skills/{name}/calls", tag = "skills", params(("name" = String, Path), CallsQuery),
    responses((status = 200, body = AuditRows)))]
async fn calls(
    State(state): State<Arc<AppState>>,
    ApiPath(name): ApiPath<String>,
    ApiQuery(CallsQuery { limit, after }): ApiQuery<CallsQuery>,
) -> ApiResult<Json<AuditRows>> {
    check_limit(limit)?;
    let before = crate::audit::before(after.as_deref())?;
    let _turn = state.limits.heavy().await?;
    blocking(move || {
        Overview::of(&state)?.rows().iter().find(|skill| skill.name == name).ok_or_else(no_skill)?;
        page(&state, Filter { actor: Some(name), before, ..Filter::default() }, limit).map(Json)
    })
    .await
}

/// Run a skill without its acting on anything
///
/// It sees a copy of what it keeps; what it writes is gone afterwards.
#[utoipa::path(post, path = "/v1/skills/{name}/dry-run", tag = "skills", params(("name" = String, Path)),
    request_body = DryRunRequest, responses((status = 200, body = DryRunReport)))]
async fn try_out(
    _time: Within<LONG>,
    State(state): State<Arc<AppState>>,
    ApiPath(name): ApiPath<String>,
    ApiJson(request): ApiJson<DryRunRequest>,
) -> ApiResult<Json<DryRunReport>> {
    let _turn = state.limits.heavy().await?;
    blocking(move || {
        let overview = Overview::of(&state)?;
        let folder = match (
            overview.bundled.iter().find(|(manifest, _)| manifest.name == name),
            overview.index.skills.get(&name),
        ) {
            (Some((_, folder)), _) => folder.clone(),
            (None, Some(skill)) => installed(&state).folder(&name, &skill.current),
            (None, None) => return Err(no_skill()),
        };
        let input = match (request.text, request.tool) {
            (Some(text), None) if request.arguments.is_empty() => {
                crate::turns::check_text(&text)?;
                dry_run::Input::Text(text)
            }
            (None, Some(name)) => dry_run::Input::Tool(ToolCall { name, arguments: request.arguments }),
            _ => return Err(Problem::bad_request("give either `text`, or `tool` with its `arguments`")),
        };
        let outside = if request.simulate { dry_run::Outside::Simulated } else { dry_run::Outside::Refused };
        let data = state.hub.paths().data.clone();
        let run = dry_run::DryRun::open(&folder, Some(&data), Arc::new(SystemClock), outside)
            .map_err(|e| Problem::new(ErrorCode::SkillFault, e.to_string()))?;
        let report = serde_json::to_value(run.run(&input)).and_then(serde_json::from_value);
        report.map(Json).map_err(|e| Problem::new(ErrorCode::HubFault, e.to_string()))
    })
    .await
}
