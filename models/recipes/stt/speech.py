"""Makes speech: shards of log-mel spectrograms for training, WAV files with noise for testing.

Shard `n` of a set depends only on the set's name and `n`, so an interrupted run continues where it stopped and two machines make the same shards up to the programs' versions.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from sentences import Sentence, is_held_out, sentence
from sound import RATE, distort, log_mel, noise, read_wave, write_wave
from voices import Voice, of_role, speak, speak_festival

SHARD = 500
LONGEST = 7.2  # seconds


def _choose(kind: str, role: str, count: int, r: random.Random) -> list[tuple[Sentence, Voice]]:
    held_out = kind != "train"
    voices = of_role(role)
    shares = [v.share for v in voices]
    chosen, seen = [], set()
    while len(chosen) < count:
        s = sentence(r)
        if is_held_out(s) != held_out:
            continue
        if s.written in seen and (held_out or (s.group != "open" and r.random() < 0.5)):
            continue
        if held_out and s.group == "open" and r.random() < 0.6:
            continue
        seen.add(s.written)
        chosen.append((s, r.choices(voices, shares)[0]))
    return chosen


def _ratio(voice: Voice, rate: int, r: random.Random) -> float:
    """Resampling that also moves pitch and vocal tract; voices for testing stay close to what they are."""
    if voice.role != "train" and voice.engine != "espeak":
        return RATE / rate * r.uniform(0.93, 1.08)
    return RATE / rate * (r.uniform(0.88, 1.13) if voice.engine == "espeak" else r.uniform(0.83, 1.2))


def make_shard(folder: Path, kind: str, role: str, index: int, count: int = SHARD) -> int:
    """`kind`: train, watch-text (trained voices, held-out sentences), or test. Returns the number of utterances."""
    name = f"{kind}-{role}-{index:04d}"
    done = folder / f"{name}.npz"
    if done.exists():
        return 0
    seed = zlib.crc32(name.encode())
    r, nr = random.Random(seed), np.random.default_rng(seed)
    chosen = _choose(kind, role, count, r)
    mels, kept, labels, waves = [], [], [], []
    scratch = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=scratch) as temporary:
        td = Path(temporary)
        spoken: dict[int, Path] = {}
        for voice in {v.name: v for _, v in chosen if v.engine == "festival"}.values():
            which = [i for i, (_, v) in enumerate(chosen) if v.name == voice.name]
            for k in range(0, len(which), 60):
                part = which[k : k + 60]
                sub = td / f"{voice.name}-{k}"
                sub.mkdir()
                spoken.update(zip(part, speak_festival(voice, [chosen[i][0].spoken for i in part], r, sub)))
        for i, (s, voice) in enumerate(chosen):
            try:
                if voice.engine == "festival":
                    samples, rate = read_wave(spoken[i].read_bytes())
                    label = voice.name
                else:
                    samples, rate, label = speak(voice, s.spoken, r, td)
            except Exception:  # noqa: BLE001  a synthesiser that fails on one sentence costs one sentence
                continue
            x = distort(samples, _ratio(voice, rate, r), nr)
            if x is None or not 2400 < len(x) < LONGEST * RATE:
                continue
            mels.append(log_mel(x).astype(np.float16))
            kept.append(s)
            labels.append(label)
            if kind != "train":
                waves.append(x)
    if waves:
        _write_test_waves(folder, name, waves, kept, labels, r, nr)
    part = folder / f"{name}.part.npz"
    np.savez(
        part, mel=np.concatenate(mels), length=np.array([len(m) for m in mels]), written=np.array([s.written for s in kept]),
        spoken=np.array([s.spoken for s in kept]), voice=np.array(labels), group=np.array([s.group for s in kept]),
    )  # fmt: skip
    part.rename(done)
    return len(mels)


def _write_test_waves(folder, name, waves, kept, labels, r, nr) -> None:
    wav_folder = folder / name
    wav_folder.mkdir(exist_ok=True)
    rows = []
    for i, x in enumerate(waves):
        snr = [40, 30, 20, 12][i % 4]
        lead, tail = int(r.uniform(0.1, 0.5) * RATE), int(r.uniform(0.3, 0.7) * RATE)
        y = np.concatenate([np.zeros(lead, np.float32), x, np.zeros(tail, np.float32)]) * r.uniform(0.3, 1.6)
        y = y + noise(len(y), nr, "white" if snr >= 30 else None) * np.sqrt((y**2).mean()) * 10 ** (-snr / 20)
        path = wav_folder / f"{i:04d}.wav"
        write_wave(path, y)
        rows.append({"file": str(path.relative_to(folder)), "written": kept[i].written, "voice": labels[i], "snr": snr, "group": kept[i].group})
    (folder / f"{name}.json").write_text(json.dumps(rows, indent=0), encoding="utf-8")


def make_silence(folder: Path, count: int = 80) -> None:
    """Clips without speech: digital silence, faint hiss, and every kind of noise."""
    done = folder / "test-silence.json"
    if done.exists():
        return
    nr = np.random.default_rng(77)
    wav_folder = folder / "test-silence"
    wav_folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(count):
        n = int(nr.uniform(0.5, 4) * RATE)
        kind = ["silence", "white", "pink", "brown", "fan", "hum", "music", "click"][i % 8]
        x = np.zeros(n, np.float32) if kind == "silence" else noise(n, nr, kind) * nr.choice([0.002, 0.01, 0.05])
        write_wave(wav_folder / f"{i:04d}.wav", x)
        rows.append({"file": f"test-silence/{i:04d}.wav", "written": "", "voice": kind, "snr": 0, "group": "silence"})
    done.write_text(json.dumps(rows, indent=0), encoding="utf-8")


def _job(job) -> int:
    os.environ["OMP_NUM_THREADS"] = "1"
    return make_shard(*job)


def make_sets(folder: Path, utterances: int, workers: int, blind: bool) -> None:
    """Training and test sets. Blind voices are spoken only when `blind` is given, for the final figure."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(folder, "test", "train", 0, 200), (folder, "test", "watch", 0, 300)]
    if blind:
        jobs.append((folder, "test", "blind", 0, 300))
    jobs += [(folder, "train", "train", i) for i in range((utterances + SHARD - 1) // SHARD)]
    make_silence(folder)
    made = 0
    if workers == 1:
        results = map(_job, jobs)
        for count in results:
            made += count
            print("utterances made", made, flush=True)
        return
    with ProcessPoolExecutor(workers) as pool:
        for count in pool.map(_job, jobs):
            made += count
            print("utterances made", made, flush=True)
