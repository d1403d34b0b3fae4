// A hub that is made up: answers every operation that the screens use, in one of several
// states. It speaks as the real one does (paths, problems, sockets), so that everything
// above the transport is the product's own code. It decides nothing and checks little:
// what the hub decides is tested against the hub.

import type { Live, ModelPull, Problem, TalkMessage } from "../../src/backend";
import type { Received, Sent, Socket, Transport } from "../../src/backend/client";
import * as data from "./data";
import { script } from "./talk";

export const STATES = ["full", "empty", "error", "slow", "offline", "login"] as const;
export type State = (typeof STATES)[number];

export interface FakeOptions {
  state: State;
  hasPrompt?: boolean;
  /** What stands on the Talk screen: `listening`, `thinking`, `speaking`, `done`, `failed`. */
  talk?: string;
  /** What happens to the larger model: `running`, `failed`, `cancelled`. */
  pull?: string;
  /** A second question waits behind the first. */
  hasMorePrompts?: boolean;
  /** What lasts does not end, what is refused is refused: `replay-slow`, `busy`. */
  trouble?: string;
}

/** Requests that were sent, for tests. */
export interface FakeHub extends Transport {
  readonly sent: Sent[];
  emit(live: Live): void;
}

const CONFLICT = Symbol("refused: something else is under way");
const NEVER = Symbol("takes longer than any test");

type Handler = (match: RegExpMatchArray, sent: Sent, url: URL) => unknown;

