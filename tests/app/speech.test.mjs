// The judge of recordings: every bundled clip is speech; silence, hum, a chime, noise and a
// sweep are not.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT } from "../../tools/setup/paths.mjs";
import { judge, RATE, samplesOf } from "./speech.mjs";

const SPEECH = join(ROOT, "models", "starter", "speech");

function made(seconds, wave) {
  const samples = new Int16Array(seconds * RATE);
  for (let i = 0; i < samples.length; i += 1) samples[i] = Math.round(12_000 * wave(i / RATE));
  return samples;
}

test("every bundled clip is speech", async () => {
  const clips = (await readdir(SPEECH)).filter((name) => name.endsWith(".wav"));
  assert.ok(clips.length >= 6);
  for (const clip of clips) {
    const verdict = judge(samplesOf(await readFile(join(SPEECH, clip))));
    assert.ok(verdict.isSpeech, `${clip}: ${JSON.stringify(verdict)}`);
  }
});

test("what is no speech is not taken for it", () => {
  const sine = (hz) => (t) => Math.sin(2 * Math.PI * hz * t);
  const others = {
    silence: made(3, () => 0),
    hum: made(3, sine(100)),
    chime: made(3, (t) => sine(330)(t) * Math.exp(-4 * (t % 1))),
    noise: made(3, () => Math.random() * 2 - 1),
    "bursts of noise": made(3, (t) => (t % 0.4 < 0.2 ? Math.random() * 2 - 1 : 0)),
    sweep: made(3, (t) => Math.sin(2 * Math.PI * (80 + 50 * t) * t)),
  };
  for (const [name, samples] of Object.entries(others)) {
    const verdict = judge(samples);
    assert.ok(!verdict.isSpeech, `${name}: ${JSON.stringify(verdict)}`);
  }
});
