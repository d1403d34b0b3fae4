// The window over a hub that is made up: `gallery.html?state=empty#/skills`. For looking at
// every screen in every state, by eye, by axe and for pictures; never part of a release.

import { mount } from "svelte";
import App from "../../src/App.svelte";
import { open } from "./open";
import "uplot/dist/uPlot.min.css";

const { client, native, target } = await open(false);
mount(App, { target, props: { client, native } });
