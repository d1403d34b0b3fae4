import { expect, it } from "vitest";
import { START, type Exchange, type TalkState } from "../talk/state";
import { caption } from "./captions";

const on = (more: Partial<TalkState>): TalkState => ({ ...START, isOnline: true, ...more });
const exchange = (more: Partial<Exchange>): Exchange => ({
  turn: "t-1",
  said: "Set a timer.",
  answered: "Timer set.",
  fault: null,
  isCancelled: false,
  latencyMs: null,
  ...more,
});

it("what is heard stands there while it grows, and the answer takes its place", () => {
  expect(caption(on({}))).toMatchObject({ who: "nobody", words: "" });
  const heard = on({ isRunning: true, isHeld: true, heard: "set a" });
  expect(caption(heard)).toMatchObject({ who: "you", words: "set a", isGrowing: true });
  expect(caption({ ...heard, isFinal: true }).isGrowing).toBe(false);
  expect(caption({ ...heard, reply: "Timer" })).toMatchObject({ who: "loqa", words: "Timer" });
});

it("the last answer stays, until the next turn begins", () => {
  const ended = on({ exchanges: [exchange({})] });
  expect(caption(ended)).toMatchObject({ who: "loqa", words: "Timer set." });
  expect(caption({ ...ended, isRunning: true, isHeld: true }).words).toBe("");
});

it("a fault and a cancelled turn are said", () => {
  expect(caption(on({ exchanges: [exchange({ fault: "no_speech", answered: "" })] })).fault).toBe("no_speech");
  expect(caption(on({ exchanges: [exchange({ isCancelled: true, answered: "" })] }))).toMatchObject({
    who: "nobody",
    isCancelled: true,
  });
  expect(caption(on({ fault: "conflict" })).fault).toBe("conflict");
});
