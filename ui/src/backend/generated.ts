// Generated from docs/openapi.json by `npm run ui:client`; never edited by hand.

/** An agreement to the version that waits. */
export interface Agreement {
  /** Its digest, as it was shown. */
  digest: string;
}

/** A signed statement about the record's end, to be kept elsewhere. */
export interface AuditCheckpoint {
  /** Statement and signature, as `docs/audit.md` describes them. */
  checkpoint: unknown;
}

/** Contents of a row. */
export interface AuditContents {
  /** `none`, `withheld`, `too_long`, `erased`, `kept`, or `changed` when they are not those that the row commits to. */
  state: string;
  /** The contents where they are kept, `null` otherwise. */
  value: unknown;
}

/** The first thing that is wrong with the record. */
export interface AuditFault {
  /** The row. */
  row: number;
  /** What was checked. */
  check: string;
  /** What is wrong. */
  why: string;
}

/** Whether the audit can be written. */
export interface AuditHealth {
  /** Why rows cannot be written, `null` while they can. Nothing that needs the record is done meanwhile. */
  failing?: string | null;
  /** Rows that wait to be written. */
  waiting: number;
  /** Rows that were dropped because too many waited; none is a row that somebody waited for. */
  lost: number;
}

/** What a check of the record found. */
export interface AuditReport {
  /** Whether nothing is wrong. */
  ok: boolean;
  bad?: AuditFault | null;
  /** Rows that were looked at. */
  rows: number;
  /** Number of the first row that is kept. */
  first: number;
  /** Number of the last row. */
  last: number;
  /** The last row that a checkpoint covers. */
  sealed: number;
  /** Checkpoints among the rows. */
  checkpoints: number;
  /** Intents without outcome. */
  open: Array<number>;
  /** Public key of the checkpoints, in hex. */
  key: string;
  /** Whether that key came from elsewhere than the file itself. */
  key_known: boolean;
}

/** One row. */
export interface AuditRow {
  /** Number, from 1, without gaps. */
  seq: number;
  /** Hash of the row before it, in hex. */
  prev: string;
  /** Hash of this row, in hex. */
  hash: string;
  /** The record, see `docs/audit.md`. */
  record: Record<string, unknown>;
}

/** Some rows. */
export interface AuditRows {
  /** The newest first. */
  rows: Array<AuditRow>;
  /** Where the next page begins; absent on the last one. */
  next?: string | null;
}

/** One row with what stands around it. */
export interface AuditShown {
  /** The row. */
  row: AuditRow;
  /** Its contents: arguments, texts. */
  contents: AuditContents;
  before?: AuditRow | null;
  after?: AuditRow | null;
  outcome?: AuditRow | null;
  /** The row of the checkpoint that covers it, if there is one yet. */
  sealed_by?: number | null;
}

/** One thing an engine can do. */
export interface Capability {
  /** `stt.whisper`, `llm.<model>`, `tts.kokoro`: the tail of the work subject. */
  name: string;
  /** Model name as in the catalog. */
  model: string;
  /** Weight format, for example `q8_0`, `f16`, `int8`. */
  quantisation: string;
  /** BCP 47 languages. */
  languages: Array<string>;
  /** Sample rate of the audio it takes or gives; `None` for text only. */
  sample_rate?: number | null;
  /** Voices, for TTS. */
  voices?: Array<string>;
  /** Measured at start on this machine: seconds of audio per second of computing (STT, TTS), or generated tokens per second (LLM). */
  measured_speed: number;
}

/** A tool call before and after. */
export interface ChangedCall {
  before?: ToolCall | null;
  after?: ToolCall | null;
  /** Whether that is the same. */
  same: boolean;
}

/** A failure before and after. */
export interface ChangedFailure {
  before?: Failure | null;
  after?: Failure | null;
  /** Whether both have the same code, or none failed. */
  same: boolean;
}

/** A time before and after. */
export interface ChangedLatency {
  /** As it was recorded, in milliseconds; `null` when it made no sound. */
  before?: number | null;
  /** As it came out this time. */
  after?: number | null;
  /** Whether both made a sound, or none did. */
  same: boolean;
}

/** A text before and after. */
export interface ChangedText {
  /** As it was recorded. */
  before: string;
  /** As it came out this time. */
  after: string;
  /** Whether both have the same words. */
  same: boolean;
}

/** The figures of one class. */
export interface ClassFigures {
  /** How the turns were answered. */
  class: TurnClass;
  /** `total` first, then the nine parts. */
  parts: Array<PartFigures>;
}

/** How many rows of each table, and the size of the file. */
export interface Counts {
  /** Conversations. */
  sessions: number;
  /** Turns. */
  turns: number;
  /** Events. */
  events: number;
  /** Texts that a search looks through. */
  transcripts: number;
  /** Recordings. */
  recordings: number;
  /** Latency splits. */
  latency: number;
  /** Engine processes. */
  nodes: number;
  /** Settings. */
  settings: number;
  /** Bytes of the database and its write-ahead file; 0 in memory. */
  bytes: number;
}

/** What a skill would have done. */
export interface DryRunReport {
  /** The tool that was called. */
  trigger: string;
  /** Every host call, in order. */
  steps: Array<DryRunStep>;
  outcome?: ToolOutcome | null;
  failure?: Failure | null;
}

/** What a skill is tried with: a text for its own utterances, or a call of a tool. */
export interface DryRunRequest {
  /** Say this to the skill's own utterances. */
  text?: string | null;
  /** Call this tool. */
  tool?: string | null;
  /** Arguments of the tool. */
  arguments?: Record<string, unknown>;
  /** Answer what reaches outside with a stand-in, instead of refusing it. */
  simulate?: boolean;
}

/** One host call of a dry run. */
export interface DryRunStep {
  /** The host function. */
  function: string;
  /** What it would do, in a line. */
  what: string;
  /** Its arguments as the skill gave them, or null where they are no JSON. */
  arguments: unknown;
  /** The permission that it needs. */
  permission: string;
  /** `T0` to `T4`. */
  tier: string;
  /** When that permission is granted. */
  grant: string;
  /** `granted` where the gate would let it through once it is granted, else why not. */
  decision: string;
  /** Whether it would reach outside of the skill. */
  outside: boolean;
}

