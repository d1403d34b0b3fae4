// The window over a hub that is made up: `gallery.html?state=empty#/skills`. For looking at
// every screen in every state, by eye, by axe and for pictures; never part of a release.

import { mount } from "svelte";
import App from "../../src/App.svelte";
import { createClient } from "../../src/backend";
import { fakeHub, STATES, type State } from "./hub";
import "uplot/dist/uPlot.min.css";
import "../../src/styles/tokens.css";
import "../../src/styles/base.css";
import "../../src/styles/controls.css";

const query = new URLSearchParams(location.search);
const state = STATES.find((known): known is State => known === query.get("state")) ?? "full";
const hub = fakeHub({ state, hasPrompt: query.has("prompt"), talk: query.get("talk") ?? "" });
const target = document.getElementById("app");
if (target) mount(App, { target, props: { client: createClient(hub) } });
