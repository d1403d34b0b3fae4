// The figures as a table for a spreadsheet. Pure.

import type { Latency } from "../backend";

const HEADER = ["class", "part", "turns", "p50_ms", "p95_ms", "p99_ms", "max_ms"];

export function csv(figures: Latency): string {
  const rows = figures.classes.flatMap((one) =>
    one.parts.map((part) => [one.class, part.part, part.turns, part.p50, part.p95, part.p99, part.max].join(",")),
  );
  return [HEADER.join(","), ...rows, ""].join("\n");
}
