// How this window looks and speaks: theme, contrast, motion, language, spoken answers.
// Kept by the browser, or by the shell of the desktop app, which tells all its windows.
// Deliberately absent: anything about the hub or the user.

import type { Native } from "../backend";
import { chooseLanguage } from "../text/text.svelte";
import type { Language } from "../text/format";

export interface Preferences {
  theme: "system" | "light" | "dark";
  contrast: boolean;
  calm: boolean;
  language: Language | "system";
  speak: boolean;
}

const DEFAULT: Preferences = { theme: "system", contrast: false, calm: false, language: "system", speak: true };
const PLACE = "loqa.preferences";

export const preferences = $state<Preferences>(load());
/** As they are kept; only what differs is written. */
let kept = JSON.stringify(preferences);
let write: (text: string) => void = (text) => localStorage.setItem(PLACE, text);

/** Puts the choices into force, and keeps them; for the one `$effect` of the window. */
export function applyPreferences() {
  const root = document.documentElement;
  root.dataset["theme"] = preferences.theme;
  root.dataset["contrast"] = preferences.contrast ? "more" : "normal";
  root.dataset["motion"] = preferences.calm ? "less" : "normal";
  chooseLanguage(preferences.language);
  const text = JSON.stringify(preferences);
  if (text === kept) return;
  kept = text;
  try {
    write(text);
  } catch {
    // A browser that keeps nothing: the choice lasts as long as the page.
  }
}

/** Has the shell keep the choices instead of the browser, and follows what other windows
    choose. A window that may not write only follows. */
export async function keepInShell(native: Native, mayWrite: boolean) {
  write = (text) => {
    if (!mayWrite) return;
    const chosen = JSON.parse(text) as Record<string, unknown>;
    // What cannot be kept lasts as long as the window.
    native.call("preferences_write", { preferences: chosen }).catch(() => undefined);
  };
  native.on("preferences", take);
  try {
    take(await native.call("preferences_read"));
  } catch {
    // The window looks as it does without any choice.
  }
}

function take(given: Record<string, unknown>) {
  Object.assign(preferences, sound(given));
  kept = JSON.stringify(preferences);
}

function load(): Preferences {
  try {
    return sound(JSON.parse(localStorage.getItem(PLACE) ?? "{}"));
  } catch {
    return { ...DEFAULT };
  }
}

/** What is kept, with the default in the place of whatever is not one of the choices. */
export function sound(given: unknown): Preferences {
  const from = (typeof given === "object" && given !== null ? given : {}) as Record<string, unknown>;
  const one = <T>(value: unknown, choices: readonly T[], other: T): T =>
    choices.find((choice) => choice === value) ?? other;
  const flag = (value: unknown, other: boolean) => (typeof value === "boolean" ? value : other);
  return {
    theme: one(from["theme"], ["system", "light", "dark"] as const, DEFAULT.theme),
    contrast: flag(from["contrast"], DEFAULT.contrast),
    calm: flag(from["calm"], DEFAULT.calm),
    language: one(from["language"], ["system", "en", "de"] as const, DEFAULT.language),
    speak: flag(from["speak"], DEFAULT.speak),
  };
}
