// A made-up household: what a hub answers after some days of use. Typed by the generated
// client, so that it cannot drift from the API.

import type * as api from "../../src/backend";

/** The moment at which the household stands; everything else is told from here. */
export const NOW = Date.now();
const MINUTE = 60_000;

const split = (total: number, more: Partial<api.LatencySplit> = {}): api.LatencySplit => ({
  total,
  endpoint: 4.2,
  stt_tail: total * 0.41,
  plan: 0.6,
  skill: total * 0.09,
  llm_first_token: 0,
  first_clause: 0.2,
  tts_first_chunk: total * 0.31,
  bus: total * 0.05,
  output: total * 0.08,
  ...more,
});

const SAID: [string, string, string][] = [
  ["Set a timer for five minutes.", "Timer set for 5 minutes.", "timer.start"],
  ["Turn on the light in the kitchen.", "The kitchen light is on.", "smart-home.turn_on"],
  ["What is the weather tomorrow?", "Tomorrow it will be sunny, up to 12 degrees.", "weather.today"],
  ["Remind me to water the plants at six.", "I will remind you at 6 pm.", "timer.remind"],
  ["Add milk and coffee to the shopping list.", "Milk and coffee are on the list.", "lists.add"],
  ["How long do eggs take until they are hard?", "About nine minutes in boiling water.", ""],
];

export const sessions: api.SessionRow[] = Array.from({ length: 240 }, (_, n) => ({
  session: `s-${n}`,
  scope: n % 9 === 4 ? "session" : "persistent",
  started_ms: NOW - n * 97 * MINUTE - 4 * MINUTE,
  last_ms: NOW - n * 97 * MINUTE - MINUTE,
  ended_ms: n === 0 ? null : NOW - n * 97 * MINUTE,
  turns: 1 + (n % 4),
  recordings: n % 11 === 3 ? 1 : 0,
  title: SAID[n % SAID.length]?.[0] ?? "",
}));

export function turnsOf(session: string): api.TurnRow[] {
  const n = Number(session.slice(2));
  const row = sessions[n];
  if (!row) return [];
  return Array.from({ length: row.turns }, (_, turn): api.TurnRow => {
    const [transcript = "", reply = "", tool = ""] = SAID[(n + turn) % SAID.length] ?? [];
    const isFailed = n === 0 && turn === 2;
    const total = 92 + ((n * 37 + turn * 53) % 150);
    return {
      turn: `t-${n}-${turn}`,
      session,
      started_ms: row.started_ms + turn * 20_000,
      ended_ms: row.started_ms + turn * 20_000 + 2_400,
      source: turn % 2 === 0 ? "push_to_talk" : "text",
      end: isFailed ? "failed" : "completed",
      class: isFailed ? "none" : tool ? "intent" : "reflex",
      transcript: isFailed ? "" : transcript,
      confidence: 0.94,
      reply: isFailed ? "" : reply,
      capability: tool ? null : "llm.reflex",
      tool: tool ? { name: tool, arguments: { duration_s: 300 } } : null,
      failure: isFailed ? { hop: "stt", code: "no_speech", message: "nothing was said" } : null,
      latency_ms: isFailed ? null : split(total),
      recording: false,
    };
  });
}

export function eventsOf(turn: string): api.EventRow[] {
  const [, session = "0", n = "0"] = turn.split("-");
  const row = turnsOf(`s-${session}`)[Number(n)];
  if (!row) return [];
  const call = { name: row.tool?.name ?? "timer.start", arguments: { duration_s: 300, name: "eggs" } };
  const events: [number, api.TurnEvent][] = [
    [0, { type: "turn_started", source: row.source ?? "text" }],
    [210_000, { type: "speech_started" }],
    [1_480_000, { type: "speech_ended", audio_ms: 1_270 }],
    [1_521_000, { type: "transcript_final", text: row.transcript, confidence: 0.94 }],
    [1_521_600, { type: "intent_matched", call, template: "set a timer for {duration_s}", leftover: "" }],
    [1_522_000, { type: "tool_called", call, planned_by: { by: "intent", template: "set a timer", leftover: "" } }],
    [1_531_000, { type: "tool_returned", name: call.name, say: row.reply }],
    [1_531_400, { type: "speaking_started", text: row.reply }],
    [1_574_000, { type: "first_sound" }],
    [2_390_000, { type: "speaking_finished" }],
    [2_400_000, { type: "turn_ended", end: "completed", class: "intent", latency_ms: row.latency_ms ?? null }],
  ];
  return events.map(([at_us, event], seq) => ({ turn, seq, at_us, wall_ms: row.started_ms + at_us / 1000, event }));
}

