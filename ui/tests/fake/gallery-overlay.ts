// The overlay over a shell that is made up: `gallery-overlay.html?talk=listening`.

import { mount } from "svelte";
import Overlay from "../../src/overlay/Overlay.svelte";
import { open } from "./open";

const { native, target } = await open(true);
if (native) mount(Overlay, { target, props: { native } });
