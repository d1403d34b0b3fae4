// Talking as the screens see it, whoever holds the microphone: the browser (`WebTalker`) or
// the desktop app (`NativeTalker`). Both feed the same reducer.

import type { MicrophoneFault } from "./microphone";
import type { Phase, TalkState } from "./state";

export interface Talker {
  readonly state: TalkState;
  readonly phase: Phase;
  /** Why nothing can be heard, where nothing can. */
  readonly microphone: MicrophoneFault | null;
  /** Why answers make no sound; browsers choose their speaker themselves. */
  readonly speaker: "missing" | "failed" | null;
  /** Connects; returns how to stop. */
  start(onLevel: (level: number) => void): () => void;
  /** The key is down. */
  press(speak: boolean): void;
  /** The key is up. */
  release(): void;
  /** A typed turn; says whether it went off. */
  type(words: string, speak: boolean): boolean;
  cancel(): void;
  mute(on: boolean): void;
  fresh(): void;
}
