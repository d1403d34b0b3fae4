// The catalogue and the formats of the language that is chosen. `text()` in a template
// follows the choice.

import { de } from "./de";
import { en, type Catalogue } from "./en";
import { createFormat, type Format, type Language } from "./format";

const CATALOGUES: Record<Language, Catalogue> = { en, de };

let current = $state<Language>("en");
const formats: Partial<Record<Language, Format>> = {};

export function text(): Catalogue {
  return CATALOGUES[current];
}

export function format(): Format {
  return (formats[current] ??= createFormat(current));
}

export function language(): Language {
  return current;
}

/** Takes a language, or the first of the browser's that there is a catalogue for. */
export function chooseLanguage(wanted: Language | "system", browser: readonly string[] = navigator.languages) {
  const fitting = browser.map((tag) => tag.slice(0, 2)).find((tag): tag is Language => tag in CATALOGUES);
  current = wanted === "system" ? (fitting ?? "en") : wanted;
  document.documentElement.lang = current;
}
