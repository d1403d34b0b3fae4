// The nine parts of a turn's latency as segments of a bar. The sum of the parts and the
// total are measured apart; what nobody accounts for is shown as a part of its own.

import type { LatencySplit, PartFigures } from "../backend";

/** In the order in which a turn passes them; `docs/latency.md`. */
export const PARTS = [
  "endpoint",
  "stt_tail",
  "plan",
  "skill",
  "llm_first_token",
  "first_clause",
  "tts_first_chunk",
  "bus",
  "output",
] as const;

export type Part = (typeof PARTS)[number];

/** Promised from the end of speech to the first sound, in milliseconds. */
export const SLO_MS = 200;
/** Unaccounted time that is worth showing, in milliseconds. Chosen: above rounding. */
const GAP_MS = 0.5;

export interface Segment {
  part: Part | "other";
  ms: number;
  /** Where it begins and how long it is, in hundredths of the bar. */
  from: number;
  width: number;
}

/** The bar of one turn; `scale` is what its full width stands for. */
export function segments(split: LatencySplit, scale: number = split.total): Segment[] {
  const parts: { part: Part | "other"; ms: number }[] = PARTS.map((part) => ({ part, ms: split[part] }));
  const gap = split.total - parts.reduce((sum, { ms }) => sum + ms, 0);
  if (gap > GAP_MS) parts.push({ part: "other", ms: gap });
  let at = 0;
  const whole = Math.max(scale, Number.EPSILON);
  return parts
    .filter(({ ms }) => ms > 0)
    .map(({ part, ms }) => {
      const segment = { part, ms, from: (100 * at) / whole, width: (100 * ms) / whole };
      at += ms;
      return segment;
    });
}

/** The parts that took longest, for one line of words. */
export function slowest(split: LatencySplit, count = 3): Segment[] {
  return segments(split)
    .sort((a, b) => b.ms - a.ms)
    .slice(0, count);
}

/** Whether the figures keep the promise: 95 of 100 turns. */
export function keepsPromise(total: PartFigures): boolean {
  return total.p95 <= SLO_MS;
}
