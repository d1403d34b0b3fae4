import { expect, it } from "vitest";
import type { EventRow, TurnEvent } from "../backend";
import { marked, timeline, values } from "./timeline";

const rows = (...events: TurnEvent[]): EventRow[] =>
  events.map((event, seq) => ({ turn: "t", seq, at_us: seq * 1000, wall_ms: 0, event }));

it("a spoken turn reads as a handful of steps", () => {
  const call = { name: "timer.start", arguments: { duration_s: 300 } };
  const steps = timeline(
    rows(
      { type: "turn_started", source: "push_to_talk" },
      { type: "speech_started" },
      { type: "transcript_partial", text: "set" },
      { type: "speech_ended", audio_ms: 1200 },
      { type: "transcript_final", text: "Set a timer.", confidence: 0.9 },
      { type: "intent_matched", call, template: "set a timer for {duration_s}", leftover: "" },
      { type: "tool_called", call, planned_by: { by: "intent", template: "", leftover: "" } },
      { type: "tool_returned", name: "timer.start", say: "Timer set." },
      { type: "speaking_started", text: "Timer" },
      { type: "speaking_started", text: "set." },
      { type: "first_sound" },
      { type: "speaking_finished" },
      { type: "turn_ended", end: "completed", class: "intent", latency_ms: null },
    ),
  );
  expect(steps.map(({ kind }) => kind)).toEqual([
    "started",
    "spoke",
    "heard",
    "rule",
    "tool",
    "tool_said",
    "spoken",
    "sound",
    "ended",
  ]);
  expect(steps[4]).toMatchObject({ skill: "timer", values: [["duration_s", "300"]] });
  expect(steps[5]).toMatchObject({ tookMs: 1 });
  expect(steps[6]).toMatchObject({ text: "Timer set." });
});

it("events in any order are told in theirs", () => {
  const [first, second] = rows({ type: "turn_started", source: "text" }, { type: "first_sound" });
  expect(timeline([second, first].filter((row) => row !== undefined)).map(({ kind }) => kind)).toEqual([
    "started",
    "sound",
  ]);
});

it("arguments are texts whatever they are", () => {
  expect(values({ a: "x", b: 2, c: { d: [1] } })).toEqual([
    ["a", "x"],
    ["b", "2"],
    ["c", '{"d":[1]}'],
  ]);
});

it("what was searched for is marked", () => {
  expect(marked("set a [timer] for [five] minutes")).toEqual([
    { text: "set a ", isHit: false },
    { text: "timer", isHit: true },
    { text: " for ", isHit: false },
    { text: "five", isHit: true },
    { text: " minutes", isHit: false },
  ]);
  expect(marked("<b>x</b>")).toEqual([{ text: "<b>x</b>", isHit: false }]);
});
