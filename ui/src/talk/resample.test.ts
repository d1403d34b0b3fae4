import { describe, expect, it } from "vitest";
import { fromPcm16, HUB_RATE, level, Resampler, toPcm16 } from "./resample";

function tone(hertz: number, rate: number, seconds = 0.5): Float32Array {
  return Float32Array.from({ length: rate * seconds }, (_, n) => Math.sin((2 * Math.PI * hertz * n) / rate));
}

function resampled(input: Float32Array, rate: number, piece: number): Float32Array {
  const resampler = new Resampler(rate);
  const pieces: number[] = [];
  for (let at = 0; at < input.length; at += piece) pieces.push(...resampler.push(input.subarray(at, at + piece)));
  return Float32Array.from(pieces);
}

function rms(samples: Float32Array): number {
  return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
}

describe.each([44_100, 48_000, 96_000, 16_000])("from %i Hz", (rate) => {
  it("speech stays as loud as it is", () => {
    const middle = resampled(tone(1_000, rate), rate, 128).slice(1_000, -1_000);
    expect(rms(middle)).toBeCloseTo(Math.SQRT1_2, 1);
  });

  it("the length is right", () => {
    const made = resampled(tone(300, rate), rate, 128).length;
    expect(Math.abs(made - HUB_RATE / 2)).toBeLessThan(80);
  });
});

it("what 16 kHz cannot carry does not fold back", () => {
  const folded = resampled(tone(12_000, 48_000), 48_000, 128).slice(1_000, -1_000);
  expect(rms(folded)).toBeLessThan(0.002);
});

it("the size of the pieces does not matter", () => {
  const input = tone(440, 44_100);
  const [small, large] = [resampled(input, 44_100, 128), resampled(input, 44_100, 4_096)];
  const length = Math.min(small.length, large.length);
  for (let n = 0; n < length; n += 1) expect(small[n]).toBeCloseTo(large[n] ?? 9, 4);
});

it("PCM there and back", () => {
  const there = toPcm16(Float32Array.of(0, 0.5, -0.5, 2, -2));
  expect([...fromPcm16(there)].map((sample) => Math.round(sample * 100) / 100)).toEqual([0, 0.5, -0.5, 1, -1]);
});

it("silence has no level and speech has one", () => {
  expect(level(new Float32Array(128))).toBe(0);
  expect(level(tone(200, 48_000).map((sample) => sample * 0.1))).toBeGreaterThan(0.5);
});
