// The last minutes of the percentiles, for the chart: a ring of samples, one for each time
// the hub was asked. Deliberately absent: asking.

import type { ClassFigures, Latency, TurnClass } from "../backend";

/** Time between two samples, in milliseconds: 2 Hz. */
export const SAMPLE_MS = 500;
/** Samples that are kept: five minutes. Chosen. */
export const MAX_SAMPLES = (5 * 60 * 1000) / SAMPLE_MS;

/** Least time that a chart shows; before the first figures there is a gap. Chosen. */
const LEAST_MS = 60_000;

export interface Sample {
  atMs: number;
  classes: ClassFigures[];
}

/** With one more sample; the oldest goes. */
export function record(history: Sample[], figures: Latency, atMs: number): Sample[] {
  return [...history, { atMs, classes: figures.classes }].slice(-MAX_SAMPLES);
}

/** Columns for the chart: seconds, then p50, p95, p99; `null` where there were no turns yet. */
export type Columns = [number[], (number | null)[], (number | null)[], (number | null)[]];

export function columns(history: Sample[], turnClass: TurnClass, part: string): Columns {
  const made: Columns = [[], [], [], []];
  const [first, last] = [history[0], history.at(-1)];
  if (first && last && last.atMs - first.atMs < LEAST_MS) {
    made[0].push((last.atMs - LEAST_MS) / 1000);
    for (const column of [made[1], made[2], made[3]]) column.push(null);
  }
  for (const { atMs, classes } of history) {
    const figures = classes.find((one) => one.class === turnClass)?.parts.find((one) => one.part === part);
    made[0].push(atMs / 1000);
    made[1].push(figures?.p50 ?? null);
    made[2].push(figures?.p95 ?? null);
    made[3].push(figures?.p99 ?? null);
  }
  return made;
}

/** The class to show when none was chosen: the one with most turns. */
export function busiest(classes: ClassFigures[]): TurnClass | null {
  const turns = (one: ClassFigures) => one.parts.find(({ part }) => part === "total")?.turns ?? 0;
  return [...classes].sort((a, b) => turns(b) - turns(a))[0]?.class ?? null;
}