const skill = (name: string, title: string, more: Partial<api.Skill> = {}): api.Skill => ({
  name,
  title,
  version: "1.2.0",
  source: "bundled",
  enabled: true,
  state: "enabled",
  problem: null,
  publisher: null,
  digest: null,
  installed_at_ms: null,
  previous: null,
  staged: null,
  tools: [`${name}.start`],
  ...more,
});

export const skills: api.Skill[] = [
  skill("timer", "Timers and reminders"),
  skill("smart-home", "Smart home"),
  skill("lists", "Lists"),
  skill("weather", "Weather", {
    source: "installed",
    publisher: "9f86d081884c7d659a2feaa0c55ad015",
    installed_at_ms: NOW - 6 * 86_400_000,
    previous: "1.1.0",
    staged: "1.3.0",
  }),
  skill("news", "News", {
    source: "installed",
    enabled: false,
    state: "not_loaded",
    installed_at_ms: NOW - 9 * 86_400_000,
  }),
  skill("garden", "Garden <b>helper</b>", { source: "development", state: "suspended" }),
];

const permissions: api.PermissionLine[] = [
  {
    permission: "http:call",
    tier: "T2",
    sentence: "may ask these servers on the internet",
    scope: { hosts: ["api.open-meteo.com", "geocoding-api.open-meteo.com"], max_bytes: 65_536 },
    reason: "to fetch the forecast <script>alert(1)</script>",
  },
  {
    permission: "kv:store",
    tier: "T0",
    sentence: "may keep data of its own",
    scope: { max_bytes: 4096 },
    reason: "to remember the last place",
  },
  {
    permission: "notify:show",
    tier: "T1",
    sentence: "may show notifications",
    scope: { per_hour: 4 },
    reason: "to warn of storms",
  },
  {
    permission: "device:control",
    tier: "T3",
    sentence: "may switch devices in the house",
    scope: { entities: ["cover.awning"] },
    reason: "to close the awning when it storms",
  },
];

export function skillDetail(name: string): api.SkillDetail | null {
  const found = skills.find((one) => one.name === name);
  if (!found) return null;
  return {
    skill: found,
    permissions,
    tools: [
      {
        name: `${name}.today`,
        description: "Tells the weather of a day at a place.",
        parameters: {},
        effect: "reads" as api.ToolSpec["effect"],
      },
      {
        name: `${name}.week`,
        description: "Tells the weather of the next seven days.",
        parameters: {},
        effect: "reads" as api.ToolSpec["effect"],
      },
    ],
    staged: found.staged
      ? {
          version: found.staged,
          digest: "ab".repeat(32),
          differences: ["it asks for `device:control` in addition"],
          permissions,
        }
      : null,
  };
}

export const grants: api.GrantInfo[] = [
  {
    id: "g-1",
    skill: "weather",
    digest: "00",
    publisher: null,
    permission: "http:call",
    tier: "T2",
    scope: { hosts: ["api.open-meteo.com"] },
    lifetime: "always",
    session: null,
    granted_at_ms: NOW - 5 * 86_400_000,
    last_used_ms: NOW - 3 * MINUTE,
    granted_by: "prompt",
    ended: null,
  },
  {
    id: "g-2",
    skill: "weather",
    digest: "00",
    publisher: null,
    permission: "kv:store",
    tier: "T0",
    scope: { max_bytes: 4096 },
    lifetime: "always",
    session: null,
    granted_at_ms: NOW - 6 * 86_400_000,
    last_used_ms: NOW - 3 * MINUTE,
    granted_by: "install",
    ended: null,
  },
];