/** What left the machine. */
export interface Egress {
  /** By span, actor and origin. */
  egress: Array<EgressSum>;
  /** All of it. */
  bytes: number;
}

/** What one actor sent to one place. */
export interface EgressSum {
  /** Begin of the span, in milliseconds since the Unix epoch; `null` when not split. */
  from_ms?: number | null;
  /** Who. */
  actor: string;
  /** Where to: scheme, host and port. */
  origin: string;
  /** How often. */
  times: number;
  /** How much. */
  bytes: number;
}

/** What kind of work an engine does. */
export type EngineKind = "stt" | "llm" | "tts";

/** What a deletion took away. */
export interface Erased {
  /** Rows before. */
  before: Counts;
  /** Rows that are left. */
  after: Counts;
  /** SHA-256 over the ids of the turns that went, in hex: says which, and nothing that was said. */
  turns_sha256: string;
  /** SHA-256 of the database file afterwards, in hex; absent in memory. */
  file_sha256?: string | null;
  /** Files beside the database that were removed: backups, damaged ones, the key of recordings. */
  files: Array<string>;
}

/** What went wrong, for programs. The text form (`snake_case`) is stable. */
export type ErrorCode = "protocol_mismatch" | "engine_missing" | "engine_lost" | "engine_busy" | "engine_fault" | "deadline_exceeded" | "cancelled" | "bad_request" | "bad_audio" | "audio_too_long" | "text_too_long" | "no_speech" | "not_understood" | "model_invalid" | "tool_unknown" | "tool_arguments" | "permission_denied" | "skill_fault" | "bus_unavailable" | "storage_fault" | "shutting_down" | "unauthorized" | "forbidden" | "not_found" | "conflict" | "rate_limited" | "too_large" | "hub_fault";

/** An event of a turn. */
export interface EventRow {
  /** Its turn. */
  turn: TurnId;
  /** Counts up from 0 within the turn. */
  seq: number;
  /** Microseconds since the turn started. */
  at_us: number;
  /** Milliseconds since the Unix epoch. */
  wall_ms: number;
  /** What happened. */
  event: TurnEvent;
}

/** The events of a turn. */
export interface Events {
  /** In their order. */
  events: Array<EventRow>;
}

/** A failure as it travels: where, what for programs, what for people. */
export interface Failure {
  /** The hop that failed. */
  hop: Hop;
  /** The code to branch on. */
  code: ErrorCode;
  /** The chain of causes, for people. Never holds what the user said. */
  message: string;
}

/** Whether a model fits into the memory that is free. */
export type Fit = "fits" | "tight" | "too_large";

/** The forecast for one model on one machine. */
export interface Forecast {
  /** Catalog name. */
  name: string;
  /** What `speed` counts. */
  unit: Unit;
  /** How fast it would be. */
  speed: number;
  /** It will hardly be slower. */
  at_least: number;
  /** Nor faster. */
  at_most: number;
  /** Tokens of a prompt that a language model reads in a second; null for others. */
  prompt_tokens_per_second?: number | null;
  /** Memory that the engine would take, in MB. */
  ram_mb: number;
  /** Memory that is free, in MB. */
  ram_free_mb: number;
  /** Whether that is enough. */
  fit: Fit;
  /** Bytes that are still to be fetched. */
  download_bytes: number;
  /** What was measured. */
  machine: Machine;
}

/** One grant, in force or over. */
export interface GrantInfo {
  /** Its name in the audit. */
  id: string;
  /** Name of the skill. */
  skill: string;
  /** SHA-256 of manifest and module that it is for, in hex. */
  digest: string;
  /** Public key of the publisher, in hex. */
  publisher?: string | null;
  /** What it allows. */
  permission: string;
  /** `T0` to `T4`, with this scope. */
  tier: string;
  /** How far. */
  scope: Record<string, unknown>;
  /** `once`, `session`, `always` or `never`. */
  lifetime: string;
  session?: SessionId | null;
  /** When it was given, in milliseconds since the Unix epoch. */
  granted_at_ms: number;
  /** When it was last used, to the day; when it was given, if never. */
  last_used_ms: number;
  /** `install`, `bundled`, `upgrade`, `prompt` or `operator`. */
  granted_by: string;
  /** `revoked`, `expired`, `used`, `session` or `replaced`; `null` while it is in force. */
  ended?: string | null;
}

/** How long a grant lasts. */
export type GrantLifetime = "once" | "session" | "always" | "never";

/** Some grants. */
export interface GrantList {
  /** The grants. */
  grants: Array<GrantInfo>;
}

/** Guest mode, on or off. */
export interface GuestMode {
  /** Whether it is on. */
  guest: boolean;
}

/** Up; a hub that is down does not answer. */
export interface Health {
  /** Whether it is up. */
  up: boolean;
}

/** A turn that a search found. */
export interface Hit {
  /** Its session. */
  session: SessionId;
  /** The turn. */
  turn: TurnId;
  /** When it began, milliseconds since the Unix epoch. */
  at_ms: number;
  /** What was heard or typed. */
  transcript: string;
  /** What was answered. */
  reply: string;
  /** The place that fits, with the words that were searched for in `[` and `]`. */
  snippet: string;
}

/** A stage of a turn. Deadlines, spans, failures and latency parts are named by it. */
export type Hop = "input" | "stt" | "plan" | "llm" | "skill" | "tts" | "output" | "hub";

/** One running engine process. */
export type InstanceId = string;

/** Figures for each class. */
export interface Latency {
  /** The machine that the figures hold for, for example `x86_64-8c-avx2`. */
  hardware: string;
  /** `run`: since the hub started. `window`: turns that are kept and ended in the window. */
  over: LatencyOver;
  /** Classes that had a turn. */
  classes: Array<ClassFigures>;
}

/** Which turns the figures are of. */
export type LatencyOver = "run" | "window";

/** The latency of one turn that made a sound. */
export interface LatencyRow {
  /** Its session. */
  session: SessionId;
  /** The turn. */
  turn: TurnId;
  /** When it ended, milliseconds since the Unix epoch. */
  at_ms: number;
  /** How it was answered; figures of classes are never mixed. */
  class: TurnClass;
  /** The parts in milliseconds. */
  latency_ms: LatencySplit;
}

