// The talking that a whole window shares: that of the desktop app. In a browser there is
// none; each screen that talks has its own, which ends with it.

import { createContext } from "svelte";
import type { Talker } from "./talker";

export const [getTalker, setTalker] = createContext<Talker | null>();
