// Starts the overlay. Outside of the desktop app there is nothing for it to show, and it
// sends one to the window.

import { mount } from "svelte";
import { enter } from "../shell/entry";
import Overlay from "./Overlay.svelte";

const { native } = await enter("#/", false);
const target = document.getElementById("app");
if (!native) location.replace("./");
else if (target) mount(Overlay, { target, props: { native } });
