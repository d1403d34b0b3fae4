import { expect, it } from "vitest";
import type { Latency } from "../backend";
import { busiest, columns, MAX_SAMPLES, record, type Sample } from "./history";

const figures = (turns: number, p95: number): Latency => ({
  hardware: "x",
  over: "run",
  classes: [
    { class: "intent", parts: [{ part: "total", turns, p50: 1, p95, p99: 3, max: 3 }] },
    { class: "llm", parts: [{ part: "total", turns: 2, p50: 1, p95, p99: 3, max: 3 }] },
  ],
});

it("the oldest samples go", () => {
  let history: Sample[] = [];
  for (let n = 0; n < MAX_SAMPLES + 10; n += 1) history = record(history, figures(1, n), n * 500);
  expect(history).toHaveLength(MAX_SAMPLES);
  expect(columns(history, "intent", "total")[2].at(-1)).toBe(MAX_SAMPLES + 9);
  expect(columns(history, "intent", "total")[0][0]).toBe(5);
});

it("a class without turns leaves a gap and no zero", () => {
  const history = record([], figures(1, 2), 0);
  const reflex = columns(history, "reflex", "total");
  expect(
    reflex
      .slice(1)
      .flat()
      .every((figure) => figure === null),
  ).toBe(true);
});

it("the first figures stand at the end of a minute", () => {
  const history = record([], figures(1, 2), 90_000);
  expect(columns(history, "intent", "total").slice(0, 3)).toEqual([
    [30, 90],
    [null, 1],
    [null, 2],
  ]);
});

it("the class with most turns is shown first", () => {
  expect(busiest(figures(1, 2).classes)).toBe("llm");
  expect(busiest(figures(3, 2).classes)).toBe("intent");
  expect(busiest([])).toBeNull();
});
