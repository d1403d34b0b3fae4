// Talking in a browser: holds the socket, the microphone, the speaker and the state that
// `state.ts` decides together. Deliberately absent: what is shown.

import { follow, type Client, type TalkMessage, type TalkRequest } from "../backend";
import { MicrophoneError, openMicrophone, type Microphone, type MicrophoneFault } from "./microphone";
import { createPlayer } from "./player";
import { toPcm16 } from "./resample";
import { phase, START, step, type Phase, type TalkAction, type TalkState } from "./state";
import type { Talker } from "./talker";

/** Longest message of sound, in samples: a second. The hub takes two. */
const PIECE = 16_000;

export class WebTalker implements Talker {
  state = $state.raw<TalkState>(START);
  /** Why there is no sound, where there is none. */
  microphone = $state<MicrophoneFault | null>(null);
  readonly speaker = null;
  readonly phase: Phase = $derived(phase(this.state));
  readonly #client: Client;
  readonly #player = createPlayer((on) => this.#do({ type: "playing", on }));
  #send: (data: string | ArrayBufferLike) => boolean = () => false;
  #open: Microphone | null = null;
  #opening: Promise<Microphone> | null = null;
  #onLevel: (level: number) => void = () => undefined;

  constructor(client: Client) {
    this.#client = client;
  }

  /** Connects; returns how to stop. */
  start(onLevel: (level: number) => void): () => void {
    this.#onLevel = onLevel;
    const followed = follow<TalkMessage>(this.#client, "/v1/talk", {
      opened: () => this.#do({ type: "opened" }),
      closed: () => {
        this.#open?.pause();
        this.#player.stop();
        this.#do({ type: "closed" });
      },
      message: (message) => this.#hear(message),
      binary: (bytes) => this.#player.push(bytes),
    });
    this.#send = (data) => followed.send(data);
    return () => {
      followed.stop();
      this.#player.stop();
      this.#open?.close();
    };
  }

  /** The key is down: interrupts what is said, then listens. */
  press(speak: boolean) {
    void this.#press(speak);
  }

  async #press(speak: boolean) {
    if (this.phase === "speaking") {
      this.#player.stop();
      this.#request({ type: "barge_in" });
      return;
    }
    if (this.phase !== "idle") return;
    this.#do({ type: "held" });
    const microphone = await this.#ready();
    if (!microphone) return;
    // Let go while the browser still asked for the microphone.
    if (!this.state.isHeld) {
      this.#do({ type: "ended" });
      return;
    }
    this.#request({ type: "start", session: this.state.session, speak, playback: "reported" });
    microphone.listen((samples) => {
      for (let at = 0; at < samples.length; at += PIECE) this.#send(toPcm16(samples.subarray(at, at + PIECE)));
    });
  }

  /** The key is up. */
  release() {
    if (!this.state.isHeld) return;
    this.#do({ type: "let_go" });
    if (!this.#open) return;
    this.#open.pause();
    this.#request({ type: "end" });
  }

  /** A typed turn; says whether it went off. */
  type(words: string, speak: boolean): boolean {
    if (words === "" || this.phase === "offline" || this.state.isRunning) return false;
    this.#player.stop();
    this.#do({ type: "typed", text: words });
    this.#request({ type: "text", text: words, session: this.state.session, speak, playback: "reported" });
    return true;
  }

  cancel() {
    this.#open?.pause();
    this.#player.stop();
    this.#do({ type: "let_go" });
    this.#request({ type: "cancel" });
  }

  mute(on: boolean) {
    if (on) {
      this.#open?.close();
      this.#open = null;
    }
    this.#do({ type: "muted", on });
  }

  fresh() {
    this.#do({ type: "fresh" });
  }

  async #ready(): Promise<Microphone | null> {
    if (this.#open) return this.#open;
    try {
      this.#opening ??= openMicrophone((level) => this.#onLevel(level));
      this.#open = await this.#opening;
      this.microphone = null;
      return this.#open;
    } catch (error) {
      this.microphone = error instanceof MicrophoneError ? error.fault : "failed";
      this.#do({ type: "ended" });
      return null;
    } finally {
      this.#opening = null;
    }
  }

  #hear(message: TalkMessage) {
    switch (message.type) {
      case "audio":
        this.#player.begin(message.sample_rate);
        break;
      case "audio_end":
        this.#player.finish(() => this.#request({ type: "played" }));
        break;
      case "audio_stop":
        this.#player.stop();
        break;
      case "started":
      case "event":
      case "report":
      case "problem":
      case "dropped":
        break;
    }
    this.#do({ type: "hub", message });
  }

  #request(request: TalkRequest) {
    if (!this.#send(JSON.stringify(request))) this.#do({ type: "refused", fault: "offline" });
  }

  #do(action: TalkAction) {
    this.state = step(this.state, action);
  }
}