/** The parts of one turn's latency in milliseconds. `total` is measured on its own clock reading (`t1 - t0`); the nine parts are measured one by one, so that a part nobody accounts for shows as a difference. */
export interface LatencySplit {
  /** End of speech to first sample of the answer at the device. */
  total: number;
  /** End of speech until the hub knows of it. */
  endpoint: number;
  /** End of audio until the final transcript, inside the engine. */
  stt_tail: number;
  /** Intent matching and routing. */
  plan: number;
  /** Tool calls, all of them that came before the first sound. */
  skill: number;
  /** Language model from request to first token or tool call, inside the engine. */
  llm_first_token: number;
  /** First token until a speakable clause was complete. */
  first_clause: number;
  /** Clause until the first audio chunk, inside the engine. */
  tts_first_chunk: number;
  /** Time on the bus: round trips less what the engines report for themselves. */
  bus: number;
  /** First chunk until the first sample at the device, its reported latency included. */
  output: number;
}

/** The last turns. */
export interface LatencyTurns {
  /** The newest first. */
  turns: Array<LatencyRow>;
}

/** A licence that was shown. */
export interface LicenceAgreement {
  /** The licence that the person agrees to: `licence` of the model as it is listed. */
  licence: string;
}

/** One live message. */
export type Live = {
  /** What, and where. */
  event: TimedEvent;
  type: "turn";
} | {
  /** The question. */
  prompt: Prompt;
  type: "prompt_shown";
} | {
  /** Which. */
  prompt: PromptId;
  /** `once`, `session`, `always`, `deny`, `never`, or `unanswered`. */
  answer: string;
  type: "prompt_over";
} | {
  /** Name of the skill. */
  skill: string;
  /** Its text, in the author's words: escape it, never style it. */
  text: string;
  type: "notice";
} | {
  /** How far it is. */
  pull: ModelPull;
  type: "model_pull";
} | {
  /** How many since the last message. */
  count: number;
  type: "dropped";
};

/** A code for a browser. */
export interface LoginCode {
  /** Hand it to the browser behind a `#`, which no server sees and no log keeps. */
  code: string;
  /** Milliseconds until it works no longer. */
  expires_ms: number;
}

/** A code that is handed in. */
export interface LoginRequest {
  /** The code. */
  code: string;
}

/** What was measured of this machine. */
export interface Machine {
  /** Architecture, usable cores, and the vector instructions of the measurement. */
  hardware: string;
  /** Usable cores. */
  cores: number;
  /** Bytes that all cores together read from memory in a second. */
  bytes_per_second: number;
  /** Multiplications and additions of 32-bit numbers that they do in a second. */
  operations_per_second: number;
  /** Memory that there is, in MB. */
  ram_mb: number;
  /** Memory that is free for a new program, in MB. */
  ram_free_mb: number;
}

/** One model. */
export interface Model {
  /** Its name. */
  name: string;
  /** What people call it. */
  title: string;
  /** What it does. */
  kind: EngineKind;
  /** What its engine offers. */
  capability: string;
  /** Weight format. */
  quantisation: string;
  /** BCP 47 languages. */
  languages: Array<string>;
  /** Memory that it takes, in megabytes. */
  ram_mb: number;
  /** Its licence. */
  licence: string;
  /** What else the licence asks for. */
  licence_note: string;
  /** Where it comes from. */
  source: string;
  /** Whether it comes with Loqa. */
  bundled: boolean;
  /** Whether `POST /v1/models/{name}/pull` would have something to fetch. */
  can_pull: boolean;
  /** Size of its files, in bytes. */
  bytes: number;
  /** What is missing of that on this machine, in bytes. */
  missing_bytes: number;
  /** Whether it is on this machine. */
  state: ModelState;
  /** Its place among the models of its kind that this hub uses, from 1; `null` when it does not. */
  tier?: number | null;
}

/** One model that a hub uses. */
export interface ModelInUse {
  /** What it does. */
  kind: EngineKind;
  /** Its place among the models of that kind, from 1. */
  tier: number;
  /** What its engine offers. */
  capability: string;
  /** Its name. */
  model: string;
}

/** How far the fetching of a model is. */
export interface ModelPull {
  /** Its name. */
  name: string;
  /** How far it is. */
  state: PullState;
  /** Bytes of the model that are on the disk. */
  bytes: number;
  /** Bytes of the whole model. */
  total: number;
  problem?: Problem | null;
}

/** Pulls since the hub started. */
export interface ModelPulls {
  /** The last one of each model, the newest last. */
  pulls: Array<ModelPull>;
}

/** What the removal of a model freed. */
export interface ModelRemoved {
  /** Its name. */
  name: string;
  /** Bytes of its files and of what was left of pulls; 0 when nothing was there. */
  removed_bytes: number;
}

/** Whether a model is on this machine. */
export type ModelState = "installed" | "absent" | "incomplete" | "unpinned";

/** Which place a model takes. */
export interface ModelUse {
  /** Its place among the models of its kind, from 1, the best first. Only language models have more than one place; the place after the last adds one. */
  tier: number;
}

/** The catalog. */
export interface Models {
  /** In the order of the catalog. */
  models: Array<Model>;
}

/** The models that a hub uses. */
export interface ModelsInUse {
  /** In the order in which they are asked. */
  models: Array<ModelInUse>;
}

/** A permission for a skill. */
export interface NewGrant {
  /** To which skill. */
  skill: string;
  /** Which permission; the skill's manifest must ask for it. */
  permission: string;
  /** Narrower than the manifest; what is not named is as there. */
  scope?: Record<string, unknown>;
  /** How long. */
  lifetime: GrantLifetime;
  session?: SessionId | null;
}

/** One row of `loqa nodes`. */
export interface NodeInfo {
  /** Which engine. */
  instance: InstanceId;
  /** What kind. */
  kind: EngineKind;
  /** Program and version. */
  program: string;
  /** Machine. */
  node: string;
  /** Process id on that machine. */
  pid: number;
  /** State. */
  state: NodeState;
  /** What it can do. */
  capabilities: Array<Capability>;
  /** Work in progress at the last heartbeat. */
  busy: number;
  /** Resident memory at the last heartbeat, in bytes. */
  rss_bytes: number;
  /** Milliseconds since the last sign of life. */
  last_seen_ms: number;
}