export function fakeHub(options: FakeOptions): FakeHub {
  const { state, hasPrompt = false, talk = "", pull = "", hasMorePrompts = false, trouble = "" } = options;
  const sent: Sent[] = [];
  const followers = new Set<FakeSocket>();
  let grants = [...data.grants];
  let sessions = [...data.sessions];
  let prompts = hasPrompt
    ? [data.prompt, ...(hasMorePrompts ? [{ ...data.prompt, id: "p-2", title: "Lights" }] : [])]
    : [];
  let pulls: ModelPull[] = pull ? [data.pull(pull)] : [];
  let tick = 0;
  let isGuest = false;
  const isEmpty = state === "empty";
  const none = <T>(items: T[]): T[] => (isEmpty ? [] : items);

  const routes: [string, Handler][] = [
    ["GET /v1/status", () => data.status],
    ["GET /v1/sessions", (_, __, url) => page(none(sessions), url, "items")],
    ["GET /v1/sessions/(.+)/turns", ([, id = ""]) => ({ items: data.turnsOf(id) })],
    ["GET /v1/sessions/(.+)", ([, id]) => sessions.find(({ session }) => session === id)],
    ["DELETE /v1/sessions/(.+)", ([, id]) => ((sessions = sessions.filter(({ session }) => session !== id)), {})],
    ["GET /v1/turns/(.+)/events", ([, id = ""]) => ({ events: data.eventsOf(id) })],
    ["GET /v1/search", (_, __, url) => page(none(hits(sessions, url.searchParams.get("q") ?? "")), url, "items")],
    ["GET /v1/skills", () => ({ skills: none(data.skills) })],
    ["GET /v1/skills/(.+)/calls", () => ({ rows: none(data.auditRows.slice(0, 5)) })],
    ["POST /v1/skills/(.+)/dry-run", () => dryRun()],
    [
      "(?:GET|POST) /v1/skills/([^/]+)(?:/(?:enable|disable|rollback|upgrade))?",
      ([, name = ""]) => data.skillDetail(name),
    ],
    ["DELETE /v1/skills/(.+)", () => undefined],
    [
      "GET /v1/grants",
      (_, __, url) => ({ grants: none(grants.filter(({ skill }) => skill === url.searchParams.get("skill"))) }),
    ],
    ["POST /v1/grants", (_, request) => ((grants = [...grants, granted(request)]), { grants })],
    [
      "POST /v1/grants/revoke",
      (_, request) => {
        const { permission } = body(request);
        grants = grants.filter((grant) => permission !== undefined && grant.permission !== permission);
        return { grants };
      },
    ],
    ["POST /v1/packages", () => data.sheet],
    ["DELETE /v1/packages/(.+)", () => undefined],
    ["POST /v1/packages/(.+)/install", () => data.skillDetail("weather")],
    ["GET /v1/privacy", () => ({ guest: isGuest, scope: "persistent" })],
    ["PUT /v1/privacy", (_, request) => ({ guest: (isGuest = body(request)["guest"] === true), scope: "ephemeral" })],
    ["GET /v1/prompts", () => ({ prompts })],
    ["POST /v1/privacy/wipe", () => (trouble === "busy" ? CONFLICT : data.wiped)],
    [
      "POST /v1/sessions/(.+)/replay",
      ([, id = ""]) => {
        if (trouble === "busy") return CONFLICT;
        return trouble === "replay-slow" ? NEVER : data.replayOf(id);
      },
    ],
    ["GET /v1/models/pulls", () => ({ pulls })],
    ["POST /v1/models/(.+)/pull", ([, name = ""]) => (pulls = [{ ...data.pull("running"), name }])[0]],
    ["DELETE /v1/models/(.+)/pull", () => (pulls = pulls.map((one): ModelPull => ({ ...one, state: "cancelled" })))[0]],
    ["GET /v1/models/(.+)/forecast", ([, name = ""]) => data.forecast(name)],
    ["POST /v1/models/(.+)/use", () => (trouble === "busy" ? CONFLICT : { models: [] })],
    ["DELETE /v1/models/(.+)", ([, name]) => (trouble === "busy" ? CONFLICT : { name, removed_bytes: 1 })],
    ["POST /v1/prompts/(.+)/answer", ([, id]) => void (prompts = prompts.filter((prompt) => prompt.id !== id))],
    ["GET /v1/audit", (_, __, url) => page(none(data.auditRows), url, "rows")],
    ["GET /v1/audit/rows/(.+)", ([, seq]) => shown(Number(seq))],
    ["GET /v1/audit/verify", () => data.report],
    ["GET /v1/audit/egress", () => (isEmpty ? { egress: [], bytes: 0 } : data.egress)],
    ["GET /v1/latency", () => (isEmpty ? { hardware: "x", over: "run", classes: [] } : data.latency((tick += 1)))],
    ["GET /v1/latency/turns", () => ({ turns: none(data.latencyTurns) })],
    ["GET /v1/models", () => ({ models: none(data.models) })],
    ["GET /v1/nodes", () => ({ nodes: none(data.nodes) })],
    ["GET /v1/settings", () => ({ settings: data.settings })],
    [
      "PUT /v1/settings/(.+)",
      ([, key], request) => ({ ...data.settings.find((one) => one.key === key), next: body(request)["value"] }),
    ],
    ["DELETE /v1/settings/(.+)", ([, key]) => data.settings.find((one) => one.key === key)],
    ["(?:POST|DELETE) /v1/login", () => undefined],
  ];

  return {
    sent,
    emit: (live) => followers.forEach((socket) => socket.say(live)),
    async send(request) {
      sent.push(request);
      const url = new URL(request.url, "http://fake");
      if (state === "offline") throw new TypeError("fetch failed");
      if (state === "login" && url.pathname !== "/v1/login") return problem(401, "unauthorized");
      const isStatus = url.pathname === "/v1/status";
      if (state === "slow" && !isStatus) return new Promise(() => undefined);
      if (state === "error" && !isStatus) return problem(507, "storage_fault");
      for (const [pattern, handler] of routes) {
        const match = `${request.method} ${url.pathname}`.match(new RegExp(`^${pattern}$`));
        if (!match) continue;
        const answer = handler(match.map((part) => decodeURIComponent(part ?? "")) as RegExpMatchArray, request, url);
        if (answer === null) return problem(404, "not_found");
        if (answer === CONFLICT) return problem(409, "conflict");
        if (answer === NEVER) return new Promise(() => undefined);
        return answer === undefined ? received(204, "") : received(200, JSON.stringify(answer));
      }
      return problem(404, "not_found");
    },
    open(path) {
      const socket = new FakeSocket(state === "offline" || state === "login", (ready) => {
        if (path === "/v1/talk") for (const message of script(talk)) ready.say(message);
      });
      if (path === "/v1/events") followers.add(socket);
      return socket;
    },
  };
}

