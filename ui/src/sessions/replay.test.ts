import { expect, it } from "vitest";
import type { ReplayedTurn } from "../backend";
import { isSame, later, rows } from "./replay";

const same = <T>(value: T) => ({ before: value, after: value, same: true });
const difference = (more: Partial<ReplayedTurn> = {}): ReplayedTurn => ({
  turn: "t-1",
  spoken: false,
  transcript: same("Set a timer."),
  tool: same({ name: "timer.start", arguments: { minutes: 5 } }),
  reply: same("Timer set."),
  latency_ms: same(null),
  failure: same(null),
  took_ms: 31,
  ...more,
});

it("shows what was heard, decided and answered, and a failure where there is one", () => {
  expect(rows(difference(), () => "").map(({ what, before }) => [what, before])).toEqual([
    ["transcript", "Set a timer."],
    ["tool", 'timer.start {"minutes":5}'],
    ["reply", "Timer set."],
  ]);
  const failure = {
    before: null,
    after: { hop: "llm" as const, code: "engine_lost" as const, message: "" },
    same: false,
  };
  const failed = difference({ failure, reply: { before: "Timer set.", after: "", same: false } });
  expect(rows(failed, ({ code }) => code).at(-1)).toEqual({
    what: "failure",
    before: "",
    after: "engine_lost",
    isSame: false,
  });
  expect([isSame(difference()), isSame(failed)]).toEqual([true, false]);
});

it("two first sounds are compared, and one alone is not", () => {
  expect(later(difference({ latency_ms: { before: 120, after: 95, same: true } }))).toBe(-25);
  expect(later(difference({ latency_ms: { before: 120, after: null, same: false } }))).toBeNull();
});
