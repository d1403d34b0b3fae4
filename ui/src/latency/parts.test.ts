import { expect, it } from "vitest";
import type { LatencySplit } from "../backend";
import { keepsPromise, PARTS, segments, slowest } from "./parts";

const split: LatencySplit = {
  total: 100,
  endpoint: 5,
  stt_tail: 40,
  plan: 0,
  skill: 5,
  llm_first_token: 0,
  first_clause: 0,
  tts_first_chunk: 30,
  bus: 10,
  output: 10,
};

it("the segments fill the bar in the order of the turn", () => {
  const made = segments(split);
  expect(made.map(({ part }) => part)).toEqual(["endpoint", "stt_tail", "skill", "tts_first_chunk", "bus", "output"]);
  expect(made.reduce((sum, { width }) => sum + width, 0)).toBeCloseTo(100);
  expect(made.at(-1)?.from).toBeCloseTo(90);
});

it("time that nobody accounts for is shown", () => {
  const made = segments({ ...split, total: 120 });
  expect(made.at(-1)).toMatchObject({ part: "other", ms: 20 });
  expect(segments({ ...split, total: 100.2 }).some(({ part }) => part === "other")).toBe(false);
});

it("a common scale makes turns comparable", () => {
  expect(segments(split, 200).reduce((sum, { width }) => sum + width, 0)).toBeCloseTo(50);
  expect(segments({ ...split, total: 0 }, 0).every(({ width }) => Number.isFinite(width))).toBe(true);
});

it("the slowest parts come first", () => {
  expect(slowest(split).map(({ part }) => part)).toEqual(["stt_tail", "tts_first_chunk", "bus"]);
});

it("the promise is about 95 of 100 turns", () => {
  const figures = { part: "total", turns: 9, p50: 100, p99: 900, max: 900 };
  expect([keepsPromise({ ...figures, p95: 200 }), keepsPromise({ ...figures, p95: 201 })]).toEqual([true, false]);
});

it("every part of the hub's split has a place", () => {
  expect([...PARTS, "total"].sort()).toEqual(Object.keys(split).sort());
});
