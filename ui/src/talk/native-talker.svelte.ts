// Talking in the desktop app: keys go to the shell as commands, and what happens comes back
// as events, whichever window or key began it. Deliberately absent: sound; the shell has it.

import { asApiError, type Commands, type Native, type TalkTold } from "../backend";
import type { MicrophoneFault } from "./microphone";
import { fromSnapshot, phase, START, step, type Phase, type TalkState } from "./state";
import type { Talker } from "./talker";

type Order = "talk_press" | "talk_release" | "talk_cancel" | "talk_fresh";

export class NativeTalker implements Talker {
  state = $state.raw<TalkState>(START);
  microphone = $state<MicrophoneFault | null>(null);
  speaker = $state<"missing" | "failed" | null>(null);
  readonly phase: Phase = $derived(phase(this.state));
  readonly #native: Native;
  #levels: ((level: number) => void)[] = [];
  #starts = 0;
  #stop: () => void = () => undefined;

  constructor(native: Native) {
    this.#native = native;
  }

  /** May be called by several parts of a window; the last that stops closes the ear. */
  start(onLevel: (level: number) => void): () => void {
    this.#levels = [...this.#levels, onLevel];
    this.#starts += 1;
    if (this.#starts === 1) this.#begin();
    return () => {
      this.#levels = this.#levels.filter((one) => one !== onLevel);
      this.#starts -= 1;
      if (this.#starts === 0) this.#stop();
    };
  }

  press() {
    this.#order("talk_press");
  }

  release() {
    this.#order("talk_release");
  }

  type(words: string, speak: boolean): boolean {
    if (words === "" || this.phase === "offline" || this.state.isRunning) return false;
    this.#call("talk_text", { text: words, speak });
    return true;
  }

  cancel() {
    this.#order("talk_cancel");
  }

  mute(on: boolean) {
    this.#call("talk_mute", { on });
  }

  fresh() {
    this.#order("talk_fresh");
  }

  #begin() {
    // Listen first and ask then, so that nothing between the two is missed; what came
    // meanwhile is newer than the answer.
    let isTold = false;
    const stop = this.#native.on("talk", (told) => {
      isTold ||= told.type !== "level";
      this.#take(told);
    });
    const ask = async () => {
      try {
        const snapshot = await this.#native.call("talk_snapshot");
        const { isMuted, isOnline, session } = fromSnapshot(this.state, snapshot);
        this.state = isTold ? { ...this.state, isMuted, isOnline, session } : fromSnapshot(this.state, snapshot);
        this.microphone = snapshot.microphone;
        this.speaker = snapshot.speaker;
      } catch (error) {
        this.state = step(this.state, { type: "refused", fault: asApiError(error).code });
      }
    };
    void ask();
    this.#stop = stop;
  }

  #take(told: TalkTold) {
    switch (told.type) {
      case "level":
        for (const onLevel of this.#levels) onLevel(told.level);
        break;
      case "microphone":
        this.microphone = told.fault;
        break;
      case "speaker":
        this.speaker = told.fault;
        break;
      default:
        this.state = step(this.state, told);
        if (this.phase !== "listening") for (const onLevel of this.#levels) onLevel(0);
    }
  }

  #order(order: Order) {
    this.#call(order, undefined);
  }

  #call<C extends Order | "talk_text" | "talk_mute">(command: C, given: Commands[C]["given"]) {
    const call = this.#native.call as (command: C, given: Commands[C]["given"]) => Promise<unknown>;
    call(command, given).catch((error: unknown) => {
      this.state = step(this.state, { type: "refused", fault: asApiError(error).code });
    });
  }
}
