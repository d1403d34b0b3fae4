import { describe, expect, it } from "vitest";
import type { TalkMessage, TurnEvent } from "../backend";
import { phase, START, step, type TalkAction, type TalkState } from "./state";

const after = (...actions: TalkAction[]): TalkState => actions.reduce(step, START);
const hub = (message: TalkMessage): TalkAction => ({ type: "hub", message });
const started = hub({ type: "started", session: "s-1", turn: "t-1" });
let seq = 0;
const event = (event: TurnEvent, turn = "t-1") =>
  hub({ type: "event", event: { session: "s-1", turn, seq: seq++, at_us: 0, event } });
const report = (more = {}): TalkAction =>
  hub({
    type: "report",
    report: {
      session: "s-1",
      turn: "t-1",
      transcript: "Set a timer.",
      class: "intent",
      tool: null,
      reply: "Timer set.",
      latency_ms: null,
      failure: null,
      ...more,
    },
  });
const opened: TalkAction = { type: "opened" };

describe("the phase is never in doubt", () => {
  it.each([
    ["offline", []],
    ["idle", [opened]],
    ["muted", [opened, { type: "muted", on: true }]],
    ["listening", [opened, { type: "held" }]],
    ["thinking", [opened, { type: "held" }, started, { type: "let_go" }]],
    ["thinking", [opened, { type: "typed", text: "hi" }]],
    ["speaking", [opened, { type: "typed", text: "hi" }, started, { type: "playing", on: true }]],
    ["listening", [opened, { type: "playing", on: true }, { type: "held" }]],
    ["idle", [opened, { type: "typed", text: "hi" }, started, report()]],
    ["offline", [opened, { type: "held" }, { type: "closed" }]],
  ] as [string, TalkAction[]][])("%s", (expected, actions) => {
    expect(phase(after(...actions))).toBe(expected);
  });
});

describe("what was said", () => {
  it("grows while it is heard and stays as it was understood", () => {
    const partial = after(opened, { type: "held" }, started, event({ type: "transcript_partial", text: "set a" }));
    expect(partial.heard).toBe("set a");
    const final = [
      event({ type: "transcript_final", text: "Set a timer.", confidence: 1 }),
      event({ type: "transcript_partial", text: "late" }),
    ].reduce(step, partial);
    expect(final.heard).toBe("Set a timer.");
  });

  it("of another turn is nobody's business here", () => {
    const state = after(opened, { type: "held" }, started, event({ type: "transcript_partial", text: "no" }, "t-2"));
    expect(state.heard).toBe("");
  });
});

describe("the end of a turn", () => {
  it("moves what was said and answered up", () => {
    const state = after(opened, { type: "typed", text: "Set a timer." }, started, report());
    expect(state.exchanges).toEqual([
      { turn: "t-1", said: "Set a timer.", answered: "Timer set.", fault: null, isCancelled: false, latencyMs: null },
    ]);
    expect([state.heard, state.reply, state.turn]).toEqual(["", "", null]);
    expect(state.session).toBe("s-1");
  });

  it("tells a failure from a cancelled turn", () => {
    const failure = (code: string) => report({ failure: { hop: "stt", code, message: "" } });
    expect(after(opened, { type: "held" }, started, failure("no_speech")).exchanges[0]?.fault).toBe("no_speech");
    const cancelled = after(opened, { type: "held" }, started, failure("cancelled")).exchanges[0];
    expect([cancelled?.fault, cancelled?.isCancelled]).toEqual([null, true]);
    // A turn that a person stops has not failed.
    const end = (end: "cancelled" | "completed") => event({ type: "turn_ended", end, class: "intent" });
    const stopped = (how: "cancelled" | "completed") =>
      after(opened, { type: "held" }, started, end(how), report()).exchanges[0];
    expect([stopped("cancelled")?.isCancelled, stopped("completed")?.isCancelled]).toEqual([true, false]);
  });

  it("comes also when the hub goes away", () => {
    const state = after(opened, { type: "typed", text: "hi" }, { type: "closed" });
    expect([state.isRunning, state.fault]).toEqual([false, "offline"]);
    expect(step(state, opened).fault).toBeNull();
  });
});

it("clauses that the reply holds already are not said twice", () => {
  const turn = [opened, { type: "typed", text: "x" } as TalkAction, started];
  const spoken = event({ type: "speaking_started", text: "One." });
  expect(after(...turn, event({ type: "reply_delta", text: "One. Two." }), spoken).reply).toBe("One. Two.");
  expect(after(...turn, spoken, event({ type: "speaking_started", text: "Two." })).reply).toBe("One. Two.");
});

it("an order that comes too late is no fault", () => {
  const problem = (code: "conflict" | "text_too_long") =>
    hub({ type: "problem", problem: { type: "", title: "", status: 409, detail: "", code } });
  expect(after(opened, problem("conflict")).fault).toBeNull();
  expect(after(opened, problem("text_too_long")).fault).toBe("text_too_long");
});

it("a new conversation begins with nothing", () => {
  const state = after(opened, { type: "typed", text: "a" }, started, report(), { type: "fresh" });
  expect([state.session, state.exchanges]).toEqual([null, []]);
});