class FakeSocket implements Socket {
  binaryType: BinaryType = "arraybuffer";
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  readonly said: string[] = [];

  constructor(isRefused: boolean, ready: (socket: FakeSocket) => void) {
    setTimeout(() => {
      if (isRefused) return this.onclose?.();
      this.onopen?.();
      ready(this);
    });
  }

  say(message: Live | TalkMessage) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  send(data: string | ArrayBufferLike) {
    if (typeof data === "string") this.said.push(data);
  }

  close() {
    this.onclose?.();
  }
}

function received(status: number, text: string, mediaType = "application/json"): Received {
  return { status, mediaType, text: async () => text, blob: async () => new Blob([text]) };
}

function problem(status: number, code: Problem["code"]): Received {
  const body: Problem = { type: `urn:loqa:error:${code}`, title: code, status, detail: "made up for a test", code };
  return received(status, JSON.stringify(body), "application/problem+json");
}

function body(request: Sent): Record<string, unknown> {
  return typeof request.body === "string" ? (JSON.parse(request.body) as Record<string, unknown>) : {};
}

function page<T>(items: T[], url: URL, name: string): Record<string, unknown> {
  const [from, limit] = [Number(url.searchParams.get("after") ?? 0), Number(url.searchParams.get("limit") ?? 50)];
  const next = from + limit < items.length ? String(from + limit) : undefined;
  return { [name]: items.slice(from, from + limit), ...(next ? { next } : {}) };
}

function granted(request: Sent): (typeof data.grants)[number] {
  const wanted = body(request);
  const base = data.grants[0];
  if (!base) throw new Error("there are no made-up grants");
  return { ...base, id: `g-${Math.random()}`, ...wanted, granted_at_ms: data.NOW } as typeof base;
}

function hits(sessions: typeof data.sessions, q: string) {
  return sessions
    .filter(({ title }) => title.toLowerCase().includes(q.toLowerCase()))
    .map((row) => {
      const turn = data.turnsOf(row.session)[0];
      const at = row.title.toLowerCase().indexOf(q.toLowerCase());
      const snippet = `${row.title.slice(0, at)}[${row.title.slice(at, at + q.length)}]${row.title.slice(at + q.length)}`;
      return {
        session: row.session,
        turn: turn?.turn ?? "",
        at_ms: row.last_ms,
        transcript: row.title,
        reply: turn?.reply ?? "",
        snippet,
      };
    });
}

function shown(seq: number) {
  const at = data.auditRows.findIndex((row) => row.seq === seq);
  const row = data.auditRows[at];
  if (!row) return null;
  return {
    row,
    contents: { state: "kept", value: { place: "Berlin", day: "tomorrow" } },
    before: data.auditRows[at + 1] ?? null,
    after: data.auditRows[at - 1] ?? null,
    outcome: data.auditRows[at - 1] ?? null,
    sealed_by: seq + 4,
  };
}

function dryRun() {
  return {
    trigger: "weather.today",
    steps: [
      {
        function: "http",
        what: "GET https://api.open-meteo.com/v1/forecast",
        arguments: {},
        permission: "http:call",
        tier: "T2",
        grant: "asked_at_installation",
        decision: "granted",
        outside: true,
      },
    ],
    outcome: { say: "It will be sunny.", data: null },
    failure: null,
  };
}
