// Sound of any rate becomes 16 kHz, piece by piece, without clicks between the pieces.
// A windowed-sinc low-pass keeps what 16 kHz cannot carry from folding back into speech.
// Deliberately absent: channels; the capture hands over one.

/** What the hub hears, in samples per second; `docs/protocol.md`. */
export const HUB_RATE = 16_000;
/** Zero crossings of the filter on each side. Chosen: 60 dB less at 10 kHz of 48 kHz. */
const CROSSINGS = 16;

/** Turns a stream of pieces into a stream of pieces. */
export class Resampler {
  readonly #step: number;
  readonly #cutoff: number;
  readonly #reach: number;
  #kept: Float32Array;
  /** Where the next sample stands, counted from the begin of `#kept`. */
  #at: number;

  constructor(from: number, to: number = HUB_RATE) {
    this.#step = from / to;
    this.#cutoff = Math.min(1, to / from) * 0.94;
    this.#reach = Math.ceil(CROSSINGS / this.#cutoff);
    this.#kept = new Float32Array(this.#reach);
    this.#at = this.#reach;
  }

  push(piece: Float32Array): Float32Array {
    const input = new Float32Array(this.#kept.length + piece.length);
    input.set(this.#kept);
    input.set(piece, this.#kept.length);
    const count = Math.max(0, Math.ceil((input.length - this.#reach - this.#at) / this.#step));
    const output = new Float32Array(count);
    for (let n = 0; n < count; n += 1) output[n] = this.#sample(input, this.#at + n * this.#step);
    const next = this.#at + count * this.#step;
    const drop = Math.max(0, Math.min(input.length, Math.floor(next) - this.#reach));
    this.#kept = input.slice(drop);
    this.#at = next - drop;
    return output;
  }

  #sample(input: Float32Array, at: number): number {
    const from = Math.max(0, Math.ceil(at - this.#reach));
    const to = Math.min(input.length - 1, Math.floor(at + this.#reach));
    let sum = 0;
    for (let n = from; n <= to; n += 1) sum += (input[n] ?? 0) * this.#weight(n - at);
    return sum;
  }

  #weight(distance: number): number {
    const x = distance * this.#cutoff;
    const window = 0.5 + 0.5 * Math.cos((Math.PI * distance) / this.#reach);
    const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
    return this.#cutoff * sinc * window;
  }
}

/** PCM as the hub takes it: signed 16 bit, little-endian. */
export function toPcm16(samples: Float32Array): ArrayBuffer {
  const view = new DataView(new ArrayBuffer(samples.length * 2));
  samples.forEach((sample, n) => {
    const clipped = Math.max(-1, Math.min(1, sample));
    view.setInt16(n * 2, Math.round(clipped * 32_767), true);
  });
  return view.buffer;
}

/** The other way round, for playing. */
export function fromPcm16(bytes: ArrayBuffer): Float32Array<ArrayBuffer> {
  const view = new DataView(bytes);
  return Float32Array.from({ length: bytes.byteLength >> 1 }, (_, n) => view.getInt16(n * 2, true) / 32_768);
}

/** Loudness of a piece, 0 to 1, for the level ring. */
export function level(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const rms = Math.sqrt(sum / Math.max(1, samples.length));
  // -60 dB is silence, -10 dB is loud speech.
  const decibel = 20 * Math.log10(Math.max(rms, 1e-6));
  return Math.max(0, Math.min(1, (decibel + 60) / 50));
}
