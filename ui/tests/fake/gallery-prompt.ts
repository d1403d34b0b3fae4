// The window of a question over a hub that is made up: `gallery-prompt.html?prompt`.

import { mount } from "svelte";
import PromptWindow from "../../src/prompts/PromptWindow.svelte";
import { open } from "./open";

const { client, native, target } = await open(true);
mount(PromptWindow, { target, props: { client, native } });
