// Plays the answer as it comes, without gaps, and says when its last sample was heard.
// Deliberately absent: choosing a device, which is the browser's.

import { fromPcm16 } from "./resample";

/** Time in hand before the first sample, in seconds. Chosen: two of the browser's blocks. */
const LEAD = 0.02;

export interface Player {
  begin(sampleRate: number): void;
  push(pcm: ArrayBuffer): void;
  /** No more comes; `heard` is called once the rest was played. */
  finish(heard: () => void): void;
  /** Silent at once. */
  stop(): void;
}

export function createPlayer(onPlaying: (on: boolean) => void): Player {
  let context: AudioContext | null = null;
  let rate = 24_000;
  let nextAt = 0;
  let waiting = new Set<AudioBufferSourceNode>();
  let heard: (() => void) | null = null;

  const settle = () => {
    if (waiting.size > 0 || heard === null) return;
    const tell = heard;
    heard = null;
    onPlaying(false);
    tell();
  };
  return {
    begin(sampleRate) {
      this.stop();
      rate = sampleRate;
      context ??= new AudioContext({ latencyHint: "interactive" });
      void context.resume();
      nextAt = context.currentTime + LEAD;
      onPlaying(true);
    },
    push(pcm) {
      if (!context || pcm.byteLength < 2) return;
      const samples = fromPcm16(pcm);
      const buffer = context.createBuffer(1, samples.length, rate);
      buffer.copyToChannel(samples, 0);
      const source = context.createBufferSource();
      source.buffer = buffer;
      source.connect(context.destination);
      const mine = waiting;
      mine.add(source);
      source.onended = () => {
        mine.delete(source);
        if (mine === waiting) settle();
      };
      nextAt = Math.max(nextAt, context.currentTime);
      source.start(nextAt);
      nextAt += buffer.duration;
    },
    finish(tell) {
      heard = tell;
      settle();
    },
    stop() {
      const playing = waiting;
      waiting = new Set();
      heard = null;
      for (const source of playing) source.stop();
      onPlaying(false);
    },
  };
}
