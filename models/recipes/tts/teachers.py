"""The teacher voices, read out as parameters (mel-cepstrum, F0, state durations), not as waveforms.

slt: Debian's festvox-us-slt-hts through hts_engine (32 kHz, 45 mel-cepstra). rms: flite's cmu_us_rms (16 kHz, 25 mel-cepstra), refitted to slt's axis.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from labels import Segment, Word, labels, parse
from phonemes import FUNCTION_WORDS, VOWELS, WEAK_FORMS, ids, unstressed, usable

HERE = Path(__file__).parent
SLT_VOICE = Path("/usr/share/festival/voices/us/cmu_us_slt_arctic_hts/hts/cmu_us_slt_arctic_hts.htsvoice")
FRAMES_PER_SECOND = 200
# Highest voiced frequency in kHz, by phone.
VOICED_UP_TO = {p: 5.5 for p in VOWELS} | dict(
    zip("m n ng l r w y z zh v dh b d g jh hh".split(), [4.5, 4.5, 4.5, 5, 5, 5, 5, 1.5, 1.5, 2.5, 2.5, 2.5, 2.5, 2.5, 1.5, 3.0])
)
# Frames of silence that a mark makes.
PAUSE = {".": 60, "!": 60, "?": 60, "…": 60, ";": 40, ":": 40, "—": 40, ",": 28, "(": 20, ")": 20, '"': 20, "“": 20, "”": 20}
RMS_WORD = {"in": "in", "to": "to", "det": "the", "md": "will", "cc": "and", "wp": "what", "pps": "his", "aux": "is", "content": "thing"}
RMS_GAIN = 0.3


def build(folder: Path) -> None:
    """Compiles the two small programs that read the teachers out."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["gcc", "-O2", "-o", folder / "slt", HERE / "teacher_slt.c", "-lHTSEngine", "-lm"], check=True)
    libraries = ["-lflite_cmu_us_rms", "-lflite_usenglish", "-lflite_cmulex", "-lflite", "-lm"]
    subprocess.run(["gcc", "-O2", "-o", folder / "rms", HERE / "teacher_rms.c", *libraries], check=True)


def phonemes_of(program: Path, texts: list[str]) -> list[tuple[str, str]]:
    out = subprocess.run([program], input="\n".join(texts) + "\n", capture_output=True, text=True, check=True).stdout
    return [tuple(line.split("\t", 1)) for line in out.splitlines() if "\t" in line]  # type: ignore[misc]


def word_kinds(program: Path) -> dict[str, str]:
    kinds = dict(WEAK_FORMS)
    for word, sound in phonemes_of(program, list(FUNCTION_WORDS)):
        kinds[unstressed(sound)] = FUNCTION_WORDS[word]
    return kinds


def features(phonemes: str, segments: list[Segment], frames: np.ndarray, x: np.ndarray):
    """Token ids, frames per token (with the two pads), and [T, 48] features; None when nothing is voiced."""
    log_f0 = x[:, 45]
    voiced = log_f0 > -1e9
    if voiced.sum() < 10:
        return None
    t = np.arange(len(log_f0))
    f0 = np.interp(t, t[voiced], log_f0[voiced])
    ends = np.cumsum(frames)
    top = np.concatenate([np.full(n, VOICED_UP_TO.get(s.name, 4.0)) for s, n in zip(segments, frames)])
    top = np.convolve(np.pad(top, 2, mode="edge"), np.ones(5) / 5, "valid")
    whole = np.concatenate([x[:, :45], f0[:, None], voiced[:, None].astype("f4"), top[:, None]], 1).astype("f4")
    duration = np.zeros(len(phonemes) + 2, int)
    parts = []
    for i, (segment, n, end) in enumerate(zip(segments, frames, ends)):
        part = whole[end - n : end]
        if segment.name == "pau":
            if i == 0:
                part, where = part[-8:], [0]
            elif segment.tokens == [-2]:
                part, where = part[:20], [len(phonemes) + 1]
            else:
                part = part[np.round(np.linspace(0, len(part) - 1, PAUSE[segment.punctuation])).astype(int)]
                where = [segment.tokens[0] + 1]
        else:
            where = [q + 1 for q in segment.tokens]
        parts.append(part)
        for k, q in enumerate(where):
            duration[q] += len(part) // len(where) + (1 if k < len(part) % len(where) else 0)
    features_ = np.concatenate(parts)
    assert duration.sum() == len(features_)
    return np.array(ids(phonemes), "i2"), duration.astype("i2"), features_.astype("f2")


def _feed(process: subprocess.Popen, lines: Iterator[str]) -> None:
    def write() -> None:
        for line in lines:
            process.stdin.write(line.encode())
        process.stdin.close()

    threading.Thread(target=write, daemon=True).start()


