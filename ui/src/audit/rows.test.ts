import { expect, it } from "vitest";
import type { AuditRow } from "../backend";
import { filterOf, kindWords, rowFacts } from "./rows";

const row = (record: Record<string, unknown>): AuditRow => ({ seq: 1, prev: "", hash: "", record });

it("a row becomes facts", () => {
  const facts = rowFacts(
    row({
      wall_ms: 5,
      kind: "call.denied",
      actor: { kind: "skill", id: "weather" },
      permission: "http:call",
      decision: "deny",
      reason: "not_granted",
      effect: { operation: "http", target: "https://x" },
    }),
  );
  expect(facts).toMatchObject({ atMs: 5, actor: "weather", decision: "deny", target: "http https://x" });
});

it("a record of another form is no fault", () => {
  expect(rowFacts(row({ actor: "x", effect: null, wall_ms: "now" }))).toMatchObject({ actor: "", target: "", atMs: 0 });
  expect(kindWords("from.the.future", {})).toBe("from.the.future");
});

it("filters come from the address, and nonsense is left out", () => {
  expect(filterOf({ actor: " timer ", kind: "", since: "day", q: "x" }, 100_000_000)).toEqual({
    actor: "timer",
    since_ms: 13_600_000,
  });
  expect(filterOf({ since: "toString" }, 0)).toEqual({});
});
