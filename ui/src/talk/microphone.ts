// The browser's microphone: asked for when it is first needed, then kept warm, so that the
// beginning of what is said is not lost. Sound leaves this file only while a key is held,
// with the moment before it. Deliberately absent: any recording.

import workletUrl from "./capture-worklet.js?url";
import { HUB_RATE, level, Resampler } from "./resample";

/** Sound from before the key, in samples. Chosen: people begin to speak as they press. */
const PRE_ROLL = (HUB_RATE * 300) / 1000;

/** Why there is no sound. */
export type MicrophoneFault = "refused" | "missing" | "failed";

export class MicrophoneError extends Error {
  readonly fault: MicrophoneFault;

  constructor(fault: MicrophoneFault, cause: unknown) {
    super(`microphone: ${fault}`, { cause });
    this.fault = fault;
  }
}

/** A microphone that is open. */
export interface Microphone {
  /** From here on `take` gets the sound, what came just before it first. */
  listen(take: (samples: Float32Array) => void): void;
  pause(): void;
  close(): void;
}

/** Opens it; the browser asks the person the first time. */
export async function openMicrophone(onLevel: (level: number) => void): Promise<Microphone> {
  const stream = await permitted();
  const context = new AudioContext({ latencyHint: "interactive" });
  try {
    await context.audioWorklet.addModule(workletUrl);
    await context.resume();
  } catch (error) {
    stop(stream);
    await context.close();
    throw new MicrophoneError("failed", error);
  }
  const node = new AudioWorkletNode(context, "loqa-capture", { numberOfOutputs: 0 });
  const source = context.createMediaStreamSource(stream);
  source.connect(node);

  const resampler = new Resampler(context.sampleRate);
  const before = new Ring(PRE_ROLL);
  let taker: ((samples: Float32Array) => void) | null = null;
  node.port.onmessage = ({ data }: MessageEvent<Float32Array>) => {
    const samples = resampler.push(data);
    if (taker) {
      onLevel(level(data));
      taker(samples);
    } else before.push(samples);
  };
  return {
    listen(take) {
      take(before.drain());
      taker = take;
    },
    pause() {
      taker = null;
      onLevel(0);
    },
    close() {
      stop(stream);
      node.port.onmessage = null;
      void context.close();
    },
  };
}

async function permitted(): Promise<MediaStream> {
  try {
    const audio = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    return await navigator.mediaDevices.getUserMedia({ audio, video: false });
  } catch (error) {
    const name = error instanceof DOMException ? error.name : "";
    const fault = name === "NotAllowedError" ? "refused" : name === "NotFoundError" ? "missing" : "failed";
    throw new MicrophoneError(fault, error);
  }
}

function stop(stream: MediaStream) {
  for (const track of stream.getTracks()) track.stop();
}

/** The last samples, and no more. */
export class Ring {
  #pieces: Float32Array[] = [];
  #length = 0;
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  push(samples: Float32Array) {
    this.#pieces.push(samples);
    this.#length += samples.length;
    while (this.#pieces[0] && this.#length - this.#pieces[0].length >= this.#most) {
      this.#length -= this.#pieces.shift()?.length ?? 0;
    }
  }

  /** All of it, oldest first; afterwards it is empty. */
  drain(): Float32Array {
    const all = new Float32Array(this.#length);
    let at = 0;
    for (const piece of this.#pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    this.#pieces = [];
    this.#length = 0;
    return all;
  }
}
