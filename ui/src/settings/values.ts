// The values of the configuration as texts in a field, and back. Pure; whether a value is
// taken is decided by the hub.

import type { Setting } from "../backend";

export function shown(value: unknown): string {
  if (Array.isArray(value)) return value.join(", ");
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** What was typed, as a value of the kind that stands there. */
export function read(words: string, like: unknown): unknown {
  const trimmed = words.trim();
  if (typeof like === "boolean") return trimmed === "true";
  if (typeof like === "number") return trimmed !== "" && Number.isFinite(Number(trimmed)) ? Number(trimmed) : trimmed;
  if (Array.isArray(like)) return trimmed === "" ? [] : trimmed.split(",").map((one) => one.trim());
  return trimmed;
}

/** Settings by the part of their name before the dot, in their order. */
export function sections(settings: Setting[], words: string): [string, Setting[]][] {
  const wanted = words.trim().toLowerCase();
  const fits = ({ key, meaning }: Setting) => `${key} ${meaning}`.toLowerCase().includes(wanted);
  const found = new Map<string, Setting[]>();
  for (const setting of settings.filter(fits)) {
    const name = setting.key.split(".", 1)[0] ?? "";
    found.set(name, [...(found.get(name) ?? []), setting]);
  }
  return [...found];
}
