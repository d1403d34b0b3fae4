"""Figures of a checkpoint: exact match per set, wrong actions, and what a confidence gate would let through.

Greedy decoding is checked with the right answer as context and without the grammar, so the figures are a little lower than the engine's (the grammar only ever repairs).
`through_engine` gives the figures that count, by unmodified llama.cpp.
"""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import numpy as np
import torch

from grammar import gbnf
from network import Reflex, Shape
from tokenizer import Codec
from train import EVALUATIONS, exact, sample
from utterances import TOOLS, granted_tools, pair

HERE = Path(__file__).parent
EVALUATION_SEED = 20_261_122


def load(checkpoint: Path, device: str) -> Reflex:
    state = torch.load(checkpoint, map_location=device)
    net = Reflex(Shape(**state["shape"])).to(device)
    net.load_state_dict(state["net"])
    return net


def hand_written() -> list[tuple[str, list[str]]]:
    """What was said, and the answers that count as right."""
    lines = (HERE / "hand.tsv").read_text(encoding="utf-8").splitlines()
    return [(said, answers) for said, *answers in (line.split("\t") for line in lines if line and not line.startswith("#"))]


def evaluate(checkpoint: Path, codec: Codec, device: str, lists: int = 64) -> dict:
    net = load(checkpoint, device)
    figures: dict[str, dict] = {}
    for i, (name, how) in enumerate(EVALUATIONS.items()):
        encoded, _ = sample(random.Random(EVALUATION_SEED + i), codec, lists, 16, **how)
        right = exact(net, encoded, device)
        figures[name] = {"cases": len(right), "exact": round(float(np.mean(right)), 4)}
    cases = hand_written()
    right = 0
    for said, answers in cases:
        right += any(exact(net, [(codec.prefix(list(TOOLS)), [(codec.request(said), codec.answer(a))])], device)[0] for a in answers)
    figures["hand-written"] = {"cases": len(cases), "exact": round(right / len(cases), 4)}
    return figures


def cases_for_engine(lists: int = 25, requests: int = 16) -> tuple[list[dict], str]:
    """The evaluation cases, and the input of `engine/check.cpp` for them."""
    rows, lines = [], []
    for i, (name, how) in enumerate(EVALUATIONS.items()):
        r = random.Random(EVALUATION_SEED + 100 + i)
        for j in range(lists):
            tools = granted_tools(r, everything=j % 4 == 0)
            lines.append("S\t" + " ".join(tools) + "\t" + gbnf(tools).replace("\n", "\x01"))
            for _ in range(requests):
                p = pair(r, tools, **how)
                rows.append({"set": name, "said": p.said, "right": [p.answer]})
                lines.append("U\t" + p.said)
    lines.append("S\t" + " ".join(TOOLS) + "\t" + gbnf(list(TOOLS)).replace("\n", "\x01"))
    for said, answers in hand_written():
        rows.append({"set": "hand-written", "said": said, "right": answers})
        lines.append("U\t" + said)
    return rows, "\n".join(lines) + "\n"


def through_engine(program: Path, model: Path) -> tuple[dict, list[dict]]:
    """Runs the cases through llama.cpp. Returns the figures per set and every case with its answer and confidence."""
    rows, text = cases_for_engine()
    run = subprocess.run([str(program), str(model)], input=text, capture_output=True, text=True, check=True)
    answers = run.stdout.splitlines()
    if len(answers) != len(rows):
        raise RuntimeError(f"{program} answered {len(answers)} of {len(rows)} cases")
    figures: dict[str, dict] = {}
    for row, line in zip(rows, answers):
        lowest, overrode, ms, answer = line.split("\t", 3)
        row.update(answer=answer, confidence=float(lowest), overrode=overrode == "1", milliseconds=float(ms), exact=answer in row["right"])
    for name in dict.fromkeys(r["set"] for r in rows):
        part = [r for r in rows if r["set"] == name]
        commands = [r for r in part if r["right"][0].startswith('{"tool"')]
        others = [r for r in part if not r["right"][0].startswith('{"tool"')]
        figures[name] = {
            "cases": len(part),
            "exact": round(np.mean([r["exact"] for r in part]), 4),
            "commands_exact": round(np.mean([r["exact"] for r in commands]), 4),
            "acted_when_not_asked": round(np.mean([r["answer"].startswith('{"tool"') for r in others]), 4) if others else 0.0,
        }
    figures["gate"] = gate(rows)
    times = sorted(r["milliseconds"] for r in rows)
    figures["milliseconds"] = {"p50": times[len(times) // 2], "p95": times[int(len(times) * 0.95)]}
    return figures, rows


def gate(rows: list[dict], wrong_actions: float = 0.02) -> dict:
    """The confidence threshold that acts on most commands while at most `wrong_actions` of the actions are wrong."""
    commands = sum(r["right"][0].startswith('{"tool"') for r in rows)
    acted = wrong = right = 0
    best = {"threshold": 1.0, "acts_rightly_on": 0.0, "wrong_actions": 0.0}
    for row in sorted(rows, key=lambda r: -r["confidence"]):
        if not row["answer"].startswith('{"tool"'):
            continue
        acted += 1
        wrong += not row["exact"]
        right += row["exact"]
        if wrong <= wrong_actions * acted:
            best = {"threshold": row["confidence"], "acts_rightly_on": round(right / commands, 4), "wrong_actions": round(wrong / acted, 4)}
    return best
