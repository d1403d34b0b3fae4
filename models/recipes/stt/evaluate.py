"""Word error rate of a model file through unmodified whisper.cpp, by voice, noise and kind of sentence; and what silence gives."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np

from train import distance, words

SETS = {
    "seen voices, new sentences": "test-train-0000.json",
    "watched voices": "test-watch-0000.json",
    "blind voices": "test-blind-0000.json",
    "silence and noise": "test-silence.json",
}
NOT_SPEECH = ("[BLANK_AUDIO]",)


def transcribe(program: Path, model: Path, files: list[Path], window: int) -> list[dict]:
    run = subprocess.run([str(program), str(model), str(window)], input="\n".join(map(str, files)) + "\n", capture_output=True, text=True, check=True)
    lines = [line for line in run.stdout.split("\n") if "\t" in line]
    if len(lines) != len(files):
        raise RuntimeError(f"{program} answered {len(lines)} of {len(files)} files")
    keys = ("milliseconds", "no_speech", "mean_probability", "lowest_probability")
    return [dict(zip(keys, map(float, line.split("\t")[:4])), heard=line.split("\t", 4)[4].strip()) for line in lines]


def summary(rows: list[dict]) -> dict:
    errors, total = sum(r["errors"] for r in rows), sum(len(words(r["written"])) for r in rows)
    return {"cases": len(rows), "word_error_rate": round(errors / max(1, total), 4), "exact": round(float(np.mean([r["errors"] == 0 for r in rows])), 4)}


def evaluate(program: Path, model: Path, data: Path, *, window: int = 256, blind: bool = False) -> tuple[dict, list[dict]]:
    """Figures, and every clip with what was heard. The blind set is touched only when asked for."""
    figures: dict[str, dict] = {}
    every: list[dict] = []
    for name, file in SETS.items():
        if (name == "blind voices" and not blind) or not (data / file).exists():
            continue
        rows = json.loads((data / file).read_text())
        for row, heard in zip(rows, transcribe(program, model, [data / r["file"] for r in rows], window)):
            row.update(heard)
            row["errors"] = distance(words(row["written"]), words(row["heard"]))
        every += rows
        if name == "silence and noise":
            spoken = [r for r in rows if r["heard"] and r["heard"] not in NOT_SPEECH]
            figures[name] = {"cases": len(rows), "gave_a_sentence": len(spoken), "of_these_sure": sum(r["lowest_probability"] > 0.5 for r in spoken)}
            continue
        figures[name] = summary(rows)
        for key in ("voice", "snr", "group"):
            parts: dict[str, list[dict]] = {}
            for r in rows:
                parts.setdefault(str(r[key]).split(":")[0], []).append(r)
            figures[name][f"by {key}"] = {k: summary(v) for k, v in sorted(parts.items())}
    times = sorted(r["milliseconds"] for r in every)
    figures["milliseconds"] = {"p50": times[len(times) // 2], "p95": times[int(len(times) * 0.95)], "window": window}
    return figures, every