/** State of one engine, as the registry sees it. */
export type NodeState = "starting" | "ready" | "draining" | "dead";

/** Every engine. */
export interface Nodes {
  /** By instance. */
  nodes: Array<NodeInfo>;
}

/** What installing a package would do. */
export type PackageAction = "install" | "upgrade" | "nothing" | "refuse";

/** The person's yes to what a sheet says. */
export interface PackageConsent {
  /** `consent` of the sheet that was shown. */
  consent: string;
}

/** A package that waits, and what installing it would mean. */
export interface PackageSheet {
  /** Digest of its contents, in hex; names the package. */
  digest: string;
  /** Name of the skill. */
  name: string;
  /** Its version. */
  version: string;
  /** Its title, in the author's words. */
  title: string;
  /** What it says of itself, in the author's words. */
  description: string;
  /** Who wrote it, in the author's words. */
  author: string;
  /** Its licence, in the author's words. */
  license: string;
  /** Public key that signed it, in hex; `null` when nothing shows who made it. */
  publisher?: string | null;
  /** Names of its tools. */
  tools: Array<string>;
  /** What it may do once it is installed. */
  permissions: Array<PermissionLine>;
  /** What installing would do. */
  action: PackageAction;
  /** Of an upgrade: how it differs from the version in use, in the host's words. */
  differences: Array<string>;
  /** Why it is not taken. */
  refusal?: string | null;
  /** Stands for all of the above; an answer repeats it. */
  consent: string;
}

/** One page of a list. */
export interface Paged_Hit {
  /** The rows. */
  items: Array<{
    /** Its session. */
    session: SessionId;
    /** The turn. */
    turn: TurnId;
    /** When it began, milliseconds since the Unix epoch. */
    at_ms: number;
    /** What was heard or typed. */
    transcript: string;
    /** What was answered. */
    reply: string;
    /** The place that fits, with the words that were searched for in `[` and `]`. */
    snippet: string;
  }>;
  /** Where the next page begins; absent on the last one. */
  next?: string | null;
}

/** One page of a list. */
export interface Paged_SessionRow {
  /** The rows. */
  items: Array<{
    /** Its id. */
    session: SessionId;
    /** How long it is kept. */
    scope: PrivacyScope;
    /** First event, milliseconds since the Unix epoch. */
    started_ms: number;
    /** Last event, milliseconds since the Unix epoch. */
    last_ms: number;
    /** When the hub closed it; absent while it may go on. */
    ended_ms?: number | null;
    /** How many turns are kept. */
    turns: number;
    /** How many of them have a recording. */
    recordings: number;
    /** What was said first. */
    title: string;
  }>;
  /** Where the next page begins; absent on the last one. */
  next?: string | null;
}

/** One page of a list. */
export interface Paged_TurnRow {
  /** The rows. */
  items: Array<{
    /** Its id. */
    turn: TurnId;
    /** Its session. */
    session: SessionId;
    /** First event, milliseconds since the Unix epoch. */
    started_ms: number;
    /** Last event; absent while the turn runs, and when the hub died in its middle. */
    ended_ms?: number | null;
    source?: TurnSource | null;
    end?: TurnEnd | null;
    class?: TurnClass | null;
    /** What was heard or typed. */
    transcript: string;
    /** 0 to 1; 1 for typed text. */
    confidence?: number | null;
    /** What was answered. */
    reply: string;
    /** Capability of the language model that was asked last, for example `llm.reflex`. */
    capability?: string | null;
    tool?: ToolCall | null;
    failure?: Failure | null;
    latency_ms?: LatencySplit | null;
    /** Whether there is a recording. */
    recording: boolean;
  }>;
  /** Where the next page begins; absent on the last one. */
  next?: string | null;
}

/** Percentiles of one part, in milliseconds. */
export interface PartFigures {
  /** `total`, or a part of the split. */
  part: string;
  /** How many turns. */
  turns: number;
  /** Half of the turns were not slower. */
  p50: number;
  /** 95 of 100. */
  p95: number;
  /** 99 of 100. */
  p99: number;
  /** The slowest. */
  max: number;
}

/** One line of a permission sheet. */
export interface PermissionLine {
  /** Name of the permission. */
  permission: string;
  /** `T0` to `T4`, with this scope. */
  tier: string;
  /** What it lets a skill do, in the host's words. */
  sentence: string;
  /** How far, as the manifest wrote it. */
  scope: Record<string, unknown>;
  /** Why, in the author's words: escape it, never style it. */
  reason: string;
}

/** Who decided what to do. */
export type PlannedBy = {
  /** The template that matched. */
  template: string;
  /** Words that the template did not cover; empty when all were. */
  leftover: string;
  by: "intent";
} | {
  /** Capability of the engine, for example `llm.reflex`. */
  capability: string;
  by: "model";
};

/** Who says when the answer was heard. */
export type Playback = "immediate" | "reported";

/** How long a turn may be remembered, least first. */
export type PrivacyScope = "ephemeral" | "session" | "persistent";

/** What may be remembered. */
export interface PrivacyState {
  /** Whether guest mode is on: nothing is kept. */
  guest: boolean;
  /** How long a turn that begins may be remembered. */
  scope: PrivacyScope;
}

/** What went wrong, for programs and for people. */
export interface Problem {
  /** `urn:loqa:error:<code>`. */
  type: string;
  /** What the code means. */
  title: string;
  /** The status of the answer once more. */
  status: number;
  /** What went wrong here, and what helps. */
  detail: string;
  /** The code to branch on. */
  code: ErrorCode;
  /** Seconds after which to ask again, where waiting helps. */
  retry_after?: number | null;
}

