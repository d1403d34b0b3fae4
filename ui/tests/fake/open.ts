// What an address of the gallery asks for: the made-up hub in a state, and, with `shell`,
// the made-up shell around it.

import { createClient, createNative, type Client, type Native } from "../../src/backend";
import { saveWith } from "../../src/components/save";
import { keepInShell } from "../../src/settings/preferences.svelte";
import { fakeHub, STATES, type State } from "./hub";
import { fakeShell } from "./shell";
import "../../src/styles/tokens.css";
import "../../src/styles/base.css";
import "../../src/styles/controls.css";

export async function open(isShell: boolean): Promise<{ client: Client; native: Native | null; target: HTMLElement }> {
  const query = new URLSearchParams(location.search);
  const talk = query.get("talk") ?? "";
  const hub = fakeHub({
    state: STATES.find((known): known is State => known === query.get("state")) ?? "full",
    hasPrompt: query.has("prompt"),
    hasMorePrompts: query.has("more"),
    talk,
    pull: query.get("pull") ?? "",
    trouble: query.get("trouble") ?? "",
  });
  const target = document.getElementById("app") ?? document.body;
  if (!isShell && !query.has("shell")) return { client: createClient(hub), native: null, target };
  const shell = fakeShell({
    talk,
    isFirstRun: query.has("first"),
    hasNoDevices: query.has("deaf"),
    isPortal: query.has("portal"),
    isBroken: query.has("broken"),
  });
  Object.assign(window, { shell, hub });
  const native = createNative();
  saveWith(native);
  await keepInShell(native, true);
  return { client: createClient(hub), native, target };
}
