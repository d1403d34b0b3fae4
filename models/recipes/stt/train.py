"""Trains the recogniser: cross-entropy on Whisper's tokens, character CTC on the encoder, and guided attention at the start.

Guided attention and Muon break the plateau on which plain training sits for an hour.
The schedule runs over presented utterances, so a run is the same on a slow machine and on a GPU, and is interrupted and resumed at will.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from augment import Store, noise_bank, plain
from batches import BatchPlan, Maker, stream
from environment import stop_on_request
from network import Shape, Whisper
from vocabulary import BLANK, END, NO_SPEECH, NO_TIMES, START, decode, encode


@dataclass
class Plan:
    presentations: int = 1_000_000
    batch: int = 28
    rate: float = 1.8e-3
    matrix_rate: float = 3e-3
    warm_up: int = 200
    ctc: float = 0.4
    guided: float = 0.1
    seed: int = 1
    start_strength: float = 0.1
    full_strength_at: float = 0.4
    save_every: float = 180.0
    evaluate_every: float = 1800.0


def vocabulary_in_use(path: Path) -> list[int]:
    """Tokens that the sentences can need; everything else shares one row."""
    if path.exists():
        return json.loads(path.read_text())
    import random

    from sentences import WORDS, sentence

    r = random.Random(77)
    used = set(BLANK) | {END, START, NO_SPEECH, NO_TIMES}
    for w in WORDS:
        used |= set(encode(" " + w)) | set(encode(" " + w.capitalize()))
    for _ in range(150_000):
        used |= set(encode(" " + sentence(r).written))
    for i in range(101):
        used |= set(encode(f" {i}")) | set(encode(f" {i}%."))
    path.write_text(json.dumps(sorted(used)))
    return sorted(used)


def words(text: str) -> list[str]:
    return re.sub(r"[^a-z0-9%:' ]", "", text.lower()).split()


def distance(a: list[str], b: list[str]) -> int:
    row = list(range(len(b) + 1))
    for i in range(1, len(a) + 1):
        before, row[0] = row[:], i
        for j in range(1, len(b) + 1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a[i - 1] != b[j - 1]))
    return row[-1]


def word_error_rate(right: list[str], heard: list[str]) -> tuple[float, float]:
    """Word error rate, and the share of sentences without an error."""
    errors = [distance(words(a), words(b)) for a, b in zip(right, heard)]
    return sum(errors) / max(1, sum(len(words(a)) for a in right)), sum(e == 0 for e in errors) / max(1, len(errors))


def autocast(device: str):
    return torch.autocast(device, dtype=torch.bfloat16) if device == "cuda" or hasattr(torch, "autocast") else nullcontext()


def transcribe(net: Whisper, used: list[int], mels: list[np.ndarray], device: str) -> list[str]:
    index = {t: i for i, t in enumerate(used)}
    net.eval()
    out = []
    for k in range(0, len(mels), 50):
        mel = torch.from_numpy(np.stack([plain(m, 400) for m in mels[k : k + 50]])).to(device)
        with torch.no_grad(), autocast(device):
            ids = net.greedy(mel, [index[START], index[NO_TIMES]], index[END], [index[START], index[NO_TIMES], index[NO_SPEECH]])
        for row in ids.tolist():
            row = row[: row.index(index[END])] if index[END] in row else row
            out.append(decode([used[i] for i in row if i < len(used)]).strip())
    net.train()
    return out


def _orthogonal(g: torch.Tensor) -> torch.Tensor:
    x = g.bfloat16()
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.t()
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.t()
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return (x.t() if tall else x).float()


class Muon:
    def __init__(self, parameters: list[nn.Parameter], rate: float) -> None:
        self.parameters, self.rate = parameters, rate
        self.momentum = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def step(self, factor: float) -> None:
        for p, m in zip(self.parameters, self.momentum):
            if p.grad is None:
                continue
            m.mul_(0.95).add_(p.grad, alpha=0.05)
            u = _orthogonal(p.grad * 0.05 + m * 0.95)
            p.mul_(1 - 0.02 * self.rate * factor).add_(u, alpha=-0.2 * max(p.shape) ** 0.5 * self.rate * factor)


class Trainer:
    def __init__(self, work: Path, plan: Plan, shape: Shape, device: str, resume: bool, initial: Path | None = None) -> None:
        self.work, self.plan, self.shape, self.device = work, plan, shape, device
        self.checkpoint = work / "checkpoint.pt"
        torch.manual_seed(plan.seed)
        resumed = torch.load(self.checkpoint, map_location=device) if resume and self.checkpoint.exists() else None
        before = resumed or (torch.load(initial, map_location=device) if initial else None)
        self.used = before["used"] if before else vocabulary_in_use(work / "used.json")
        self.net = Whisper(self.used, shape).to(device)
        if before:
            self.net.load_state_dict(before["net"])
        named = list(self.net.named_parameters())
        matrices = [p for n, p in named if p.dim() == 2 and n.startswith(("enc.", "dec."))]
        mine = {id(p) for p in matrices}
        self.muon = Muon(matrices, plan.matrix_rate)
        self.adam = torch.optim.AdamW(
            [
                {"params": [p for _, p in named if p.dim() >= 2 and id(p) not in mine], "weight_decay": 0.02},
                {"params": [p for _, p in named if p.dim() < 2], "weight_decay": 0.0},
            ],
            lr=plan.rate, betas=(0.9, 0.98), eps=1e-8,
        )  # fmt: skip
        self.step, self.seconds = 0, 0.0
        if resumed:
            self.adam.load_state_dict(resumed["adam"])
            for m, old in zip(self.muon.momentum, resumed["momentum"]):
                m.copy_(old)
            self.step, self.seconds = resumed["step"], resumed["seconds"]
        self.log = open(work / "log.txt", "a", encoding="utf-8")

    def say(self, text: str) -> None:
        print(text, flush=True)
        self.log.write(text + "\n")
        self.log.flush()

    def save(self, began: float) -> None:
        state = {
            "net": self.net.state_dict(), "adam": self.adam.state_dict(), "momentum": self.muon.momentum, "step": self.step,
            "seconds": self.seconds + time.time() - began, "used": self.used, "shape": self.shape.as_dict(), "plan": asdict(self.plan),
        }  # fmt: skip
        torch.save(state, str(self.checkpoint) + ".tmp")
        os.replace(str(self.checkpoint) + ".tmp", self.checkpoint)

    def evaluate(self, stores: dict[str, Store], most: int | None = 100) -> dict:
        figures = {}
        for name, store in stores.items():
            n = min(most or len(store), len(store))
            heard = transcribe(self.net, self.used, store.mel[:n], self.device)
            rate, exact = word_error_rate(store.written[:n], heard)
            figures[name] = {"cases": n, "word_error_rate": round(rate, 4), "exact": round(exact, 4)}
            for voice in sorted({v.split(":")[0] for v in store.voice[:n]}) if name == "watched voices" else []:
                which = [i for i in range(n) if store.voice[i].split(":")[0] == voice]
                rate, exact = word_error_rate([store.written[i] for i in which], [heard[i] for i in which])
                figures[f"{name}, {voice}"] = {"cases": len(which), "word_error_rate": round(rate, 4), "exact": round(exact, 4)}
        return figures

    def loss(self, batch: dict, done: float) -> tuple[torch.Tensor, float, float]:
        plan, on = self.plan, lambda a: torch.from_numpy(a).to(self.device, non_blocking=True)
        with autocast(self.device):
            audio = self.net.encode(on(batch["mel"]))
            logits = self.net.decode(on(batch["inputs"]), audio)
            by_character, by_frame = self.net.ctc(audio), self.net.fr(audio)
        ce = F.cross_entropy(logits.view(-1, logits.shape[-1]), on(batch["wanted"]).view(-1), ignore_index=-100)
        lengths = on(batch["character_lengths"])
        ctc = F.ctc_loss(
            F.log_softmax(by_character.float(), -1).transpose(0, 1), on(batch["characters"]), on(batch["audio_lengths"]), lengths,
            blank=0, reduction="sum", zero_infinity=True,
        ) / max(1, int(batch["character_lengths"].sum()))  # fmt: skip
        total = ce + plan.ctc * ctc
        guide = max(0.0, 1 - done / plan.guided) if plan.guided else 0.0
        if guide > 0:
            frame = F.cross_entropy(by_frame.float().view(-1, by_frame.shape[-1]), on(batch["frames"]).view(-1))
            centre = on(batch["centre"])
            valid = (centre >= 0).float()
            away = (torch.arange(batch["mel"].shape[2] // 2, device=self.device)[None, None] - centre[..., None]) / on(batch["spread"])[..., None]
            penalty = 1 - torch.exp(-0.5 * away**2)
            attention = sum(((b.cross_attn.weights[:, :2].float().mean(1) * penalty).sum(-1) * valid).sum() / valid.sum().clamp(min=1) for b in self.net.dec)
            total = total + guide * (0.6 * frame + attention)
        return total, ce.item(), ctc.item()

    def run(self, data: Path, workers: int) -> None:
        plan = self.plan
        store = Store(sorted(data.glob("train-train-????.npz")))
        stores = {"seen voices, new sentences": Store([data / "test-train-0000.npz"]), "watched voices": Store([data / "test-watch-0000.npz"])}
        steps = plan.presentations // plan.batch
        batch_plan = BatchPlan(
            size=plan.batch, seed=plan.seed, start_strength=plan.start_strength, full_strength_after=int(plan.full_strength_at * plan.presentations)
        )
        maker = Maker(store, noise_bank(self.work / "noise.npz"), self.used, batch_plan)
        parameters = sum(p.numel() for p in self.net.parameters()) / 1e6
        self.say(f"parameters {parameters:.2f} M, tokens in use {len(self.used)}, utterances {len(maker.usable)}, device {self.device}, from step {self.step} of {steps}")
        began = saved = evaluated = time.time()
        ces, ctcs = [], []
        stop = stop_on_request()
        for batch in stream(maker, self.step, workers):
            if self.step >= steps or stop:
                break
            done = self.step / steps
            factor = min(1.0, (self.step + 1) / plan.warm_up) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
            for group in self.adam.param_groups:
                group["lr"] = plan.rate * factor
            total, ce, ctc = self.loss(batch, done)
            self.net.zero_grad(set_to_none=True)
            total.backward()
            norm = nn.utils.clip_grad_norm_(self.net.parameters(), 2.0)
            if math.isfinite(float(norm)):
                self.adam.step()
                self.muon.step(factor)
            else:
                self.say(f"step {self.step} skipped: gradient is not finite")
            self.step += 1
            ces.append(ce)
            ctcs.append(ctc)
            if self.step % 50 == 0:
                minutes = (self.seconds + time.time() - began) / 60
                self.say(f"step {self.step} presentations {self.step * plan.batch} ce {np.mean(ces[-50:]):.3f} ctc {np.mean(ctcs[-50:]):.3f} factor {factor:.3f} minutes {minutes:.1f} cpu {time.process_time() / 60:.1f}")
            if time.time() - saved > plan.save_every:
                saved = time.time()
                self.save(began)
            if time.time() - evaluated > plan.evaluate_every:
                evaluated = time.time()
                self.say("EVALUATION " + json.dumps({"step": self.step, **self.evaluate(stores)}))
        self.save(began)
        if self.step < steps:
            self.say(f"stopped on request at step {self.step}; continue with --resume")
            sys.exit(0)
        self.say("EVALUATION " + json.dumps({"step": self.step, **self.evaluate(stores, None)}))
