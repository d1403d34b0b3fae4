// The catalogues say the same in every language, and no text stands outside of them.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse, type AST } from "svelte/compiler";
import { describe, expect, it } from "vitest";
import { de } from "./de";
import { en } from "./en";
import { createFormat } from "./format";

type Entry = [key: string, value: string];

/** Every text, functions called with arguments that show. */
function entries(catalogue: object, path = ""): Entry[] {
  return Object.entries(catalogue).flatMap(([key, value]: [string, unknown]): Entry[] => {
    const at = path === "" ? key : `${path}.${key}`;
    if (typeof value === "string") return [[at, value]];
    if (typeof value === "function") return [[at, String((value as (...args: unknown[]) => unknown)(2, 3))]];
    return entries(value as object, at);
  });
}

/** Texts that are the same in both languages, on purpose. */
const SAME = new Set([
  "app.name",
  "login.command",
  "common.name",
  "talk.loqa",
  "audit.text",
  "audit.filters",
  "skills.version",
  "about.version",
  "latency.parts.bus",
  "sessions.hop.hub",
  "welcome.tryWords",
]);

describe("the German catalogue", () => {
  const [english, german] = [new Map(entries(en)), new Map(entries(de))];

  it("has the same texts and none is empty", () => {
    expect([...german.keys()].sort()).toEqual([...english.keys()].sort());
    for (const [key, value] of [...english, ...german]) expect(value.trim(), key).not.toBe("");
  });

  it("is German", () => {
    const words = [...english].filter(
      ([key, value]) => /[a-z]{4,}.* .*[a-z]{4,}/i.test(value) && !SAME.has(key) && !key.includes("examples"),
    );
    const same = words.filter(([key, value]) => german.get(key) === value).map(([key]) => key);
    expect(same).toEqual([]);
    expect(words.length).toBeGreaterThan(150);
  });
});

const SOURCE = join(import.meta.dirname, "..");
const screens = readdirSync(SOURCE, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".svelte"));
const SPOKEN = new Set(["aria-label", "title", "placeholder", "alt", "label"]);
/** Names, keys and signs that are the same everywhere. */
const ALLOWED = /^(Esc|[\d\s·…:,.()%"“”–-]*|)$/;

/** Words of a screen that stand in its markup instead of in the catalogue. */
function strays(source: string): string[] {
  const found: string[] = [];
  const visit = (node: unknown) => {
    if (typeof node !== "object" || node === null) return;
    const { type } = node as { type?: string };
    if (type === "Text") {
      const words = (node as AST.Text).data.trim();
      if (!ALLOWED.test(words)) found.push(words);
      return;
    }
    if (type === "StyleDirective") return;
    if (type === "Attribute") {
      const attribute = node as AST.Attribute;
      if (SPOKEN.has(attribute.name)) visit(attribute.value);
      return;
    }
    for (const [key, value] of Object.entries(node)) {
      if (key === "css" || key === "instance" || key === "module" || key === "metadata") continue;
      if (Array.isArray(value)) value.forEach(visit);
      else visit(value);
    }
  };
  visit(parse(source, { modern: true }).fragment);
  return found;
}

describe("no text stands outside of the catalogue", () => {
  it("the search finds one that does", () => {
    expect(strays(`<p class="x">Hello there</p>`)).toEqual(["Hello there"]);
    expect(strays(`<img alt="A cat" />`)).toEqual(["A cat"]);
    expect(strays(`<p>{words} · 3</p>`)).toEqual([]);
  });

  it.each(screens)("%s", (name) => {
    expect(strays(readFileSync(join(SOURCE, name), "utf8"))).toEqual([]);
  });
});

it("figures are written as people write them", () => {
  const [english, german] = [createFormat("en"), createFormat("de")];
  expect([english.ms(3.14159), english.ms(1234.5), english.bytes(2_600_000_000)]).toEqual([
    "3.1 ms",
    "1,235 ms",
    "2.6 GB",
  ]);
  expect([german.ms(3.14159), german.bytes(264_000_000)]).toEqual(["3,1 ms", "264 MB"]);
  expect(english.ago(0, 90_000)).toBe("1 minute ago");
  expect(german.ago(0, 86_400_000)).toBe("gestern");
  expect(english.duration(8_040_000)).toBe("2 hr 14 min");
});