def speak_slt(program: Path, spoken: list[tuple[str, str]], kinds: dict[str, str]):
    jobs = [(p, *made) for _, p in spoken if usable(p) and (made := labels(p, kinds))]
    process = subprocess.Popen([program, SLT_VOICE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    _feed(process, (f"{len(lines)}\n" + "\n".join(lines) + "\n" for _, lines, _ in jobs))
    for phonemes, _, segments in jobs:
        count, total = np.frombuffer(process.stdout.read(8), "<i4")
        frames = np.frombuffer(process.stdout.read(4 * count), "<i4")
        x = np.frombuffer(process.stdout.read(total * 184), "<f4").reshape(total, 46)
        if total and (made := features(phonemes, segments, frames, x)):
            yield made


def _warp(w, alpha):
    return w + 2 * np.arctan(alpha * np.sin(w) / (1 - alpha * np.cos(w)))


def _refit() -> tuple[np.ndarray, np.ndarray]:
    """25 mel-cepstra at 16 kHz (α 0.42) → 45 at 32 kHz (α 0.45), falling by 0.2 a kHz above 8 kHz, where rms has nothing."""
    points = 512
    grid = (np.arange(points) + 0.5) / points * np.pi
    f = _warp(grid, -0.45) / np.pi * 16000
    basis = np.cos(np.arange(25)[None] * _warp(np.minimum(f, 8000) / 8000 * np.pi, 0.42)[:, None])
    analysis = np.cos(np.arange(45)[:, None] * grid[None]) * 2 / points
    analysis[0] /= 2
    return (analysis @ basis).T.astype("f4"), (analysis @ (-0.2 * np.maximum(f - 8000, 0) / 1000)).astype("f4")


def _rms_line(phonemes: str, kinds: dict[str, str]) -> str:
    words: list[list[str]] = []
    for item in parse(phonemes, kinds) or []:
        if isinstance(item, Word):
            sound = " ".join(p.name + (("1" if p.stress else "0") if p.name in VOWELS else "") for p in item.phones)
            words.append([RMS_WORD[item.kind], sound, ""])
        elif words:
            words[-1][2] += item[0] if item[0] in ",.?!;:" else ("," if item[0] in "—…)" else "")
    return "\t".join("|".join(w) for w in words) + "\n"


def speak_rms(program: Path, spoken: list[tuple[str, str]], kinds: dict[str, str]):
    matrix, offset = _refit()
    jobs = [(p, made[1]) for _, p in spoken if usable(p) and (made := labels(p, kinds))]
    process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    _feed(process, (_rms_line(p, kinds) for p, _ in jobs))
    for phonemes, segments in jobs:
        count, total = np.frombuffer(process.stdout.read(8), "<i4")
        raw = process.stdout.read(8 * count)
        names = [raw[8 * i : 8 * i + 8].rstrip(b"\0").decode() for i in range(count)]
        frames = np.frombuffer(process.stdout.read(4 * count), "<i4").copy()
        x = np.frombuffer(process.stdout.read(104 * total), "<f4").reshape(total, 26)
        same = len(names) == len(segments) and all((a == "pau") == (s.name == "pau") for a, s in zip(names, segments))
        if not same or (frames < 1).any() or frames.sum() != total:
            continue  # flite spoke another number of phones than the labels have
        y = np.empty((total, 46), "f4")
        y[:, :45] = x[:, 1:] @ matrix + offset
        y[:, 0] += RMS_GAIN
        y[:, 45] = np.where(x[:, 0] > 40, np.log(np.maximum(x[:, 0], 40)), -1e10)
        if made := features(phonemes, segments, frames, y):
            yield made


def write(folder: Path, voice: str, spoken_by: Callable, *arguments) -> None:
    """Stores what a teacher says: `VOICE.f16` (features) and `VOICE.npz` (tokens, frames per token, lengths)."""
    done = folder / f"{voice}.npz"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    tokens, durations, token_counts, frame_counts = [], [], [], []
    with open(folder / f"{voice}.f16", "wb") as f:
        for ids_, duration, x in spoken_by(*arguments):
            tokens.append(ids_)
            durations.append(duration)
            token_counts.append(len(ids_))
            frame_counts.append(len(x))
            f.write(x.tobytes())
    part = folder / f"{voice}.part.npz"
    np.savez(part, ids=np.concatenate(tokens), durations=np.concatenate(durations), tokens=token_counts, frames=frame_counts)
    part.rename(done)
    print(voice, len(frame_counts), "utterances", round(sum(frame_counts) / FRAMES_PER_SECOND / 3600, 2), "hours", flush=True)
