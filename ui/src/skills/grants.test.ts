import { expect, it } from "vitest";
import type { GrantInfo, PermissionLine } from "../backend";
import { limits, newGrant, permissionStates, scopeWords } from "./grants";

const line = (permission: string): PermissionLine => ({ permission, tier: "T1", sentence: "", scope: {}, reason: "" });
const grant = (more: Partial<GrantInfo>): GrantInfo => ({
  id: "g",
  skill: "s",
  digest: "",
  publisher: null,
  permission: "timer:set",
  tier: "T1",
  scope: {},
  lifetime: "always",
  session: null,
  granted_at_ms: 1,
  last_used_ms: 1,
  granted_by: "operator",
  ended: null,
  ...more,
});

it("a permission is off until a grant is in force", () => {
  const state = (grants: GrantInfo[]) => permissionStates([line("timer:set")], grants)[0];
  expect(state([])?.isAllowed).toBe(false);
  expect(state([grant({})])?.isAllowed).toBe(true);
  expect(state([grant({ ended: "revoked" })])?.isAllowed).toBe(false);
  expect(state([grant({ permission: "http:call" })])?.isAllowed).toBe(false);
  expect(state([grant({ lifetime: "never" })])).toMatchObject({ isAllowed: false, isNever: true });
  expect(state([grant({ lifetime: "never" }), grant({ id: "h", granted_at_ms: 2 })])?.grant?.id).toBe("h");
});

it("a scope can only be made narrower", () => {
  const asked = { max: 20, hosts: ["a", "b"], mode: "read" };
  expect(limits(asked, { max: 5, hosts: ["b", "evil"] })).toEqual([
    { kind: "number", key: "max", most: 20, value: 5 },
    { kind: "list", key: "hosts", all: ["a", "b"], value: ["b"] },
    { kind: "fixed", key: "mode", value: "read" },
  ]);
});

it("only what is narrower is asked for", () => {
  const chosen = limits({ max: 20, hosts: ["a", "b"] }, { max: 5 });
  expect(newGrant("s", "p", "always", chosen)).toEqual({
    skill: "s",
    permission: "p",
    lifetime: "always",
    scope: { max: 5 },
  });
});

it("a scope reads as one line", () => {
  expect(scopeWords({ max: 20, hosts: ["a", "b"], deep: { x: 1 } })).toBe('max: 20 · hosts: a, b · deep: {"x":1}');
});
