import { expect, it } from "vitest";
import { range } from "./range";

it("few of many rows are there", () => {
  expect(range({ top: 0, height: 600, rowHeight: 60, count: 10_000 })).toEqual({ from: 0, to: 16 });
  expect(range({ top: 60_000, height: 600, rowHeight: 60, count: 10_000 })).toEqual({ from: 994, to: 1_016 });
});

it("a short list and an empty one end where they end", () => {
  expect(range({ top: 0, height: 600, rowHeight: 60, count: 3 })).toEqual({ from: 0, to: 3 });
  expect(range({ top: 900, height: 600, rowHeight: 60, count: 0 })).toEqual({ from: 0, to: 0 });
});
