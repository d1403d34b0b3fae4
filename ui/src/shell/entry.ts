// How every page of the window begins: it logs in with the code behind the `#`, which is
// taken out of the address, so that it stays in no history, and finds out where it runs.

import { createClient, createNative, isNative, webTransport, type Client, type Native } from "../backend";
import { saveWith } from "../components/save";
import { keepInShell } from "../settings/preferences.svelte";
import { loginCode } from "./route";
import "../styles/tokens.css";
import "../styles/base.css";
import "../styles/controls.css";

export interface Entered {
  client: Client;
  native: Native | null;
}

/** `after` is the address that takes the place of the code; only the main window keeps
    preferences and files. */
export async function enter(after: string, isMain: boolean): Promise<Entered> {
  const client = createClient(webTransport());
  const native = isNative() ? createNative() : null;
  const code = loginCode(location.hash);
  if (code !== null) {
    history.replaceState(null, "", after);
    // A code that does not work leaves one at the page that asks for another.
    await client.call("POST /v1/login", { body: { code } }).catch(() => undefined);
  }
  if (native) {
    if (isMain) saveWith(native);
    await keepInShell(native, isMain);
  }
  return { client, native };
}
