// Every phase has a shape of its own, the same on the button and on the overlay.

import AudioLines from "@lucide/svelte/icons/audio-lines";
import Ellipsis from "@lucide/svelte/icons/ellipsis";
import Mic from "@lucide/svelte/icons/mic";
import MicOff from "@lucide/svelte/icons/mic-off";
import Unplug from "@lucide/svelte/icons/unplug";
import Volume2 from "@lucide/svelte/icons/volume-2";

export const PHASE_ICONS = {
  offline: Unplug,
  muted: MicOff,
  idle: Mic,
  listening: AudioLines,
  thinking: Ellipsis,
  speaking: Volume2,
} as const;
