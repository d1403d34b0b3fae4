// Which screen the address names: `#/sessions/s-1?q=timer`. Pure; the window's own address
// is read and written in `router.svelte.ts`.

/** Screens, in the order of the navigation. */
export const SCREENS = [
  "talk",
  "sessions",
  "skills",
  "audit",
  "latency",
  "models",
  "nodes",
  "settings",
  "about",
] as const;

/** Those of the navigation. */
export type NavScreen = (typeof SCREENS)[number];

/** The first run has an address, too, but no place in the navigation. */
export type Screen = NavScreen | "welcome";

/** A screen, what is open on it, and how it is filtered. */
export interface Route {
  screen: Screen;
  /** Id of the open session, skill or row; empty for none. */
  item: string;
  query: Record<string, string>;
}

/** Reads `location.hash`; what it does not know is the first screen. */
export function parseRoute(hash: string): Route {
  const [path = "", search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [name = "", ...rest] = path.split("/");
  const screen = name === "welcome" ? name : (SCREENS.find((known) => known === name) ?? "talk");
  return { screen, item: decode(rest.join("/")), query: Object.fromEntries(new URLSearchParams(search)) };
}

/** The address of a screen. */
export function href(screen: Screen, item = "", query: Record<string, string> = {}): string {
  const kept = Object.entries(query).filter(([, value]) => value !== "");
  const search = kept.length > 0 ? `?${new URLSearchParams(kept)}` : "";
  return `#/${screen}${item ? `/${encodeURIComponent(item)}` : ""}${search}`;
}

/** The one-time code that `loqa serve --ui` puts behind the `#`; `null` when there is none. */
export function loginCode(hash: string): string | null {
  return /^#\/?(?:login\/|code=)([\w.~-]{1,128})$/.exec(hash)?.[1] ?? null;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}
