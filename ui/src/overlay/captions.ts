// What the overlay says in its one place for words, as a pure function of talking: what is
// being heard, then what is answered, then how the last turn ended.

import type { FaultCode } from "../backend";
import type { TalkState } from "../talk/state";

export interface Caption {
  /** Whose words: the person's, Loqa's, or none, which is a fault or nothing. */
  who: "you" | "loqa" | "nobody";
  words: string;
  /** Words that may still change. */
  isGrowing: boolean;
  fault: FaultCode | null;
  isCancelled: boolean;
}

const NOTHING: Caption = { who: "nobody", words: "", isGrowing: false, fault: null, isCancelled: false };

export function caption(state: TalkState): Caption {
  if (state.fault) return { ...NOTHING, fault: state.fault };
  if (state.isRunning || state.isHeld) {
    if (state.reply) return { ...NOTHING, who: "loqa", words: state.reply };
    if (state.heard) return { ...NOTHING, who: "you", words: state.heard, isGrowing: !state.isFinal };
    return NOTHING;
  }
  const last = state.exchanges.at(-1);
  if (!last) return NOTHING;
  if (last.fault) return { ...NOTHING, fault: last.fault };
  return { ...NOTHING, who: last.answered ? "loqa" : "nobody", words: last.answered, isCancelled: last.isCancelled };
}
