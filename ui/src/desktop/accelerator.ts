// A combination of keys as the shell writes it (`Control+Alt+Space`), read from what is
// pressed, and as people read it. Pure.

import type { AppInfo } from "../backend";

type Platform = AppInfo["platform"];

/** The part of a key event that counts. */
export interface Pressed {
  code: string;
  ctrlKey: boolean;
  altKey: boolean;
  shiftKey: boolean;
  metaKey: boolean;
}

/** What is offered first. Chosen: free on the desktops that we know, and one hand reaches it. */
export const SUGGESTION = "CommandOrControl+Alt+Space";

const MODIFIERS = /^(Control|Alt|Shift|Meta|OS)(Left|Right)?$/;
/** Keys that write nothing, and so may stand alone. */
const ALONE = /^(F([1-9]|1\d|2[0-4])|Pause|ScrollLock|MediaPlayPause)$/;
/** Keys that the shell knows by the same name as the browser. */
const KNOWN =
  /^(Key[A-Z]|Digit\d|F([1-9]|1\d|2[0-4])|Space|Enter|Tab|Backquote|Backslash|BracketLeft|BracketRight|Comma|Equal|Minus|Period|Quote|Semicolon|Slash|Insert|Delete|Home|End|PageUp|PageDown|Arrow(Up|Down|Left|Right)|Pause|ScrollLock|MediaPlayPause|Numpad\d)$/;

export type Reading =
  /** Only keys like Ctrl are down; another one has to follow. */
  | { type: "partial" }
  /** It would write while one types. */
  | { type: "needs_modifier" }
  | { type: "keys"; accelerator: string };

export function read(pressed: Pressed): Reading {
  if (MODIFIERS.test(pressed.code) || !KNOWN.test(pressed.code)) return { type: "partial" };
  const isSafe = pressed.ctrlKey || pressed.altKey || pressed.metaKey || ALONE.test(pressed.code);
  if (!isSafe) return { type: "needs_modifier" };
  const parts = [
    pressed.ctrlKey && "Control",
    pressed.altKey && "Alt",
    pressed.shiftKey && "Shift",
    pressed.metaKey && "Super",
    pressed.code.replace(/^(Key|Digit)/, ""),
  ];
  return { type: "keys", accelerator: parts.filter(Boolean).join("+") };
}

/** The signs on the keys of this platform; languages that write them otherwise are told so. */
export function shown(accelerator: string, platform: Platform, language: string): string {
  const isMac = platform === "macos";
  const isGerman = language === "de";
  const names: Record<string, string> = {
    Control: isMac ? "⌃" : isGerman ? "Strg" : "Ctrl",
    Alt: isMac ? "⌥" : "Alt",
    Shift: isMac ? "⇧" : isGerman ? "Umschalt" : "Shift",
    CommandOrControl: isMac ? "⌘" : isGerman ? "Strg" : "Ctrl",
    Super: isMac ? "⌘" : platform === "windows" ? "Win" : "Super",
    Space: isGerman ? "Leertaste" : "Space",
  };
  const parts = accelerator.split("+").map((part) => names[part] ?? part.replace(/^(Key|Digit|Arrow)/, ""));
  return parts.join(isMac ? " " : " + ");
}
