import { expect, it } from "vitest";
import type { Prompt } from "../backend";
import { current, onLive, ordered, snapshot, without } from "./prompts";

const prompt = (id: string): Prompt => ({
  id,
  skill: "smart-home",
  title: "Smart home",
  version: "1.0.0",
  digest: "00",
  permission: "device:control",
  tier: "T2",
  occasion: "first_use",
  operation: "device",
  target: "light.kitchen turn_on",
  reason: "to switch lights",
  scope: {},
  taint: ["user"],
  session: null,
  turn: null,
  answers: ["once", "always", "deny"],
  expires_ms: 1000,
});

it("a question comes, once, and goes", () => {
  const shown = onLive([], { type: "prompt_shown", prompt: prompt("p-1") }, 0);
  expect(onLive(shown, { type: "prompt_shown", prompt: prompt("p-1") }, 500)).toBe(shown);
  expect(onLive(shown, { type: "prompt_over", prompt: "p-1", answer: "deny" }, 0)).toEqual([]);
  expect(without(shown, "p-2")).toBe(shown);
});

it("a snapshot brings what was missed and takes what is over", () => {
  const open = snapshot([], [prompt("p-1"), prompt("p-2")], 0);
  const next = snapshot(open, [prompt("p-2"), prompt("p-3")], 600);
  expect(next.map(({ prompt, untilMs }) => [prompt.id, untilMs])).toEqual([
    ["p-2", 1000],
    ["p-3", 1600],
  ]);
});

it("a question that is too old is not asked any more", () => {
  expect(current(snapshot([], [prompt("p-1")], 0), 1000)).toEqual([]);
});

it("no comes first and a lasting yes last, and no is always there", () => {
  expect(ordered(["always", "once", "session", "deny", "never"])).toEqual([
    "deny",
    "never",
    "once",
    "session",
    "always",
  ]);
  expect(ordered(["once"])).toEqual(["deny", "once"]);
});