/** A question that is open. Texts of the skill's author are foreign: escape them, never style them. */
export interface Prompt {
  /** Its id. */
  id: PromptId;
  /** Name of the skill. */
  skill: string;
  /** Its title, in the author's words. */
  title: string;
  /** Its version. */
  version: string;
  /** SHA-256 of manifest and module, in hex. */
  digest: string;
  /** The permission. */
  permission: string;
  /** `T1`, `T2` or `T3`. */
  tier: string;
  /** `first_use`, `every_use` or `foreign`. */
  occasion: string;
  /** The host function or operation. */
  operation: string;
  /** What exactly would be done to what. */
  target: string;
  /** Why, in the author's words. */
  reason: string;
  /** How far a lasting answer would reach. */
  scope: Record<string, unknown>;
  /** Where the values come from, by their labels. */
  taint: Array<string>;
  session?: SessionId | null;
  turn?: TurnId | null;
  /** The answers that are taken. */
  answers: Array<string>;
  /** Milliseconds until no answer counts as a no. */
  expires_ms: number;
}

/** The person's answer. */
export interface PromptAnswer {
  /** One of the question's `answers`. */
  answer: string;
}

/** One question to the person. */
export type PromptId = string;

/** The questions that are open. */
export interface Prompts {
  /** The oldest first. */
  prompts: Array<Prompt>;
}

/** What became of a pull. */
export type PullState = "running" | "done" | "failed" | "cancelled";

/** What came out this time. */
export interface ReplayReport {
  /** Turns that were run again. */
  turns: number;
  /** Those that were understood differently: another transcript, tool call or failure. */
  different: number;
  /** By session. */
  sessions: Array<ReplayedSession>;
}

/** Through which models; those that are in use where nothing is said. */
export interface ReplayRequest {
  /** The recogniser, for turns that have a recording. */
  stt?: string | null;
  /** The language model. */
  llm?: string | null;
}

/** A session that was run again. */
export interface ReplayedSession {
  /** What it is called. */
  name: string;
  /** Its id. */
  session: SessionId;
  /** Its turns, in their order, without those of which nothing was understood at the time. */
  turns: Array<ReplayedTurn>;
}

/** A turn that was run again. */
export interface ReplayedTurn {
  /** The recorded turn. */
  turn: TurnId;
  /** Whether it was heard again, or typed. */
  spoken: boolean;
  /** What was heard. */
  transcript: ChangedText;
  /** What was called. */
  tool: ChangedCall;
  /** What was answered. */
  reply: ChangedText;
  /** From the end of speech to the first sound. */
  latency_ms: ChangedLatency;
  /** Why it failed. */
  failure: ChangedFailure;
  /** From the input to the end of the turn, in milliseconds. */
  took_ms: number;
}

/** What is taken away. */
export interface Revocation {
  /** From which skill. */
  skill: string;
  /** Which permission; everything when it is left out. */
  permission?: string | null;
}

/** One conversation: turns that share history. */
export type SessionId = string;

/** A conversation. */
export interface SessionRow {
  /** Its id. */
  session: SessionId;
  /** How long it is kept. */
  scope: PrivacyScope;
  /** First event, milliseconds since the Unix epoch. */
  started_ms: number;
  /** Last event, milliseconds since the Unix epoch. */
  last_ms: number;
  /** When the hub closed it; absent while it may go on. */
  ended_ms?: number | null;
  /** How many turns are kept. */
  turns: number;
  /** How many of them have a recording. */
  recordings: number;
  /** What was said first. */
  title: string;
}

/** One key. */
export interface Setting {
  /** Its name, `section.name`. */
  key: string;
  /** The value in force. */
  value: unknown;
  /** Where that comes from: `default`, a file and line, a variable, `--set`. */
  origin: string;
  /** The value of the next start, where it is another one. */
  next?: unknown;
  /** What it may hold. */
  allowed: string;
  /** What it does. */
  meaning: string;
  /** When a change takes effect. */
  applies: WhenApplied;
  /** What wins over the file, so that a change of the file changes nothing. */
  overridden_by?: string | null;
}

/** A new value. */
export interface SettingChange {
  /** A text, a number, true or false, or a list of texts, as `allowed` says. */
  value: unknown;
}

/** Every key. */
export interface Settings {
  /** By the names of the keys. */
  settings: Array<Setting>;
}

/** One skill. */
export interface Skill {
  /** Its name. */
  name: string;
  /** Its title, in the author's words; empty while it is not loaded. */
  title: string;
  /** The version in use. */
  version: string;
  /** Where it comes from. */
  source: SkillSource;
  /** Whether it is to be loaded. */
  enabled: boolean;
  /** Whether it takes calls. */
  state: SkillStatus;
  /** Why it could not be loaded. */
  problem?: string | null;
  /** Public key of the publisher, in hex; of installed ones that are signed. */
  publisher?: string | null;
  /** Digest of all contents, in hex; of installed ones. */
  digest?: string | null;
  /** When it was installed, in milliseconds since the Unix epoch. */
  installed_at_ms?: number | null;
  /** The version before, for a rollback. */
  previous?: string | null;
  /** A version that waits for an answer. */
  staged?: string | null;
  /** Names of its tools. */
  tools: Array<string>;
}

/** One skill with what it may do. */
export interface SkillDetail {
  /** The skill. */
  skill: Skill;
  /** Its permission sheet: what it asks for. */
  permissions: Array<PermissionLine>;
  /** The tools that it offers while it is loaded. */
  tools: Array<ToolSpec>;
  staged?: StagedVersion | null;
}

/** Where a skill comes from. */
export type SkillSource = "bundled" | "installed" | "development";

/** Whether a skill takes calls. */
export type SkillStatus = "enabled" | "suspended" | "not_loaded";

/** Every skill. */
export interface Skills {
  /** Bundled ones first, then by name. */
  skills: Array<Skill>;
}

/** A version that waits for an answer. */
export interface StagedVersion {
  /** Its version. */
  version: string;
  /** Digest of its contents, in hex; an agreement names it. */
  digest: string;
  /** How it differs from the version in use, in the host's words. */
  differences: Array<string>;
  /** What it asks for. */
  permissions: Array<PermissionLine>;
}

