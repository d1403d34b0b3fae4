// Starts the window in which a skill asks, alone.

import { mount } from "svelte";
import { enter } from "../shell/entry";
import PromptWindow from "./PromptWindow.svelte";

const { client, native } = await enter("#/", false);
const target = document.getElementById("app");
if (target) mount(PromptWindow, { target, props: { client, native } });
