// A row of the audit as facts for a table. The record is open: what is not there, or not
// of the expected kind, is left out. Pure.

import type { AuditRow } from "../backend";

export interface RowFacts {
  atMs: number;
  kind: string;
  actor: string;
  actorKind: string;
  permission: string;
  decision: string;
  reason: string;
  target: string;
  session: string;
}

export function rowFacts(row: AuditRow): RowFacts {
  const { record } = row;
  const actor = object(record["actor"]);
  const effect = object(record["effect"]);
  const words = [string(effect["operation"]), string(effect["target"])].filter((word) => word !== "");
  return {
    atMs: typeof record["wall_ms"] === "number" ? record["wall_ms"] : 0,
    kind: string(record["kind"]),
    actor: string(actor["id"]),
    actorKind: string(actor["kind"]),
    permission: string(record["permission"]),
    decision: string(record["decision"]),
    reason: string(record["reason"]),
    target: words.join(" ") || string(record["trigger"]),
    session: string(record["session"]),
  };
}

/** The words for a kind; one that is not known is its own name. */
export function kindWords(kind: string, words: Record<string, string>): string {
  return words[kind] ?? kind;
}

/** What the filters in the address ask the hub for. */
export interface AuditFilter {
  actor?: string;
  kind?: string;
  permission?: string;
  decision?: string;
  text?: string;
  since_ms?: number;
}

export const SPANS = { hour: 3_600_000, day: 86_400_000, week: 7 * 86_400_000 } as const;
export type Span = keyof typeof SPANS;

export function filterOf(query: Record<string, string>, now: number): AuditFilter {
  const filter: AuditFilter = {};
  for (const key of ["actor", "kind", "permission", "decision", "text"] as const) {
    const value = query[key]?.trim();
    if (value) filter[key] = value;
  }
  const span = query["since"];
  if (span && Object.hasOwn(SPANS, span)) filter.since_ms = now - SPANS[span as Span];
  return filter;
}

function object(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function string(value: unknown): string {
  return typeof value === "string" ? value : "";
}