/** How the hub does. */
export interface Status {
  /** Version of Loqa. */
  version: string;
  /** Process id of the hub. */
  pid: number;
  /** Milliseconds since this API started. */
  uptime_ms: number;
  /** Capabilities that are configured, in the order of the engines. */
  capabilities: Array<string>;
  /** Those that an engine offers at the moment. */
  ready: Array<string>;
  /** Names of the skills that are loaded. */
  skills: Array<string>;
  /** Questions to the person that are open. */
  open_prompts: number;
  /** How the audit does. */
  audit: AuditHealth;
}

/** What is remembered, in figures. */
export interface StoreState {
  /** The file; `null` while sessions are in memory only. */
  file?: string | null;
  /** Rows of each table, and the size of the file. */
  counts: Counts;
  /** Why nothing can be written, `null` while it can. */
  failing?: string | null;
  /** Events that were not kept because writing failed or too many waited. */
  lost: number;
  /** What happened at the start that people should know, such as a damaged file that was put aside. */
  notices: Array<string>;
}

/** Hub → client, as text. The sound of the answer comes as binary messages between `audio` and `audio_end` or `audio_stop`: PCM, signed 16 bit little-endian, mono. */
export type TalkMessage = {
  /** Its session. */
  session: SessionId;
  /** The turn. */
  turn: TurnId;
  type: "started";
} | {
  /** What. */
  event: TimedEvent;
  type: "event";
} | {
  /** Samples per second. */
  sample_rate: number;
  type: "audio";
} | {
  type: "audio_end";
} | {
  type: "audio_stop";
} | {
  /** How. */
  report: TurnReport;
  type: "report";
} | {
  /** Why. */
  problem: Problem;
  type: "problem";
} | {
  /** How many. */
  count: number;
  type: "dropped";
};

/** Client → hub, as text. Sound is sent as binary messages: PCM, signed 16 bit little-endian, mono, 16,000 Hz, in pieces of any length up to two seconds. */
export type TalkRequest = {
  session?: SessionId | null;
  /** Whether the answer is spoken. */
  speak?: boolean;
  /** Who says when the answer was heard. */
  playback?: Playback;
  /** Whether nothing of it may be kept, whatever is configured. */
  guest?: boolean;
  /** Whether what is said is kept as a recording, from here on in this session; as configured when it is left out. */
  keep_audio?: boolean | null;
  type: "start";
} | {
  type: "end";
} | {
  /** What is typed. */
  text: string;
  session?: SessionId | null;
  /** Whether the answer is spoken. */
  speak?: boolean;
  /** Who says when the answer was heard. */
  playback?: Playback;
  /** Whether nothing of it may be kept, whatever is configured. */
  guest?: boolean;
  type: "text";
} | {
  type: "cancel";
} | {
  type: "barge_in";
} | {
  type: "played";
};

/** An event with its place in the session. */
export interface TimedEvent {
  /** The session. */
  session: SessionId;
  /** The turn. */
  turn: TurnId;
  /** Counts up from 0 within the turn. */
  seq: number;
  /** Microseconds since the turn started, on the hub's monotonic clock. */
  at_us: number;
  /** What happened. */
  event: TurnEvent;
}

/** A call of a tool, before any check. */
export interface ToolCall {
  /** Name of the tool, as in [`ToolSpec::name`]. */
  name: string;
  /** Arguments by name. */
  arguments?: Record<string, unknown>;
}

/** What calling a tool can do to the world; declared in the manifest. */
export type ToolEffect = "read" | "safe" | "sensitive";

/** What a tool call brought. */
export interface ToolOutcome {
  /** What to say to the user, ready to be spoken. Empty: the planner words it. */
  say?: string;
  /** Data for a language model or an API client. */
  data?: unknown;
}

/** A tool as it is offered to a planner. */
export interface ToolSpec {
  /** `skill.verb`, for example `timer.start`. */
  name: string;
  /** One sentence for a language model. */
  description: string;
  /** JSON Schema of the arguments, always of type `object`. */
  parameters: unknown;
  /** What a call can do. */
  effect: ToolEffect;
}

/** How a turn was answered. Figures are never mixed across classes. */
export type TurnClass = "intent" | "reflex" | "llm" | "cached" | "none";

/** How a turn ended. */
export type TurnEnd = "completed" | "cancelled" | "failed";

/** One thing that happened. */
export type TurnEvent = {
  /** How the user spoke. */
  source: TurnSource;
  type: "turn_started";
} | {
  type: "speech_started";
} | {
  /** Length of the audio. */
  audio_ms: number;
  type: "speech_ended";
} | {
  /** Text so far. */
  text: string;
  type: "transcript_partial";
} | {
  /** The text. */
  text: string;
  /** 0 to 1; 1 for typed text. */
  confidence: number;
  type: "transcript_final";
} | {
  /** The tool to call. */
  call: ToolCall;
  /** The template that fits. */
  template: string;
  /** Words it did not cover. */
  leftover: string;
  type: "intent_matched";
} | {
  /** Capability of the engine. */
  capability: string;
  /** True when an earlier tier failed or was too slow. */
  degraded: boolean;
  type: "reply_started";
} | {
  /** The piece. */
  text: string;
  type: "reply_delta";
} | {
  /** The call. */
  call: ToolCall;
  /** Who decided it. */
  planned_by: PlannedBy;
  type: "tool_called";
} | {
  /** The tool. */
  name: string;
  /** What is said because of it. */
  say: string;
  type: "tool_returned";
} | {
  /** The tool. */
  name: string;
  /** Why. */
  failure: Failure;
  type: "tool_denied";
} | {
  /** The clause. */
  text: string;
  type: "speaking_started";
} | {
  type: "first_sound";
} | {
  type: "speaking_finished";
} | {
  /** What failed. */
  failure: Failure;
  type: "degraded";
} | {
  /** Why. */
  failure: Failure;
  type: "turn_failed";
} | {
  /** How. */
  end: TurnEnd;
  /** Class for the figures. */
  class: TurnClass;
  latency_ms?: LatencySplit | null;
  type: "turn_ended";
};

/** One utterance and everything that answers it. */
export type TurnId = string;

/** A whole turn in one object, for people and scripts. */
export interface TurnReport {
  /** The session. */
  session: SessionId;
  /** The turn. */
  turn: TurnId;
  /** What was heard or typed. */
  transcript: string;
  /** Class for the figures. */
  class: TurnClass;
  tool?: ToolCall | null;
  /** What was answered. */
  reply: string;
  latency_ms?: LatencySplit | null;
  failure?: Failure | null;
}

