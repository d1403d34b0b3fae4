import { expect, it } from "vitest";
import { NONE, withNewest, without, withPage } from "./pages";

const key = (item: string) => item;

it("pages follow one another, and nothing is there twice", () => {
  const first = withPage(NONE, { items: ["c", "b"], next: "x" }, key);
  expect(withPage(first, { items: ["b", "a"] }, key)).toEqual({ items: ["c", "b", "a"], next: null });
});

it("what is new comes first and the rest stays loaded", () => {
  const loaded = { items: ["c", "b", "a"], next: "y" };
  expect(withNewest(loaded, { items: ["d", "b"], next: "x" }, key)).toEqual({ items: ["d", "b", "c", "a"], next: "y" });
  expect(withNewest(NONE, { items: ["d"], next: "x" }, key)).toEqual({ items: ["d"], next: "x" });
});

it("what was deleted is gone", () => {
  expect(without({ items: ["a", "b"], next: null }, "a", key).items).toEqual(["b"]);
});
