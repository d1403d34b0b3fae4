import { expect, it } from "vitest";
import { href, loginCode, parseRoute } from "./route";

it("an address names a screen, what is open, and how it is filtered", () => {
  expect(parseRoute("#/sessions/s-1?q=five%20minutes")).toEqual({
    screen: "sessions",
    item: "s-1",
    query: { q: "five minutes" },
  });
  for (const hash of ["", "#", "#/", "#/nowhere", "#/%"]) expect(parseRoute(hash).screen, hash).toBe("talk");
  expect(parseRoute("#/skills/%E0%A4%A").item, "what cannot be decoded is nothing").toBe("");
});

it("an address leads back to itself", () => {
  const route = parseRoute(href("skills", "a b/c", { q: "x&y", empty: "" }));
  expect(route).toEqual({ screen: "skills", item: "a b/c", query: { q: "x&y" } });
});

it("a code behind the # is found, and nothing else is taken for one", () => {
  expect(loginCode("#/login/abc-DEF_1")).toBe("abc-DEF_1");
  expect(loginCode("#code=abc")).toBe("abc");
  for (const hash of ["", "#/talk", "#/login/", "#/login/a b", `#/login/${"x".repeat(200)}`]) {
    expect(loginCode(hash), hash).toBeNull();
  }
});