/** One typed turn. */
export interface TurnRequest {
  /** What is typed. */
  text: string;
  session?: SessionId | null;
  /** Whether the answer is spoken on the hub's own output as well. */
  speak?: boolean;
  /** Whether nothing of it may be kept, whatever is configured. */
  guest?: boolean;
}

/** A turn. */
export interface TurnRow {
  /** Its id. */
  turn: TurnId;
  /** Its session. */
  session: SessionId;
  /** First event, milliseconds since the Unix epoch. */
  started_ms: number;
  /** Last event; absent while the turn runs, and when the hub died in its middle. */
  ended_ms?: number | null;
  source?: TurnSource | null;
  end?: TurnEnd | null;
  class?: TurnClass | null;
  /** What was heard or typed. */
  transcript: string;
  /** 0 to 1; 1 for typed text. */
  confidence?: number | null;
  /** What was answered. */
  reply: string;
  /** Capability of the language model that was asked last, for example `llm.reflex`. */
  capability?: string | null;
  tool?: ToolCall | null;
  failure?: Failure | null;
  latency_ms?: LatencySplit | null;
  /** Whether there is a recording. */
  recording: boolean;
}

/** How the user spoke to Loqa. */
export type TurnSource = "push_to_talk" | "hands_free" | "text";

/** What a speed counts. */
export type Unit = "tokens_per_second" | "times_real_time";

/** When a changed value takes effect. */
export type WhenApplied = "now" | "restart" | "file_only";

/** That everything is to go. */
export interface WipeRequest {
  /** The word `wipe`, so that no other request does this by mistake. */
  confirm: string;
}

