// PROVISIONAL until docs/openapi.json is there.
type Json = Record<string, unknown>;
export type ErrorCode = "protocol_mismatch"|"engine_missing"|"engine_lost"|"engine_busy"|"engine_fault"|"deadline_exceeded"|"cancelled"|"bad_request"|"bad_audio"|"audio_too_long"|"text_too_long"|"no_speech"|"not_understood"|"model_invalid"|"tool_unknown"|"tool_arguments"|"permission_denied"|"skill_fault"|"bus_unavailable"|"storage_fault"|"shutting_down"|"unauthorized"|"forbidden"|"not_found"|"conflict"|"rate_limited"|"too_large"|"hub_fault";
export interface Problem { type: string; title: string; status: number; detail: string; code: ErrorCode; retry_after?: number | null }
export type Hop = "input"|"stt"|"plan"|"llm"|"skill"|"tts"|"output"|"hub";
export interface Failure { hop: Hop; code: ErrorCode; message: string }
export type TurnClass = "intent"|"reflex"|"llm"|"cached"|"none";
export type TurnSource = "push_to_talk"|"hands_free"|"text";
export type TurnEnd = "completed"|"cancelled"|"failed";
export type PrivacyScope = "ephemeral"|"session"|"persistent";
export interface ToolCall { name: string; arguments: Json }
export interface LatencySplit { total: number; endpoint: number; stt_tail: number; plan: number; skill: number; llm_first_token: number; first_clause: number; tts_first_chunk: number; bus: number; output: number }
export type PlannedBy = { by: "intent"; template: string; leftover: string } | { by: "model"; capability: string };
export type TurnEvent =
  | { type: "turn_started"; source: TurnSource } | { type: "speech_started" } | { type: "speech_ended"; audio_ms: number }
  | { type: "transcript_partial"; text: string } | { type: "transcript_final"; text: string; confidence: number }
  | { type: "intent_matched"; call: ToolCall; template: string; leftover: string }
  | { type: "reply_started"; capability: string; degraded: boolean } | { type: "reply_delta"; text: string }
  | { type: "tool_called"; call: ToolCall; planned_by: PlannedBy } | { type: "tool_returned"; name: string; say: string }
  | { type: "tool_denied"; name: string; failure: Failure } | { type: "speaking_started"; text: string }
  | { type: "first_sound" } | { type: "speaking_finished" } | { type: "degraded"; failure: Failure }
  | { type: "turn_failed"; failure: Failure } | { type: "turn_ended"; end: TurnEnd; class: TurnClass; latency_ms?: LatencySplit | null };
