// Whether a recording is speech, by three things that speech has and that silence, a tone,
// noise and music do not have together: a voice (a pitch between 70 and 400 Hz), whose
// pitch moves, and syllables (the level rises and falls a few times a second).

/** Samples a second of what is looked at. */
export const RATE = 16_000;
/** 50 ms: the half of it holds almost two periods of the lowest voice. */
const FRAME = 800;
const STEP = 160;
/** Level below which a frame is silence; the virtual cable itself is silent. Chosen. */
const QUIET = 0.004;
/** Of the highest possible correlation; voices of the bundled speech reach 0.8. Chosen. */
const VOICED = 0.6;

/**
 * @param {Int16Array} samples 16 kHz, mono
 * @returns {{voicedSeconds: number, pitchSpread: number, syllables: number, isSpeech: boolean}}
 *   `pitchSpread` is the distance between the lower and the upper tenth, as a part of the median
 */
export function judge(samples) {
  const pitches = [];
  const levels = [];
  for (let at = 0; at + FRAME <= samples.length; at += STEP) {
    const level = rms(samples, at);
    levels.push(level);
    if (level < QUIET) continue;
    const pitch = pitchOf(samples, at);
    if (pitch) pitches.push(pitch);
  }
  const voicedSeconds = (pitches.length * STEP) / RATE;
  pitches.sort((a, b) => a - b);
  const part = (of) => pitches[Math.floor((pitches.length - 1) * of)] ?? 0;
  const pitchSpread = part(0.5) > 0 ? (part(0.9) - part(0.1)) / part(0.5) : 0;
  const syllables = rises(levels);
  return { voicedSeconds, pitchSpread, syllables, isSpeech: voicedSeconds >= 0.4 && pitchSpread >= 0.03 && syllables >= 2 };
}

function rms(samples, at) {
  let sum = 0;
  for (let i = at; i < at + FRAME; i += 1) sum += (samples[i] / 32_768) ** 2;
  return Math.sqrt(sum / FRAME);
}

/** Pitch in Hz by autocorrelation, or `null` for what has none. */
function pitchOf(samples, at) {
  const half = FRAME / 2;
  let best = 0;
  let lag = 0;
  let energy = 0;
  for (let i = 0; i < half; i += 1) energy += samples[at + i] ** 2;
  for (let shift = Math.floor(RATE / 400); shift <= Math.ceil(RATE / 70); shift += 1) {
    let product = 0;
    let other = 0;
    for (let i = 0; i < half; i += 1) {
      product += samples[at + i] * samples[at + i + shift];
      other += samples[at + i + shift] ** 2;
    }
    const likeness = product / Math.sqrt(energy * other + 1);
    if (likeness > best) [best, lag] = [likeness, shift];
  }
  return best >= VOICED ? RATE / lag : null;
}

/** How often the level rises from below 40 % of the loudest to above 55 % of it. */
function rises(levels) {
  // Over 50 ms, so that single periods do not count.
  const smooth = levels.map((_, i) => Math.max(...levels.slice(Math.max(0, i - 2), i + 3)));
  const top = Math.max(...smooth, QUIET);
  let isLow = true;
  let count = 0;
  for (const level of smooth) {
    if (level < top * 0.4) isLow = true;
    else if (level > top * 0.55 && isLow) {
      isLow = false;
      count += 1;
    }
  }
  return count;
}

/** Samples of a WAV file of 16-bit mono; the rate must be `RATE`. */
export function samplesOf(wav) {
  let at = 12;
  while (wav.toString("latin1", at, at + 4) !== "data") {
    if (wav.toString("latin1", at, at + 4) === "fmt " && (wav.readUInt16LE(at + 10) !== 1 || wav.readUInt32LE(at + 12) !== RATE)) {
      throw new Error(`not ${RATE} Hz mono`);
    }
    at += 8 + wav.readUInt32LE(at + 4);
    if (at + 8 > wav.length) throw new Error("no data in the WAV file");
  }
  return pcm(wav.subarray(at + 8));
}

/** 16-bit little-endian samples. */
export function pcm(bytes) {
  const samples = new Int16Array(Math.floor(bytes.length / 2));
  for (let i = 0; i < samples.length; i += 1) samples[i] = bytes.readInt16LE(i * 2);
  return samples;
}