/** Every operation, by method and path. */
export interface Operations {
  /** Whether the hub is up */
  "GET /health": {
    path: {};
    query: {};
    body: undefined;
    answer: Health;
  };
  /** List rows of the audit, the newest first */
  "GET /v1/audit": {
    path: {};
    query: { actor?: string; kind?: string; permission?: string; decision?: string; session?: string; since_ms?: number; until_ms?: number; text?: string; limit?: number; after?: string };
    body: undefined;
    answer: AuditRows;
  };
  /** Sign a checkpoint if rows are not covered yet */
  "POST /v1/audit/checkpoint": {
    path: {};
    query: {};
    body: undefined;
    answer: AuditCheckpoint;
  };
  /** Sum up what left the machine */
  "GET /v1/audit/egress": {
    path: {};
    query: { since_ms?: number; until_ms?: number; by?: "hour" | "day" };
    body: undefined;
    answer: Egress;
  };
  /** Export rows, the oldest first */
  "GET /v1/audit/export": {
    path: {};
    query: { format?: "jsonl" | "csv"; contents?: boolean; actor?: string; kind?: string; permission?: string; decision?: string; session?: string; since_ms?: number; until_ms?: number; text?: string };
    body: undefined;
    answer: Blob;
  };
  /** Show one row with its contents, its neighbours and its outcome */
  "GET /v1/audit/rows/{seq}": {
    path: { seq: number };
    query: {};
    body: undefined;
    answer: AuditShown;
  };
  /** Check the chain, the signatures and the outcomes */
  "GET /v1/audit/verify": {
    path: {};
    query: {};
    body: undefined;
    answer: AuditReport;
  };
  /** List what skills may do */
  "GET /v1/grants": {
    path: {};
    query: { skill?: string; all?: boolean };
    body: undefined;
    answer: GrantList;
  };
  /** Let a skill do something that its manifest asks for */
  "POST /v1/grants": {
    path: {};
    query: {};
    body: NewGrant;
    answer: GrantList;
  };
  /** Take a permission away, also from a call that is running */
  "POST /v1/grants/revoke": {
    path: {};
    query: {};
    body: Revocation;
    answer: GrantList;
  };
  /** Percentiles of the latency by class and part */
  "GET /v1/latency": {
    path: {};
    query: { since_ms?: number; until_ms?: number };
    body: undefined;
    answer: Latency;
  };
  /** The last turns with the parts of each, for a waterfall */
  "GET /v1/latency/turns": {
    path: {};
    query: { since_ms?: number; until_ms?: number; limit?: number };
    body: undefined;
    answer: LatencyTurns;
  };
  /** Log in with a code */
  "POST /v1/login": {
    path: {};
    query: {};
    body: LoginRequest;
    answer: undefined;
  };
  /** Log out */
  "DELETE /v1/login": {
    path: {};
    query: {};
    body: undefined;
    answer: undefined;
  };
  /** Make a code with which a browser logs in */
  "POST /v1/login/codes": {
    path: {};
    query: {};
    body: undefined;
    answer: LoginCode;
  };
  /** List the models of the catalog */
  "GET /v1/models": {
    path: {};
    query: {};
    body: undefined;
    answer: Models;
  };
  /** List the pulls since the hub started */
  "GET /v1/models/pulls": {
    path: {};
    query: {};
    body: undefined;
    answer: ModelPulls;
  };
  /** Remove the files of a fetched model, and what is left of pulls */
  "DELETE /v1/models/{name}": {
    path: { name: string };
    query: {};
    body: undefined;
    answer: ModelRemoved;
  };
  /** Say how fast a model would be on this machine, and whether it fits */
  "GET /v1/models/{name}/forecast": {
    path: { name: string };
    query: {};
    body: undefined;
    answer: Forecast;
  };
  /** Fetch a model */
  "POST /v1/models/{name}/pull": {
    path: { name: string };
    query: {};
    body: LicenceAgreement;
    answer: ModelPull;
  };
  /** Stop fetching a model */
  "DELETE /v1/models/{name}/pull": {
    path: { name: string };
    query: {};
    body: undefined;
    answer: ModelPull;
  };
  /** Put a model to use, without a restart */
  "POST /v1/models/{name}/use": {
    path: { name: string };
    query: {};
    body: ModelUse;
    answer: ModelsInUse;
  };
  /** List the engines */
  "GET /v1/nodes": {
    path: {};
    query: {};
    body: undefined;
    answer: Nodes;
  };
  /** Upload a package and see its permission sheet */
  "POST /v1/packages": {
    path: {};
    query: {};
    body: Blob;
    answer: PackageSheet;
  };
  /** See the permission sheet of a package that waits */
  "GET /v1/packages/{digest}": {
    path: { digest: string };
    query: {};
    body: undefined;
    answer: PackageSheet;
  };
  /** Forget a package that waits */
  "DELETE /v1/packages/{digest}": {
    path: { digest: string };
    query: {};
    body: undefined;
    answer: undefined;
  };
  /** Install or upgrade, with a yes to the sheet that was shown */
  "POST /v1/packages/{digest}/install": {
    path: { digest: string };
    query: {};
    body: PackageConsent;
    answer: SkillDetail;
  };
  /** Show what may be remembered */
  "GET /v1/privacy": {
    path: {};
    query: {};
    body: undefined;
    answer: PrivacyState;
  };
  /** Turn guest mode on or off, from the next turn on */
  "PUT /v1/privacy": {
    path: {};
    query: {};
    body: GuestMode;
    answer: PrivacyState;
  };
  /** Remove everything that was said and answered, for good */
  "POST /v1/privacy/wipe": {
    path: {};
    query: {};
    body: WipeRequest;
    answer: Erased;
  };
  /** List the questions that skills have open */
  "GET /v1/prompts": {
    path: {};
    query: {};
    body: undefined;
    answer: Prompts;
  };
  /** Answer a question */
  "POST /v1/prompts/{prompt}/answer": {
    path: { prompt: PromptId };
    query: {};
    body: PromptAnswer;
    answer: undefined;
  };
  /** Find turns by what was said or answered */
  "GET /v1/search": {
    path: {};
    query: { q: string; limit?: number; after?: string };
    body: undefined;
    answer: Paged_Hit;
  };
  /** List the sessions that are kept, the newest first */
  "GET /v1/sessions": {
    path: {};
    query: { limit?: number; after?: string };
    body: undefined;
    answer: Paged_SessionRow;
  };
  /** Show one session */
  "GET /v1/sessions/{session}": {
    path: { session: SessionId };
    query: {};
    body: undefined;
    answer: SessionRow;
  };
  /** Delete a session with everything that was said in it */
  "DELETE /v1/sessions/{session}": {
    path: { session: SessionId };
    query: {};
    body: undefined;
    answer: Erased;
  };
  /** Export a session as JSON lines: the session, its turns and their events */
  "GET /v1/sessions/{session}/export": {
    path: { session: SessionId };
    query: { events?: boolean; audio?: boolean };
    body: undefined;
    answer: Blob;
  };
  /** Run a kept session again and say what comes out differently */
  "POST /v1/sessions/{session}/replay": {
    path: { session: SessionId };
    query: {};
    body: ReplayRequest;
    answer: ReplayReport;
  };
  /** List the turns of a session, the oldest first */
  "GET /v1/sessions/{session}/turns": {
    path: { session: SessionId };
    query: { limit?: number; after?: string };
    body: undefined;
    answer: Paged_TurnRow;
  };
  /** List the configuration */
  "GET /v1/settings": {
    path: {};
    query: {};
    body: undefined;
    answer: Settings;
  };
  /** Show one key of the configuration */
  "GET /v1/settings/{key}": {
    path: { key: string };
    query: {};
    body: undefined;
    answer: Setting;
  };
  /** Set a key in the configuration file */
  "PUT /v1/settings/{key}": {
    path: { key: string };
    query: {};
    body: SettingChange;
    answer: Setting;
  };
  /** Remove a key from the configuration file */
  "DELETE /v1/settings/{key}": {
    path: { key: string };
    query: {};
    body: undefined;
    answer: Setting;
  };
  /** List the skills */
  "GET /v1/skills": {
    path: {};
    query: {};
    body: undefined;
    answer: Skills;
  };
  /** Show a skill and what it may do */
  "GET /v1/skills/{name}": {
    path: { name: string };
    query: {};
    body: undefined;
    answer: SkillDetail;
  };
  /** Remove an installed skill, its files and what it has kept */
  "DELETE /v1/skills/{name}": {
    path: { name: string };
    query: {};
    body: undefined;
    answer: undefined;
  };
  /** List what a skill did: the rows of the audit in which it acts */
  "GET /v1/skills/{name}/calls": {
    path: { name: string };
    query: { limit?: number; after?: string };
    body: undefined;
    answer: AuditRows;
  };
  /** Keep an installed skill, but do not load it */
  "POST /v1/skills/{name}/disable": {
    path: { name: string };
    query: {};
    body: undefined;
    answer: SkillDetail;
  };
  /** Run a skill without its acting on anything */
  "POST /v1/skills/{name}/dry-run": {
    path: { name: string };
    query: {};
    body: DryRunRequest;
    answer: DryRunReport;
  };
  /** Have an installed skill loaded */
  "POST /v1/skills/{name}/enable": {
    path: { name: string };
    query: {};
    body: undefined;
    answer: SkillDetail;
  };
  /** Return to the version before */
  "POST /v1/skills/{name}/rollback": {
    path: { name: string };
    query: {};
    body: undefined;
    answer: SkillDetail;
  };
  /** Agree to the version that waits, and use it */
  "POST /v1/skills/{name}/upgrade": {
    path: { name: string };
    query: {};
    body: Agreement;
    answer: SkillDetail;
  };
  /** How the hub does */
  "GET /v1/status": {
    path: {};
    query: {};
    body: undefined;
    answer: Status;
  };
  /** Show how much is remembered */
  "GET /v1/store": {
    path: {};
    query: {};
    body: undefined;
    answer: StoreState;
  };
  /** Run a typed turn */
  "POST /v1/turns": {
    path: {};
    query: {};
    body: TurnRequest;
    answer: TurnReport;
  };
  /** Show one turn */
  "GET /v1/turns/{turn}": {
    path: { turn: TurnId };
    query: {};
    body: undefined;
    answer: TurnRow;
  };
  /** List the events of a turn, in their order */
  "GET /v1/turns/{turn}/events": {
    path: { turn: TurnId };
    query: {};
    body: undefined;
    answer: Events;
  };
}
