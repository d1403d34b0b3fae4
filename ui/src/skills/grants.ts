// What a skill asks for, side by side with what it may do. Pure: the switch of a permission
// is on when a grant that is not a lasting no is in force.

import type { GrantInfo, GrantLifetime, NewGrant, PermissionLine } from "../backend";

export interface PermissionState {
  line: PermissionLine;
  /** The grant in force, a lasting no included. */
  grant: GrantInfo | null;
  isAllowed: boolean;
  isNever: boolean;
}

export function permissionStates(lines: PermissionLine[], grants: GrantInfo[]): PermissionState[] {
  return lines.map((line) => {
    const inForce = grants.filter((grant) => grant.permission === line.permission && !grant.ended);
    const grant = inForce.sort((a, b) => b.granted_at_ms - a.granted_at_ms)[0] ?? null;
    const isNever = grant?.lifetime === "never";
    return { line, grant, isNever, isAllowed: grant !== null && !isNever };
  });
}

/** One thing of a scope that can be made narrower. */
export type Limit =
  | { kind: "number"; key: string; most: number; value: number }
  | { kind: "list"; key: string; all: string[]; value: string[] }
  | { kind: "fixed"; key: string; value: string };

/** The scope that the manifest asks for, set to what is granted where something is. */
export function limits(asked: Record<string, unknown>, granted: Record<string, unknown> = {}): Limit[] {
  return Object.entries(asked).map(([key, value]): Limit => {
    const given = granted[key];
    if (typeof value === "number") {
      return { kind: "number", key, most: value, value: typeof given === "number" ? given : value };
    }
    if (Array.isArray(value) && value.every((one) => typeof one === "string")) {
      const chosen = Array.isArray(given) ? value.filter((one) => given.includes(one)) : value;
      return { kind: "list", key, all: value, value: chosen };
    }
    return { kind: "fixed", key, value: typeof value === "string" ? value : JSON.stringify(value) };
  });
}

/** What to ask the hub for. Only what is narrower than the manifest is named. */
export function newGrant(skill: string, permission: string, lifetime: GrantLifetime, chosen: Limit[]): NewGrant {
  const scope: Record<string, unknown> = {};
  for (const limit of chosen) {
    if (limit.kind === "number" && limit.value < limit.most) scope[limit.key] = limit.value;
    if (limit.kind === "list" && limit.value.length < limit.all.length) scope[limit.key] = limit.value;
  }
  return { skill, permission, lifetime, scope };
}

/** A scope in one line. */
export function scopeWords(scope: Record<string, unknown>): string {
  return Object.entries(scope)
    .map(
      ([key, value]) =>
        `${key}: ${Array.isArray(value) ? value.join(", ") : typeof value === "string" ? value : JSON.stringify(value)}`,
    )
    .join(" · ");
}
