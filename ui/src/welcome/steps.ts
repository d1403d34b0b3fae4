// The steps of the first run, and how one goes through them. Pure.

export const ALL = ["privacy", "devices", "hotkey", "try", "model"] as const;
export type Step = (typeof ALL)[number];

/** In a browser the native steps are absent: it has its own microphone and no keys. */
export function stepsFor(isNative: boolean): Step[] {
  return ALL.filter((step) => isNative || (step !== "devices" && step !== "hotkey"));
}

/** The step that an address names, or the first. */
export function stepOf(steps: Step[], name: string): Step {
  return steps.find((step) => step === name) ?? steps[0] ?? "privacy";
}

/** The neighbour of a step; `null` beyond the ends. */
export function beside(steps: Step[], step: Step, by: 1 | -1): Step | null {
  return steps[steps.indexOf(step) + by] ?? null;
}
