"""Waveforms: reading, resampling, room, clipping, noise; and Whisper's log-mel spectrogram."""

from __future__ import annotations

import io
import wave

import numpy as np

RATE = 16_000


def read_wave(data: bytes) -> tuple[np.ndarray, int]:
    """Mono 16-bit. Tolerates the unbounded length that programs write when they stream to a pipe."""
    with wave.open(io.BytesIO(data)) as w:
        n = w.getnframes()
        raw = w.readframes(n if 0 < n < 10**8 else 10**8)
        return np.frombuffer(raw[: len(raw) // 2 * 2], np.int16).astype(np.float32) / 32768, w.getframerate()


def write_wave(path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(RATE)
        w.writeframes((np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes())


def resample(x: np.ndarray, ratio: float) -> np.ndarray:
    m, n = max(1, int(len(x) * ratio)), len(x)
    n2 = 1 << int(np.ceil(np.log2(n + 1))) if n < 200_000 else n
    m2 = int(round(n2 * ratio))
    spectrum = np.fft.rfft(np.concatenate([x, np.zeros(n2 - n, np.float32)]))
    k = m2 // 2 + 1
    spectrum = spectrum[:k] if k <= len(spectrum) else np.concatenate([spectrum, np.zeros(k - len(spectrum), spectrum.dtype)])
    return (np.fft.irfft(spectrum, m2) * (m2 / n2)).astype(np.float32)[:m]


def trim(x: np.ndarray) -> np.ndarray | None:
    """Cuts silence at both ends; None when there is no sound."""
    level = np.abs(x)
    if not len(x) or level.max() < 1e-3:
        return None
    loud = np.nonzero(level > 0.02 * level.max())[0]
    x = x[max(0, loud[0] - 600) : loud[-1] + 1200]
    return x - x.mean()


def reverberate(x: np.ndarray, nr: np.random.Generator) -> np.ndarray:
    seconds = nr.uniform(0.12, 0.55)
    n = int(seconds * RATE)
    room = nr.standard_normal(n).astype(np.float32) * np.exp(-6.9 * np.arange(n) / n)
    room[: int(0.002 * RATE)] = 0
    room *= nr.uniform(0.15, 0.9) / np.sqrt((room**2).sum())
    room[0] = 1
    size = 1 << int(np.ceil(np.log2(len(x) + n)))
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(room, size), size)[: len(x) + n // 3].astype(np.float32)


def distort(x: np.ndarray, ratio: float, nr: np.random.Generator) -> np.ndarray | None:
    """One recording's fixed changes: resampling by `ratio` (16 kHz is part of it), a room for a third, clipping for a few."""
    x = trim(resample(x, ratio))
    if x is None:
        return None
    if nr.random() < 0.35:
        x = reverberate(x, nr)
    if nr.random() < 0.06:
        x = np.tanh(x / np.abs(x).max() * nr.uniform(1.5, 4))
    return (x / np.abs(x).max() * 0.5).astype(np.float32)


def noise(n: int, nr: np.random.Generator, kind: str | None = None) -> np.ndarray:
    """`n` samples of noise with RMS 1."""
    kind = kind or str(nr.choice(["white", "pink", "brown", "fan", "hum", "music", "click"]))
    white = nr.standard_normal(n).astype(np.float32)
    f = np.fft.rfftfreq(n, 1 / RATE) + 1
    t = np.arange(n) / RATE
    if kind == "white":
        y = white
    elif kind in ("pink", "brown", "fan"):
        spectrum = np.fft.rfft(white) * f ** (-0.5 if kind == "pink" else -1)
        if kind == "fan":
            spectrum *= np.exp(-((np.log(f) - np.log(nr.uniform(150, 900))) ** 2) / nr.uniform(0.3, 1.5))
        y = np.fft.irfft(spectrum, n)
        if kind == "fan":
            y = y * (1 + 0.3 * np.sin(2 * np.pi * nr.uniform(0.2, 4) * t))
    elif kind == "hum":
        base = nr.choice([50, 60, 100, 120])
        y = sum(nr.uniform(0.1, 1) / (j + 1) * np.sin(2 * np.pi * base * (j + 1) * t + nr.uniform(0, 6)) for j in range(8)) + 0.2 * white
    elif kind == "music":
        y, at = np.zeros(n), 0
        while at < n:
            step = int(nr.uniform(0.15, 0.6) * RATE)
            tt = t[: min(step * 2, n - at)]
            tone = 110 * 2 ** (nr.integers(0, 36) / 12)
            y[at : at + len(tt)] += sum(np.sin(2 * np.pi * tone * (j + 1) * tt) / (j + 1) ** nr.uniform(0.8, 2) for j in range(6)) * np.exp(-tt * nr.uniform(1, 5))
            at += step
        y = y + 0.01 * white
    else:
        y = 0.02 * white
        for _ in range(int(n / RATE * nr.uniform(2, 8)) + 1):
            at = nr.integers(0, max(1, n - 800))
            m = min(800, n - at)
            y[at : at + m] += nr.standard_normal(m) * np.exp(-np.arange(m) / nr.uniform(30, 250)) * nr.uniform(0.3, 1)
    return (y / (np.sqrt((y**2).mean()) + 1e-9)).astype(np.float32)


def hz_to_mel(f):
    return np.where(f < 1000, f * 3 / 200, 15 + np.log(np.maximum(f, 1e-3) / 1000) * 27 / np.log(6.4))


def mel_to_hz(m):
    return np.where(m < 15, m * 200 / 3, 1000 * np.exp((m - 15) * np.log(6.4) / 27))


def mel_filters(bands: int = 80, size: int = 400) -> np.ndarray:
    """Slaney's mel filters, as Whisper uses them: [bands, size / 2 + 1]."""
    edges = mel_to_hz(np.linspace(hz_to_mel(np.array(0.0)), hz_to_mel(np.array(RATE / 2)), bands + 2))
    f = np.linspace(0, RATE / 2, size // 2 + 1)
    lower = (f[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    upper = (edges[2:, None] - f[None]) / (edges[2:] - edges[1:-1])[:, None]
    return (np.maximum(0, np.minimum(lower, upper)) * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


FILTERS = mel_filters()
WINDOW = np.hanning(401)[:-1].astype(np.float32)


def log_mel(x: np.ndarray) -> np.ndarray:
    """log10 mel energies before Whisper's clamp and scaling, [len(x) // 160, 80]; silence follows the signal, as in whisper.cpp."""
    n = len(x) // 160
    y = np.concatenate([x[200:0:-1], x, np.zeros(400, np.float32)]).astype(np.float32)
    frames = np.lib.stride_tricks.as_strided(y, (n, 400), (y.strides[0] * 160, y.strides[0]))
    power = np.abs(np.fft.rfft(frames * WINDOW, axis=1)).astype(np.float32) ** 2
    return np.log10(np.maximum(power @ FILTERS.T, 1e-10))
