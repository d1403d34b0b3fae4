import { expect, it, vi } from "vitest";
import { door } from "../../tests/fake/door";
import { ApiError, type TalkSnapshot } from "../backend";
import { NativeTalker } from "./native-talker.svelte";

const snapshot = (more: Partial<TalkSnapshot> = {}): TalkSnapshot => ({
  phase: "idle",
  isMuted: false,
  isHeld: false,
  session: null,
  microphone: null,
  speaker: null,
  ...more,
});

function talking(more: Partial<TalkSnapshot> = {}) {
  const shell = door({ talk_snapshot: () => snapshot(more) });
  const talker = new NativeTalker(shell);
  const onLevel = vi.fn();
  const stop = talker.start(onLevel);
  return { shell, talker, onLevel, stop };
}

const settled = () => new Promise((done) => setTimeout(done));

it("a window that opens in the middle shows what goes on", async () => {
  for (const phase of ["offline", "muted", "idle", "listening", "thinking", "speaking"] as const) {
    const { talker } = talking({ phase, isMuted: phase === "muted", microphone: "missing", speaker: "failed" });
    await settled();
    expect([talker.phase, talker.microphone, talker.speaker]).toEqual([phase, "missing", "failed"]);
  }
});

it("what is told before the snapshot arrives is newer than it", async () => {
  const { shell, talker } = talking();
  shell.tell("talk", { type: "held" });
  await settled();
  expect(talker.phase).toBe("listening");
});

it("goes through a turn as the shell tells it, whoever pressed the key", async () => {
  const { shell, talker, onLevel } = talking();
  await settled();
  shell.tell("talk", { type: "held" });
  shell.tell("talk", { type: "level", level: 0.4 });
  expect([talker.phase, onLevel.mock.lastCall]).toEqual(["listening", [0.4]]);
  shell.tell("talk", { type: "hub", message: { type: "started", session: "s-1", turn: "t-1" } });
  shell.tell("talk", { type: "let_go" });
  expect([talker.phase, onLevel.mock.lastCall]).toEqual(["thinking", [0]]);
  shell.tell("talk", { type: "playing", on: true });
  expect(talker.phase).toBe("speaking");
  shell.tell("talk", { type: "playing", on: false });
  shell.tell("talk", { type: "ended" });
  expect(talker.phase).toBe("idle");
  shell.tell("talk", { type: "refused", fault: "muted" });
  expect(talker.state.fault).toBe("muted");
  shell.tell("talk", { type: "microphone", fault: "failed" });
  expect(talker.microphone).toBe("failed");
});

it("every order goes to the shell, and one that is refused is shown", async () => {
  const refuse = () => Promise.reject(new ApiError("conflict", "a turn runs"));
  const shell = door({ talk_snapshot: () => snapshot(), talk_press: refuse });
  const talker = new NativeTalker(shell);
  talker.start(() => undefined);
  await settled();
  expect(talker.type("Set a timer.", false)).toBe(true);
  expect(talker.type("", false)).toBe(false);
  talker.release();
  talker.cancel();
  talker.mute(true);
  talker.fresh();
  talker.press();
  await settled();
  expect(shell.asked.slice(1)).toEqual([
    ["talk_text", { text: "Set a timer.", speak: false }],
    ["talk_release", undefined],
    ["talk_cancel", undefined],
    ["talk_mute", { on: true }],
    ["talk_fresh", undefined],
    ["talk_press", undefined],
  ]);
  expect(talker.state.fault).toBe("conflict");
});

it("two parts of a window share it, and the last one ends it", async () => {
  const { shell, talker, stop } = talking();
  await settled();
  const stopSecond = talker.start(() => undefined);
  stop();
  shell.tell("talk", { type: "held" });
  expect(talker.phase).toBe("listening");
  stopSecond();
  shell.tell("talk", { type: "ended" });
  expect(talker.phase, "nobody listens to the shell any more").toBe("listening");
});
