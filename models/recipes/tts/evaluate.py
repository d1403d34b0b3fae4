"""Words understood by an independent recogniser (pocketsphinx with its own English model), speed, and odd inputs."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np

from phonemes import ids

RATE = 24_000


def words(text: str) -> list[str]:
    return re.sub(r"[^a-z' ]", " ", text.lower()).split()


def distance(a: list[str], b: list[str]) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


class Voice:
    """A model with one voice table, through onnxruntime on one thread."""

    def __init__(self, model: Path, voice: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        began = time.perf_counter()
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.load_seconds = time.perf_counter() - began
        self.styles = np.fromfile(voice, np.float32).reshape(510, 1, 256)

    def run(self, tokens: list[int], style: np.ndarray | None = None, speed: float = 1.0) -> np.ndarray:
        style = self.styles[min(max(0, len(tokens) - 2), 509)] if style is None else style
        return self.session.run(None, {"input_ids": np.array([tokens], np.int64), "style": style, "speed": np.array([speed], np.float32)})[0][0]


def understood(voice: Voice, replies: list[tuple[str, str]]) -> tuple[dict, list[dict]]:
    from pocketsphinx import Config, Decoder
    from scipy.signal import resample_poly

    decoder = Decoder(Config(samprate=16000, loglevel="FATAL"))
    rows, audio, spent = [], 0.0, 0.0
    for i, (text, phonemes) in enumerate(replies):
        began = time.perf_counter()
        x = voice.run(ids(phonemes))
        spent += time.perf_counter() - began
        audio += len(x) / RATE
        x = resample_poly(x.astype("f8"), 2, 3)
        x = np.concatenate([np.zeros(4000), x / np.abs(x).max() * 16000, np.zeros(4000)])
        x += np.random.default_rng(i).normal(0, 3, len(x))
        decoder.start_utt()
        decoder.process_raw(x.astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        heard = decoder.hyp().hypstr if decoder.hyp() else ""
        rows.append({"text": text, "heard": heard, "errors": distance(words(text), words(heard)), "words": len(words(text))})
    total = sum(r["words"] for r in rows)
    return {"replies": len(rows), "words": total, "word_error_rate": round(sum(r["errors"] for r in rows) / total, 4), "real_time_factor": round(spent / audio, 4)}, rows


def speed(voice: Voice, replies: list[tuple[str, str]]) -> dict:
    out = {"load_ms": round(1000 * voice.load_seconds, 1)}
    for text, phonemes in sorted(replies, key=lambda r: len(r[1]))[:: max(1, len(replies) // 4)]:
        times = []
        for _ in range(20):
            began = time.perf_counter()
            voice.run(ids(phonemes))
            times.append(time.perf_counter() - began)
        out[text] = round(1000 * float(np.median(times)), 1)
    return out


def odd_inputs(voice: Voice) -> list[str]:
    """Inputs that must neither fail nor give a sample that is not a number; returns those that do."""
    sample = ids("ðə lˈIt ɪz ˈɔf.")
    style = np.random.default_rng(0).normal(0, 0.3, (1, 256)).astype(np.float32)
    cases = {"nothing": ([0, 0], None), "one phone": ([0, 83, 0], None), "all tokens": (list(range(178)), None), "512 tokens": ((sample * 60)[:512], None), "any style": (sample, style)}
    return [name for name, (tokens, s) in cases.items() if not np.isfinite(voice.run(tokens, s)).all()]
