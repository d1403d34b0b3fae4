// Downloads of models as a pure function of what the hub tells, and what a list offers for
// a model in its state.

import type { Model, ModelPull } from "../backend";

/** With what was told last about one model. */
export function withPull(pulls: ModelPull[], pull: ModelPull): ModelPull[] {
  return [...pulls.filter(({ name }) => name !== pull.name), pull];
}

/** The one that runs; the hub fetches one model at a time. */
export function running(pulls: ModelPull[]): ModelPull | null {
  return pulls.find(({ state }) => state === "running") ?? null;
}

/** Changes whenever a download has ended, so that a list knows when to look again. */
export function endings(pulls: ModelPull[]): string {
  return pulls
    .filter(({ state }) => state !== "running")
    .map(({ name, state }) => `${name} ${state}`)
    .sort()
    .join("\n");
}

export interface Offer {
  canGet: boolean;
  canUse: boolean;
  canRemove: boolean;
  /** Places that it may take; only language models have several. */
  places: number[];
}

export function offer(model: Model, all: Model[], pull: ModelPull | null): Offer {
  const isRunning = pull?.state === "running";
  const isHere = model.state === "installed";
  const inUse = all.filter(({ kind, tier }) => kind === model.kind && tier);
  const most = model.kind === "llm" ? inUse.length + (model.tier ? 0 : 1) : 1;
  const places = Array.from({ length: most }, (_, n) => n + 1).filter((place) => place !== model.tier);
  return {
    canGet: !isRunning && model.can_pull,
    canUse: isHere && !isRunning && places.length > 0,
    // What stands in use is refused by the hub; it is not offered.
    canRemove: !model.bundled && !isRunning && !model.tier && (isHere || model.state === "incomplete"),
    places,
  };
}

/** Bytes of all models that are here. */
export function onDisk(models: Model[]): number {
  return models.filter(({ state }) => state === "installed").reduce((sum, { bytes }) => sum + bytes, 0);
}

/** The smallest model that does the same as a starter model, only better, and can be fetched now; none while one of them is already here. */
export function larger(starter: Model, all: Model[]): Model | null {
  const others = all.filter(({ kind, bundled }) => kind === starter.kind && !bundled);
  if (!starter.bundled || others.some(({ state }) => state === "installed")) return null;
  return others.filter(({ can_pull }) => can_pull).sort((a, b) => a.bytes - b.bytes)[0] ?? null;
}
