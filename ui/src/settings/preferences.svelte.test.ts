import { flushSync } from "svelte";
import { expect, it } from "vitest";
import { door } from "../../tests/fake/door";
import { applyPreferences, keepInShell, preferences, sound } from "./preferences.svelte";

it("what is kept is taken only where it is one of the choices", () => {
  const usual = { theme: "system", contrast: false, calm: false, language: "system", speak: true };
  for (const given of [null, 7, "x", [], {}, { theme: "pink", contrast: "yes", language: "fr", speak: 1 }]) {
    expect(sound(given)).toEqual(usual);
  }
  expect(sound({ theme: "dark", speak: false, more: 1 })).toEqual({ ...usual, theme: "dark", speak: false });
});

it("the shell keeps them, tells other windows, and is told only of changes", async () => {
  const shell = door({ preferences_read: () => ({ theme: "dark" }) });
  const end = inForce(applyPreferences);
  await keepInShell(shell, true);
  flushSync();
  expect(document.documentElement.dataset["theme"]).toBe("dark");
  shell.tell("preferences", { theme: "light" });
  flushSync();
  expect(document.documentElement.dataset["theme"]).toBe("light");
  const writes = () => shell.asked.filter(([command]) => command === "preferences_write");
  expect(writes(), "what came from the shell does not go back to it").toEqual([]);
  preferences.calm = true;
  flushSync();
  expect(writes()).toEqual([["preferences_write", { preferences: { ...preferences } }]]);
  end();
});

/** An effect of a window that lives until it is ended. */
function inForce(run: () => void): () => void {
  return $effect.root(() => {
    $effect(run);
  });
}
