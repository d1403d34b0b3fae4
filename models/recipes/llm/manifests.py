#!/usr/bin/env python3
"""Writes the planner's manifests for `loqa eval llm --tools`: `python3 models/recipes/llm/manifests.py`.

The recipe's own cases hold words ("duration": " an hour and a half"); a manifest holds what the tool gets (5400).
The hub's own reader (`cargo run -p loqa-turn --example spoken`) turns one into the other, so these sets measure what the model chose to copy and not how it is read.
Not written here: `llm.tsv` and `llm-independent.tsv`, which people wrote.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE), str(HERE.parent)]

from utterances import TOOLS, pair  # noqa: E402

FOLDER = ROOT / "models" / "evaluation"
SEED = 20_261_123
CASES = 300
SETS = {
    "llm-values": ("Phrasings of the training text; values that it does not hold in the 190 that have one.", {"noise": 0, "held_values": True}),
    "llm-phrasings": ("Phrasings that the training text does not hold.", {"noise": 0, "held_phrasings": True}),
    "llm-noise": ("With slips of a recogniser, values that the training text does not hold.", {"noise": 1.2, "held_values": True}),
}
# What a person meant where the hub does not read it: these cases count as mistakes.
MEANT = {("duration", "thirty"): 30, ("duration", "too minutes"): 120}
BECOMES = {"duration": ("duration_s", "duration"), "time": ("time", "time")}


def meanings(spans: list[tuple[str, str]]) -> dict[tuple[str, str], object]:
    text = "".join(f"{kind}\t{span}\n" for kind, span in spans)
    command = ["cargo", "run", "--quiet", "--package", "loqa-turn", "--example", "spoken"]
    out = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True, check=True).stdout
    return dict(zip(spans, map(json.loads, out.splitlines())))


def as_called(answers: list[list[tuple[str, dict]]]) -> list[list[tuple[str, dict]]]:
    """Calls with copied times as numbers."""
    spans = [(BECOMES[k][1], v) for ways in answers for _, arguments in ways for k, v in arguments.items() if k in BECOMES]
    known = {**meanings(list(dict.fromkeys(spans))), **MEANT}
    out = []
    for ways in answers:
        calls = []
        for tool, arguments in ways:
            given = {BECOMES[k][0] if k in BECOMES else k: known[BECOMES[k][1], v] if k in BECOMES else v for k, v in arguments.items()}
            if None in given.values():
                raise ValueError(f"the hub does not read a time in {tool} {arguments}: say in MEANT what it means")
            calls.append((tool, given))
        out.append(calls)
    return out


def write(name: str, head: str, said: list[str], answers: list[list[tuple[str, dict]]]) -> None:
    lines = [f"# {head}"]
    for text, ways in zip(said, as_called(answers)):
        parts = [f"{tool}\t{json.dumps(arguments)}" for tool, arguments in ways] or ["-"]
        lines.append("\t".join([text, *parts]))
    (FOLDER / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def call_of(answer: str) -> list[tuple[str, dict]]:
    """The tool call of a training answer without its leading spaces, or nothing for a reply."""
    parsed = json.loads(answer)
    if "tool" not in parsed:
        return []
    return [(parsed["tool"].strip(), {k: v.strip() if isinstance(v, str) else v for k, v in parsed["args"].items()})]


def hand_written() -> tuple[list[str], list[list[tuple[str, dict]]]]:
    rows = [line.split("\t") for line in (HERE / "hand.tsv").read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return [r[0] for r in rows], [[c for a in r[1:] for c in call_of(a)] if '"tool"' in r[1] else [] for r in rows]


def main() -> None:
    for index, (name, (head, how)) in enumerate(SETS.items()):
        r = random.Random(SEED + index)
        made: dict[str, list[tuple[str, dict]]] = {}
        while len(made) < CASES:
            one = pair(r, list(TOOLS), **how)
            made[one.said] = call_of(one.answer)
        write(name, f"{head} Written by models/recipes/llm/manifests.py.", list(made), list(made.values()))
    write("llm-hand", "Hand-written by the author of the training text, which can make 33 of the 168 word for word. Written by models/recipes/llm/manifests.py from hand.tsv.", *hand_written())


if __name__ == "__main__":
    main()
