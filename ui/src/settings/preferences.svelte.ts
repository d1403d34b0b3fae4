// How this window looks and speaks: theme, contrast, motion, language, spoken answers.
// Kept in this browser only. Deliberately absent: anything about the hub or the user.

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

/** Puts the choices into force, and keeps them; for the one `$effect` of the window. */
export function applyPreferences() {
  const root = document.documentElement;
  root.dataset["theme"] = preferences.theme;
  root.dataset["contrast"] = preferences.contrast ? "more" : "normal";
  root.dataset["motion"] = preferences.calm ? "less" : "normal";
  chooseLanguage(preferences.language);
  try {
    localStorage.setItem(PLACE, JSON.stringify(preferences));
  } catch {
    // A browser that keeps nothing: the choice lasts as long as the page.
  }
}

function load(): Preferences {
  try {
    const kept = JSON.parse(localStorage.getItem(PLACE) ?? "{}") as Partial<Preferences>;
    return { ...DEFAULT, ...kept };
  } catch {
    return { ...DEFAULT };
  }
}
