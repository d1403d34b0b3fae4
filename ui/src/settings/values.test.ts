import { expect, it } from "vitest";
import type { Setting } from "../backend";
import { read, sections, shown } from "./values";

it.each([
  ["true", false, true],
  ["7", 3, 7],
  ["seven", 3, "seven"],
  ["", 3, ""],
  ["a, b", ["x"], ["a", "b"]],
  ["", ["x"], []],
  [" text ", "x", "text"],
])("%j in a field of %j is %j", (words, like, expected) => {
  expect(read(words, like)).toEqual(expected);
});

it("values read as people write them", () => {
  expect([shown(["a", "b"]), shown("x"), shown(true), shown(7)]).toEqual(["a, b", "x", "true", "7"]);
});

it("settings stand by their sections and can be found by name and meaning", () => {
  const setting = (key: string, meaning: string): Setting => ({
    key,
    meaning,
    value: 1,
    origin: "",
    allowed: "",
    applies: "now",
  });
  const all = [setting("api.port", "TCP port"), setting("api.ui", "the page"), setting("stt.model", "which model")];
  expect(sections(all, "").map(([name, some]) => [name, some.length])).toEqual([
    ["api", 2],
    ["stt", 1],
  ]);
  expect(sections(all, "PAGE").map(([name]) => name)).toEqual(["api"]);
});
