// Starts the window in a browser: a code behind the `#` is handed in first, and taken out
// of the address, so that it stays in no history.

import { mount } from "svelte";
import App from "./App.svelte";
import { createClient, webTransport } from "./backend";
import { loginCode } from "./shell/route";
import "uplot/dist/uPlot.min.css";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/controls.css";

const client = createClient(webTransport());
const code = loginCode(location.hash);
if (code !== null) {
  history.replaceState(null, "", "#/talk");
  // A code that does not work leaves one at the page that asks for another.
  await client.call("POST /v1/login", { body: { code } }).catch(() => undefined);
}

const target = document.getElementById("app");
if (target) mount(App, { target, props: { client } });