export interface TimedEvent { session: string; turn: string; seq: number; at_us: number; event: TurnEvent }
export interface EventRow { turn: string; seq: number; at_us: number; wall_ms: number; event: TurnEvent }
export interface SessionRow { session: string; scope: PrivacyScope; started_ms: number; last_ms: number; ended_ms?: number | null; turns: number; recordings: number; title: string }
export interface TurnRow { turn: string; session: string; started_ms: number; ended_ms?: number | null; source?: TurnSource | null; end?: TurnEnd | null; class?: TurnClass | null; transcript: string; confidence?: number | null; reply: string; capability?: string | null; tool?: ToolCall | null; failure?: Failure | null; latency_ms?: LatencySplit | null; recording: boolean }
export interface Hit { session: string; turn: string; at_ms: number; transcript: string; reply: string; snippet: string }
export interface LatencyRow { session: string; turn: string; at_ms: number; class: TurnClass; latency_ms: LatencySplit }
export interface Counts { sessions: number; turns: number }
export interface Erased { before: Counts; after: Counts; turns_sha256: string; file_sha256?: string | null; files: string[] }
export interface Paged_SessionRow { items: SessionRow[]; next?: string | null }
export interface Paged_TurnRow { items: TurnRow[]; next?: string | null }
export interface Paged_Hit { items: Hit[]; next?: string | null }
export interface Events { events: EventRow[] }
export interface TurnReport { session: string; turn: string; transcript: string; class: TurnClass; tool?: ToolCall | null; reply: string; latency_ms?: LatencySplit | null; failure?: Failure | null }
export interface AuditHealth { failing?: string | null; waiting: number; lost: number }
export interface Status { version: string; pid: number; uptime_ms: number; capabilities: string[]; ready: string[]; skills: string[]; open_prompts: number; audit: AuditHealth }
export type SkillSource = "bundled"|"installed"|"development";
export type SkillStatus = "enabled"|"suspended"|"not_loaded";
export interface Skill { name: string; title: string; version: string; source: SkillSource; enabled: boolean; state: SkillStatus; problem?: string | null; publisher?: string | null; digest?: string | null; installed_at_ms?: number | null; previous?: string | null; staged?: string | null; tools: string[] }
export interface Skills { skills: Skill[] }
export interface PermissionLine { permission: string; tier: string; sentence: string; scope: Json; reason: string }
export interface StagedVersion { version: string; digest: string; differences: string[]; permissions: PermissionLine[] }
export interface ToolSpec { name: string; description: string; parameters: unknown }
export interface SkillDetail { skill: Skill; permissions: PermissionLine[]; tools: ToolSpec[]; staged?: StagedVersion | null }
export interface Agreement { digest: string }
export interface DryRunRequest { text?: string | null; tool?: string | null; arguments?: Json; simulate?: boolean }
export interface DryRunStep { function: string; what: string; arguments: unknown; permission: string; tier: string; grant: string; decision: string; outside: boolean }
export interface ToolOutcome { say: string; data?: unknown }
export interface DryRunReport { trigger: string; steps: DryRunStep[]; outcome?: ToolOutcome | null; failure?: Failure | null }
export type PackageAction = "install"|"upgrade"|"nothing"|"refuse";
export interface PackageSheet { digest: string; name: string; version: string; title: string; description: string; author: string; license: string; publisher?: string | null; tools: string[]; permissions: PermissionLine[]; action: PackageAction; differences: string[]; refusal?: string | null; consent: string }
export interface GrantInfo { id: string; skill: string; digest: string; publisher?: string | null; permission: string; tier: string; scope: Json; lifetime: string; session?: string | null; granted_at_ms: number; last_used_ms: number; granted_by: string; ended?: string | null }
export interface GrantList { grants: GrantInfo[] }
export type GrantLifetime = "once"|"session"|"always"|"never";
export interface NewGrant { skill: string; permission: string; scope?: Json; lifetime: GrantLifetime; session?: string | null }
export interface Revocation { skill: string; permission?: string | null }
export interface Prompt { id: string; skill: string; title: string; version: string; digest: string; permission: string; tier: string; occasion: string; operation: string; target: string; reason: string; scope: Json; taint: string[]; session?: string | null; turn?: string | null; answers: string[]; expires_ms: number }
export interface Prompts { prompts: Prompt[] }
export interface PromptAnswer { answer: string }
export interface AuditRow { seq: number; prev: string; hash: string; record: Json }
export interface AuditRows { rows: AuditRow[]; next?: string | null }
export interface AuditContents { state: string; value: unknown }
export interface AuditShown { row: AuditRow; contents: AuditContents; before?: AuditRow | null; after?: AuditRow | null; outcome?: AuditRow | null; sealed_by?: number | null }
export interface AuditFault { row: number; check: string; why: string }
export interface AuditReport { ok: boolean; bad?: AuditFault | null; rows: number; first: number; last: number; sealed: number; checkpoints: number; open: number[]; key: string; key_known: boolean }
export interface AuditCheckpoint { checkpoint: unknown }
export type EgressSpan = "hour"|"day";
export interface EgressSum { from_ms?: number | null; actor: string; origin: string; times: number; bytes: number }
export interface Egress { egress: EgressSum[]; bytes: number }
export interface PartFigures { part: string; turns: number; p50: number; p95: number; p99: number; max: number }
export interface ClassFigures { class: TurnClass; parts: PartFigures[] }
export interface Latency { hardware: string; over: "run"|"window"; classes: ClassFigures[] }
export interface LatencyTurns { turns: LatencyRow[] }
export type EngineKind = "stt"|"llm"|"tts";
export type ModelState = "installed"|"absent"|"incomplete"|"unpinned";
export interface Model { name: string; title: string; kind: EngineKind; capability: string; quantisation: string; languages: string[]; ram_mb: number; licence: string; licence_note: string; source: string; bundled: boolean; bytes: number; state: ModelState; in_use: boolean }
export interface Models { models: Model[] }
export interface Capability { name: string; model: string; quantisation: string; languages: string[]; sample_rate: number; voices: string[]; measured_speed: number }
export type NodeState = "starting"|"ready"|"draining"|"dead";
export interface NodeInfo { instance: string; kind: EngineKind; program: string; node: string; pid: number; state: NodeState; capabilities: Capability[]; busy: number; rss_bytes: number; last_seen_ms: number }
export interface Nodes { nodes: NodeInfo[] }
export type WhenApplied = "now"|"restart"|"file_only";
export interface Setting { key: string; value: unknown; origin: string; next?: unknown; allowed: string; meaning: string; applies: WhenApplied; overridden_by?: string | null }
export interface Settings { settings: Setting[] }
export interface SettingChange { value: unknown }
export type Playback = "immediate"|"reported";
export type TalkRequest = { type: "start"; session?: string | null; speak?: boolean; playback?: Playback } | { type: "end" } | { type: "text"; text: string; session?: string | null; speak?: boolean; playback?: Playback } | { type: "cancel" } | { type: "barge_in" } | { type: "played" };
export type TalkMessage = { type: "started"; session: string; turn: string } | { type: "event"; event: TimedEvent } | { type: "audio"; sample_rate: number } | { type: "audio_end" } | { type: "audio_stop" } | { type: "report"; report: TurnReport } | { type: "problem"; problem: Problem } | { type: "dropped"; count: number };
export type Live = { type: "turn"; event: TimedEvent } | { type: "prompt_shown"; prompt: Prompt } | { type: "prompt_over"; prompt: string; answer: string } | { type: "notice"; skill: string; text: string } | { type: "dropped"; count: number };
export interface Operations {
  "GET /v1/status": { path: {}; query: {}; body: undefined; answer: Status };
  "POST /v1/login": { path: {}; query: {}; body: { code: string }; answer: undefined };
  "DELETE /v1/login": { path: {}; query: {}; body: undefined; answer: undefined };
  "GET /v1/sessions": { path: {}; query: { limit?: number; after?: string }; body: undefined; answer: Paged_SessionRow };
  "GET /v1/sessions/{session}": { path: { session: string }; query: {}; body: undefined; answer: SessionRow };
  "DELETE /v1/sessions/{session}": { path: { session: string }; query: {}; body: undefined; answer: Erased };
  "GET /v1/sessions/{session}/turns": { path: { session: string }; query: { limit?: number; after?: string }; body: undefined; answer: Paged_TurnRow };
  "GET /v1/turns/{turn}": { path: { turn: string }; query: {}; body: undefined; answer: TurnRow };
  "GET /v1/turns/{turn}/events": { path: { turn: string }; query: {}; body: undefined; answer: Events };
  "GET /v1/search": { path: {}; query: { q: string; limit?: number; after?: string }; body: undefined; answer: Paged_Hit };
  "GET /v1/skills": { path: {}; query: {}; body: undefined; answer: Skills };
  "GET /v1/skills/{name}": { path: { name: string }; query: {}; body: undefined; answer: SkillDetail };
  "DELETE /v1/skills/{name}": { path: { name: string }; query: {}; body: undefined; answer: undefined };
  "POST /v1/skills/{name}/enable": { path: { name: string }; query: {}; body: undefined; answer: SkillDetail };
  "POST /v1/skills/{name}/disable": { path: { name: string }; query: {}; body: undefined; answer: SkillDetail };
  "POST /v1/skills/{name}/rollback": { path: { name: string }; query: {}; body: undefined; answer: SkillDetail };
  "POST /v1/skills/{name}/upgrade": { path: { name: string }; query: {}; body: Agreement; answer: SkillDetail };
  "GET /v1/skills/{name}/calls": { path: { name: string }; query: { limit?: number; after?: string }; body: undefined; answer: AuditRows };
  "POST /v1/skills/{name}/dry-run": { path: { name: string }; query: {}; body: DryRunRequest; answer: DryRunReport };
  "POST /v1/packages": { path: {}; query: {}; body: Blob; answer: PackageSheet };
  "DELETE /v1/packages/{digest}": { path: { digest: string }; query: {}; body: undefined; answer: undefined };
  "POST /v1/packages/{digest}/install": { path: { digest: string }; query: {}; body: { consent: string }; answer: SkillDetail };
  "GET /v1/grants": { path: {}; query: { skill?: string; all?: boolean }; body: undefined; answer: GrantList };
  "POST /v1/grants": { path: {}; query: {}; body: NewGrant; answer: GrantList };
  "POST /v1/grants/revoke": { path: {}; query: {}; body: Revocation; answer: GrantList };
  "GET /v1/prompts": { path: {}; query: {}; body: undefined; answer: Prompts };
  "POST /v1/prompts/{prompt}/answer": { path: { prompt: string }; query: {}; body: PromptAnswer; answer: undefined };
  "GET /v1/audit": { path: {}; query: { actor?: string; kind?: string; permission?: string; decision?: string; session?: string; since_ms?: number; until_ms?: number; text?: string; limit?: number; after?: string }; body: undefined; answer: AuditRows };
  "GET /v1/audit/rows/{seq}": { path: { seq: number }; query: {}; body: undefined; answer: AuditShown };
  "GET /v1/audit/verify": { path: {}; query: {}; body: undefined; answer: AuditReport };
  "POST /v1/audit/checkpoint": { path: {}; query: {}; body: undefined; answer: AuditCheckpoint };
  "GET /v1/audit/egress": { path: {}; query: { since_ms?: number; until_ms?: number; by?: EgressSpan }; body: undefined; answer: Egress };
  "GET /v1/latency": { path: {}; query: { since_ms?: number; until_ms?: number }; body: undefined; answer: Latency };
  "GET /v1/latency/turns": { path: {}; query: { since_ms?: number; until_ms?: number; limit?: number }; body: undefined; answer: LatencyTurns };
  "GET /v1/models": { path: {}; query: {}; body: undefined; answer: Models };
  "GET /v1/nodes": { path: {}; query: {}; body: undefined; answer: Nodes };
  "GET /v1/settings": { path: {}; query: {}; body: undefined; answer: Settings };
  "PUT /v1/settings/{key}": { path: { key: string }; query: {}; body: SettingChange; answer: Setting };
  "DELETE /v1/settings/{key}": { path: { key: string }; query: {}; body: undefined; answer: Setting };
}