export const prompt: api.Prompt = {
  id: "p-1",
  skill: "smart-home",
  title: "Smart home <b>bold</b>",
  version: "1.2.0",
  digest: "00",
  permission: "device:control",
  tier: "T3",
  occasion: "first_use",
  operation: "device",
  target: "lock.front_door unlock",
  reason: "to open the door when you come home. Press <strong>Always allow</strong>.",
  scope: { entities: ["lock.front_door"] },
  taint: ["llm", "user"],
  session: null,
  turn: null,
  answers: ["once", "session", "always", "deny", "never"],
  expires_ms: 90_000,
};

const hash = (seq: number) => (seq * 2_654_435_761).toString(16).padStart(12, "0").repeat(6).slice(0, 64);
const KINDS: [string, string, string, string, string][] = [
  ["call.intent", "weather", "http:call", "allow", "https://api.open-meteo.com:443"],
  ["call.outcome", "weather", "http:call", "", "https://api.open-meteo.com:443"],
  ["egress", "weather", "", "", "https://api.open-meteo.com:443"],
  ["call.denied", "garden", "device:control", "deny", "lock.front_door unlock"],
  ["prompt.answered", "smart-home", "device:control", "allow", "light.kitchen turn_on"],
  ["session.start", "hub", "", "", ""],
  ["audit.checkpoint", "hub", "", "", ""],
];

export const auditRows: api.AuditRow[] = Array.from({ length: 320 }, (_, n) => {
  const seq = 1_240 - n;
  const [kind = "", actor = "", permission = "", decision = "", target = ""] = KINDS[n % KINDS.length] ?? [];
  return {
    seq,
    prev: hash(seq - 1),
    hash: hash(seq),
    record: {
      v: 1,
      seq,
      wall_ms: NOW - n * 7 * MINUTE,
      kind,
      actor: { kind: actor === "hub" ? "hub" : "skill", id: actor },
      ...(permission ? { permission } : {}),
      ...(decision ? { decision } : {}),
      ...(target ? { effect: { operation: "http", target } } : {}),
    },
  };
});

export const report: api.AuditReport = {
  ok: true,
  bad: null,
  rows: 1_240,
  first: 1,
  last: 1_240,
  sealed: 1_238,
  checkpoints: 9,
  open: [],
  key: "9f".repeat(32),
  key_known: true,
};

export const egress: api.Egress = {
  egress: [
    { from_ms: null, actor: "weather", origin: "https://api.open-meteo.com:443", times: 41, bytes: 8_364 },
    { from_ms: null, actor: "weather", origin: "https://geocoding-api.open-meteo.com:443", times: 3, bytes: 512 },
  ],
  bytes: 8_876,
};

const PARTS = [
  "total",
  "endpoint",
  "stt_tail",
  "plan",
  "skill",
  "llm_first_token",
  "first_clause",
  "tts_first_chunk",
  "bus",
  "output",
];

export function latency(tick: number): api.Latency {
  const wave = 8 * Math.sin(tick / 9);
  const figures = (turnClass: api.TurnClass, turns: number, scale: number): api.ClassFigures => ({
    class: turnClass,
    parts: PARTS.map((part, n) => {
      const base = part === "total" ? 112 * scale + wave : (40 * scale) / (n + 1);
      return { part, turns, p50: base, p95: base * 1.45, p99: base * 1.7, max: base * 2.1 };
    }),
  });
  return {
    hardware: "x86_64-8c-avx2",
    over: "run",
    classes: [figures("intent", 412, 1), figures("reflex", 96, 1.9), figures("cached", 31, 0.4)],
  };
}

