"""Training examples from stored spectrograms: changes of voice, room, microphone, level, noise and babble, done on the mel scale where they are cheap."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sound import hz_to_mel, log_mel, mel_to_hz, noise

FLOOR = -10.0
CHARACTERS = {c: i + 1 for i, c in enumerate(" abcdefghijklmnopqrstuvwxyz'")}
CENTRES = mel_to_hz(np.linspace(0, hz_to_mel(np.array(8000.0)), 82)[1:-1])


def characters(text: str) -> list[int]:
    return [CHARACTERS[c] for c in text.lower() if c in CHARACTERS]


def _warp(factor: float) -> np.ndarray:
    """Stretches the frequency axis, as a longer or shorter vocal tract would."""
    at = np.interp(np.minimum(CENTRES * factor, 8000), CENTRES, np.arange(80))
    low = np.floor(at).astype(int)
    share = at - low
    matrix = np.zeros((80, 80), np.float32)
    for k in range(80):
        matrix[low[k], k] += 1 - share[k]
        matrix[min(79, low[k] + 1), k] += share[k]
    return matrix


WARPS = [_warp(f) for f in np.linspace(0.86, 1.16, 31)]


class Store:
    """All utterances of some shards, in memory."""

    def __init__(self, paths: list[Path]) -> None:
        self.mel: list[np.ndarray] = []
        self.written: list[str] = []
        self.spoken: list[str] = []
        self.voice: list[str] = []
        for path in paths:
            with np.load(path) as z:
                mel, ends = z["mel"], np.concatenate([[0], np.cumsum(z["length"])])
                self.mel += [mel[ends[i] : ends[i + 1]] for i in range(len(ends) - 1)]
                self.written += z["written"].tolist()
                self.spoken += z["spoken"].tolist()
                self.voice += z["voice"].tolist()

    def __len__(self) -> int:
        return len(self.mel)


def noise_bank(path: Path, count: int = 240) -> list[np.ndarray]:
    if not path.exists():
        nr = np.random.default_rng(5)
        np.savez(path, n=np.stack([log_mel(noise(16000 * 6, nr) * 0.1).astype(np.float16) for _ in range(count)]))
    with np.load(path) as z:
        return list(z["n"])


def add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sum of two log10 energies."""
    top = np.maximum(a, b)
    return top + np.log10(1 + 10 ** (-np.abs(a - b)))


def silence(frames: int) -> np.ndarray:
    return np.full((frames, 80), FLOOR, np.float32)


class Augmenter:
    def __init__(self, store: Store, bank: list[np.ndarray], seed: int) -> None:
        self.store, self.bank, self.r = store, bank, np.random.default_rng(seed)
        self.span = (0.0, 0.0)

    def background(self, frames: int) -> np.ndarray:
        """Noise, or a few other utterances at once."""
        r = self.r

        def window(x: np.ndarray) -> np.ndarray:
            x = np.tile(x.astype(np.float32), (frames // len(x) + 2, 1))
            at = r.integers(0, len(x) - frames)
            return x[at : at + frames]

        if r.random() < 0.3 and len(self.store) > 10:
            mixed = window(self.store.mel[r.integers(len(self.store))])
            for _ in range(r.integers(1, 5)):
                mixed = add(mixed, window(self.store.mel[r.integers(len(self.store))]))
            return mixed
        return window(self.bank[r.integers(len(self.bank))])

    def utterance(self, mel: np.ndarray, strength: float) -> np.ndarray:
        """One utterance with everything changed that a microphone in a room may change. Leaves the span of the speech, in encoder positions, in `span`."""
        r, x = self.r, mel.astype(np.float32)
        if r.random() < 0.8 * strength:
            x = x @ WARPS[r.integers(31)]
        if r.random() < 0.8 * strength:
            n = max(8, int(len(x) * r.uniform(0.82, 1.22)))
            at = np.linspace(0, len(x) - 1, n)
            low = np.minimum(at.astype(int), len(x) - 2)
            share = (at - low)[:, None].astype(np.float32)
            x = x[low] * (1 - share) + x[low + 1] * share
        band = np.linspace(0, 1, 80, dtype=np.float32)
        if r.random() < 0.8 * strength:
            wave = lambda size, lo, hi: r.normal(0, size) * np.sin(2 * np.pi * (band * r.uniform(lo, hi) + r.random()))  # noqa: E731
            x = x + r.normal(0, 0.5) * (band - 0.5) + wave(0.2, 0.5, 3) + wave(0.12, 3, 8)
        if r.random() < 0.12 * strength:  # band-pass
            low, high, depth = r.integers(0, 14), r.integers(55, 80), r.uniform(1.5, 4)
            cut = np.zeros(80, np.float32)
            cut[:low] = cut[high:] = -depth
            x = x + cut
        before, after = r.integers(0, 50), r.integers(4, 60)
        self.span = (before / 2 + 1.5, (before + len(x)) / 2 - 3.5)
        x = np.concatenate([silence(before), x, silence(after)])
        x = x + 2 * np.log10(np.exp(r.uniform(np.log(0.06), np.log(2.0))))
        if r.random() < 0.85 * strength:
            behind = self.background(len(x))
            speech_power, noise_power = (np.log10((10**z).sum(1).mean() + 1e-12) for z in (x, behind))
            snr = r.uniform(3, 40) if r.random() < 0.8 else r.uniform(0, 10)
            x = add(x, behind + (speech_power - noise_power - snr / 10))
        return np.maximum(x, FLOOR)

    def no_speech(self) -> np.ndarray:
        r = self.r
        n = r.integers(40, 250)
        x = self.bank[r.integers(len(self.bank))].astype(np.float32)[:n] if r.random() < 0.7 else silence(n)
        return np.maximum(x + r.uniform(-6, 0), FLOOR)

    def window(self, x: np.ndarray, positions: int, strength: float) -> np.ndarray:
        """Whisper's clamp and scaling in a window of `positions` encoder positions, with a few masked bands and moments: [80, frames]."""
        r = self.r
        y = scaled(x, positions)
        if r.random() < 0.65 * strength:
            for _ in range(r.integers(0, 3)):
                w = r.integers(1, 11)
                at = r.integers(0, 80 - w)
                y[:, at : at + w] = y.mean()
            for _ in range(r.integers(0, 3)):
                w = r.integers(1, 14)
                at = r.integers(0, max(1, len(x) - w))
                y[at : at + w] = y.mean()
        return y.T


def scaled(x: np.ndarray, positions: int) -> np.ndarray:
    y = silence(2 * positions)
    x = x[: 2 * positions]
    y[: len(x)] = x
    return (np.maximum(y, y.max() - 8) + 4) / 4


def plain(mel: np.ndarray, positions: int, lead: int = 20) -> np.ndarray:
    """An utterance as it is, for evaluation."""
    return scaled(np.concatenate([silence(lead), mel.astype(np.float32)]), positions).T
