// Starts the main window, in a browser or in the desktop app.

import "./shell/language-tag";
import { mount } from "svelte";
import App from "./App.svelte";
import { enter } from "./shell/entry";
import "uplot/dist/uPlot.min.css";

const { client, native } = await enter("#/talk", true);
const target = document.getElementById("app");
if (target) mount(App, { target, props: { client, native } });