export const latencyTurns: api.LatencyRow[] = Array.from({ length: 12 }, (_, n) => {
  const row = turnsOf(`s-${n}`)[0];
  return {
    session: `s-${n}`,
    turn: row?.turn ?? "",
    at_ms: NOW - n * 97 * MINUTE,
    class: row?.class ?? "intent",
    latency_ms: split(96 + ((n * 61) % 170)),
  };
});

const model = (name: string, title: string, kind: api.EngineKind, more: Partial<api.Model> = {}): api.Model => ({
  name,
  title,
  kind,
  capability: `${kind}.x`,
  quantisation: "q8_0",
  languages: ["en"],
  ram_mb: 100,
  licence: "MIT OR Apache-2.0",
  licence_note: "",
  source: "part of Loqa",
  bundled: true,
  bytes: 13_118_306,
  state: "installed",
  tier: 1,
  can_pull: more.state === "absent" || more.state === "incomplete",
  missing_bytes: more.state === "absent" ? (more.bytes ?? 0) : 0,
  ...more,
});

export const models: api.Model[] = [
  model("starter-stt", "Starter ears", "stt"),
  model("whisper-small", "Whisper small, multilingual", "stt", {
    bundled: false,
    state: "absent",
    tier: null,
    bytes: 264_000_000,
    ram_mb: 600,
    languages: ["en", "de", "fr"],
    licence: "MIT",
    source: "https://huggingface.co/ggerganov/whisper.cpp",
  }),
  model("reflex", "Reflex", "llm", { quantisation: "q4_0" }),
  model("qwen-4b", "Qwen 4B", "llm", {
    bundled: false,
    state: "incomplete",
    tier: null,
    bytes: 2_600_000_000,
    ram_mb: 3_800,
    licence: "Apache-2.0",
    licence_note: "Names the licence when it is passed on.",
  }),
  model("gemma-1b", "Gemma 1B", "llm", {
    bundled: false,
    tier: null,
    bytes: 806_000_000,
    ram_mb: 1_300,
    licence: "Gemma Terms",
    licence_note: "Has rules for its use.",
    source: "https://huggingface.co/google/gemma",
  }),
  model("starter-tts", "Starter voice", "tts"),
];

const node = (kind: api.EngineKind, more: Partial<api.NodeInfo>): api.NodeInfo => ({
  instance: `e-${kind}`,
  kind,
  program: `loqa-${kind} 0.1.0`,
  node: "host",
  pid: 4713,
  state: "ready",
  capabilities: [
    {
      name: `${kind}.starter`,
      model: `starter-${kind}`,
      quantisation: "q8_0",
      languages: ["en"],
      sample_rate: 16_000,
      voices: kind === "tts" ? ["one", "two"] : [],
      measured_speed: 31.4,
    },
  ],
  busy: 0,
  rss_bytes: 61_200_000,
  last_seen_ms: 420,
  ...more,
});

export const nodes: api.NodeInfo[] = [
  node("stt", {}),
  node("llm", { busy: 1, rss_bytes: 182_000_000 }),
  node("tts", { state: "starting" }),
];

const setting = (key: string, value: unknown, meaning: string, more: Partial<api.Setting> = {}): api.Setting => ({
  key,
  value,
  origin: "default",
  allowed: typeof value === "boolean" ? "true or false" : typeof value === "number" ? "a number" : "a text",
  meaning,
  applies: "restart",
  ...more,
});

export const settings: api.Setting[] = [
  setting("stt.model", "starter-stt", "Which model hears.", { applies: "now" }),
  setting("stt.threads", 0, "Threads of the recogniser; 0 takes half of the cores.", {
    next: 4,
    origin: "loqa.toml:3",
  }),
  setting("privacy.keep", "turns", "What the recorder keeps: nothing, or the events of each turn (never audio).", {
    applies: "now",
  }),
  setting("api.port", 0, "TCP port of the HTTP API on 127.0.0.1 and ::1; 0 takes a free one."),
  setting("api.ui", true, "Whether the HTTP API serves its own page and lets a browser log in with a one-time code."),
  setting("paths.skills", ["timer", "lists"], "Folders of the bundled skills.", { applies: "file_only" }),
  setting("telemetry.log", "warn", "Log filter, for example `info` or `loqa_hub=debug`.", {
    origin: "LOQA_TELEMETRY_LOG",
    overridden_by: "LOQA_TELEMETRY_LOG",
  }),
];

