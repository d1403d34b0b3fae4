import { expect, it } from "vitest";
import type { Model, ModelPull } from "../backend";
import { endings, larger, offer, onDisk, running, withPull } from "./pulls";

const pull = (name: string, more: Partial<ModelPull> = {}): ModelPull => ({
  name,
  state: "running",
  bytes: 1,
  total: 10,
  problem: null,
  ...more,
});

const model = (name: string, more: Partial<Model> = {}) =>
  ({ name, kind: "llm", state: "installed", bundled: false, can_pull: false, bytes: 10, tier: null, ...more }) as Model;

it("what is told last about a model counts", () => {
  const pulls = [pull("a"), pull("b", { state: "done" })].reduce(withPull, [] as ModelPull[]);
  expect(running(pulls)?.name).toBe("a");
  expect(withPull(pulls, pull("a", { bytes: 5 })).find(({ name }) => name === "a")?.bytes).toBe(5);
  expect(running(withPull(pulls, pull("a", { state: "done" })))).toBeNull();
});

it("a list looks again when a download ends, and not for every byte", () => {
  const before = endings([pull("a")]);
  expect(endings([pull("a", { bytes: 9 })])).toBe(before);
  expect(endings([pull("a", { state: "cancelled" })])).not.toBe(before);
});

it("what is offered fits what is there", () => {
  const all = [model("first", { tier: 1 }), model("second", { tier: 2 }), model("third")];
  expect(offer(model("x", { state: "absent", can_pull: true }), all, null)).toMatchObject({
    canGet: true,
    canUse: false,
  });
  expect(offer(model("x", { state: "absent", can_pull: true }), all, pull("x"))).toMatchObject({
    canGet: false,
    canRemove: false,
  });
  expect(offer(model("x", { state: "incomplete", can_pull: true }), all, null)).toMatchObject({
    canGet: true,
    canRemove: true,
  });
  expect(offer(all[2] as Model, all, null)).toEqual({
    canGet: false,
    canUse: true,
    canRemove: true,
    places: [1, 2, 3],
  });
  expect(offer(all[0] as Model, all, null), "in use").toMatchObject({ canRemove: false, canUse: true, places: [2] });
  expect(offer(model("ears", { kind: "stt", tier: 1 }), all, null).canUse, "there is one place").toBe(false);
  expect(offer(model("x", { bundled: true }), all, null).canRemove).toBe(false);
});

it("what is here is added up", () => {
  expect(onDisk([model("a"), model("b", { state: "absent" }), model("c", { bytes: 5 })])).toBe(15);
});

it("a starter model names the next larger one of its kind, until one is here", () => {
  const starter = model("starter", { bundled: true });
  const absent = { state: "absent", can_pull: true } as const;
  const others = [
    model("huge", { ...absent, bytes: 90 }),
    model("small", { ...absent, bytes: 20 }),
    model("voice", { ...absent, kind: "tts", bytes: 15 }),
    model("unpinned", { state: "unpinned", bytes: 12 }),
  ];
  expect(larger(starter, [starter, ...others])?.name).toBe("small");
  expect(larger(starter, [starter, model("mine"), ...others])).toBeNull();
  expect(larger(starter, [starter])).toBeNull();
  expect(larger(model("huge", absent), others)).toBeNull();
});