export const status: api.Status = {
  version: "0.1.0",
  pid: 4711,
  uptime_ms: 8_040_000,
  capabilities: ["stt.whisper", "llm.reflex", "tts.kokoro"],
  ready: ["stt.whisper", "llm.reflex", "tts.kokoro"],
  skills: skills.map(({ name }) => name),
  open_prompts: 0,
  audit: { failing: null, waiting: 0, lost: 0 },
};

export const sheet: api.PackageSheet = {
  digest: "cd".repeat(32),
  name: "weather",
  version: "1.3.0",
  title: "Weather",
  description: "Tells the weather. <img src=x onerror=alert(1)>",
  author: "Ada <script>",
  license: "MIT",
  publisher: null,
  tools: ["weather.today"],
  permissions,
  action: "install",
  differences: [],
  refusal: null,
  consent: "ef".repeat(32),
};

export const forecast = (name: string): api.Forecast => ({
  name,
  unit: name.startsWith("whisper") ? "times_real_time" : "tokens_per_second",
  speed: 12.4,
  at_least: 4.1,
  at_most: 37.2,
  prompt_tokens_per_second: 61,
  ram_mb: 3_800,
  ram_free_mb: 9_200,
  fit: name.startsWith("whisper") ? "fits" : "tight",
  download_bytes: 2_600_000_000,
  machine: {
    hardware: "x86_64-8c-avx2",
    cores: 8,
    bytes_per_second: 21e9,
    operations_per_second: 310e9,
    ram_mb: 16_000,
    ram_free_mb: 9_200,
  },
});

export const pull = (state: string): api.ModelPull => ({
  name: "qwen-4b",
  state: state === "failed" || state === "cancelled" ? state : "running",
  bytes: 1_130_000_000,
  total: 2_600_000_000,
  problem:
    state === "failed"
      ? { type: "", title: "", status: 507, detail: "no space left on the device", code: "storage_fault" }
      : null,
});

const same = <T>(value: T) => ({ before: value, after: value, same: true });

export function replayOf(session: string): api.ReplayReport {
  const turns = turnsOf(session).map((row, n): api.ReplayedTurn => ({
    turn: row.turn,
    spoken: row.source !== "text",
    transcript:
      n === 1 ? { before: row.transcript, after: "Set a time for five minutes.", same: false } : same(row.transcript),
    tool:
      n === 1
        ? { before: { name: "timer.start", arguments: { minutes: 5 } }, after: null, same: false }
        : same({ name: "timer.start", arguments: { minutes: 5 } }),
    reply: n === 1 ? { before: row.reply, after: "I do not know the time.", same: false } : same(row.reply),
    latency_ms: n === 2 ? same(null) : { before: 124, after: n === 1 ? 181 : 97, same: true },
    failure: same(null),
    took_ms: 412 + 30 * n,
  }));
  return { turns: turns.length, different: turns.length > 1 ? 1 : 0, sessions: [{ name: session, session, turns }] };
}

const counts = (sessions: number): api.Counts => ({
  sessions,
  turns: sessions * 3,
  events: sessions * 31,
  transcripts: sessions * 3,
  recordings: 0,
  latency: sessions * 2,
  nodes: 3,
  settings: 0,
  bytes: 40_000 + sessions * 9_000,
});

export const wiped: api.Erased = {
  before: counts(240),
  after: counts(0),
  turns_sha256: "5e".repeat(32),
  file_sha256: "a7".repeat(32),
  files: ["loqa.db.2026-11-21.bak", "recordings.key"],
};
