"""Trains the recogniser: cross-entropy on Whisper's tokens, character CTC on the encoder, and guided attention at the start.

Guided attention and Muon break the plateau on which plain training sits for an hour.
The schedule runs over presented utterances, so a run is the same on a slow machine and on a GPU, and is interrupted and resumed at will.
"""

from __future__ import annotations

import json
import math
import multiprocessing as mp
import os
import re
import signal
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F

from augment import Store, noise_bank, plain
from batches import BatchPlan, Maker, stream
from environment import stop_on_request
from network import Shape, Whisper
from vocabulary import BLANK, END, NO_SPEECH, NO_TIMES, START, decode, encode


@dataclass
class Plan:
    presentations: int = 330_000
    batch: int = 28  # of one process
    processes: int = 1
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


def _orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Newton–Schulz iteration of Muon, [n, rows, columns] at once."""
    x = matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = (x / (x.float().flatten(1).norm(dim=1)[:, None, None] + 1e-7).bfloat16()).contiguous()
    for _ in range(5):
        a = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return (x.transpose(1, 2) if tall else x).float()


class Muon:
    def __init__(self, parameters: list[nn.Parameter], rate: float) -> None:
        self.parameters, self.rate = parameters, rate
        self.momentum = [torch.zeros_like(p) for p in parameters]
        shapes = sorted({tuple(p.shape) for p in parameters})
        self.alike = [[i for i, p in enumerate(parameters) if tuple(p.shape) == shape] for shape in shapes]

    @torch.no_grad()
    def step(self, factor: float) -> None:
        for alike in self.alike:
            update = []
            for i in alike:
                grad = self.parameters[i].grad
                self.momentum[i].mul_(0.95).add_(grad, alpha=0.05)
                update.append(grad * 0.05 + self.momentum[i] * 0.95)
            for i, u in zip(alike, _orthogonal(torch.stack(update))):
                p = self.parameters[i]
                p.mul_(1 - 0.02 * self.rate * factor).add_(u, alpha=-0.2 * max(p.shape) ** 0.5 * self.rate * factor)


class Trainer:
    """One training process. On CPUs several of them, one thread each, share every step; `rank` 0 is the one that says, saves and evaluates."""

    def __init__(self, work: Path, plan: Plan, shape: Shape, device: str, resume: bool, initial: Path | None = None, rank: int = 0) -> None:
        self.work, self.plan, self.shape, self.device, self.rank = work, plan, shape, device, rank
        self.in_step = plan.batch * plan.processes
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
            # Steps of another size when the batch or the number of processes was another.
            before = resumed["plan"]
            self.step = resumed["step"] * before["batch"] * before.get("processes", 1) // self.in_step
            self.seconds = resumed["seconds"]
        self.log = open(work / "log.txt", "a", encoding="utf-8")

    def say(self, text: str) -> None:
        if self.rank:
            return
        print(text, flush=True)
        self.log.write(text + "\n")
        self.log.flush()

    def save(self, began: float) -> None:
        if self.rank:
            return
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

    def share(self, stop: bool) -> bool:
        """Averages the gradients over the processes. Returns whether any of them was asked to stop."""
        if self.plan.processes == 1:
            return stop
        grads = [p.grad for p in self.net.parameters() if p.grad is not None]
        flat = torch.cat([g.view(-1) for g in grads] + [torch.tensor([float(stop)])])
        dist.all_reduce(flat)
        flat /= self.plan.processes
        at = 0
        for g in grads:
            g.copy_(flat[at : at + g.numel()].view_as(g))
            at += g.numel()
        return bool(flat[-1] > 0)

    def run(self, data: Path, workers: int) -> None:
        plan = self.plan
        store = Store(sorted(data.glob("train-train-????.npz")))
        stores = {"seen voices, new sentences": Store([data / "test-train-0000.npz"]), "watched voices": Store([data / "test-watch-0000.npz"])}
        steps = plan.presentations // self.in_step
        batch_plan = BatchPlan(
            size=plan.batch, processes=plan.processes, seed=plan.seed, start_strength=plan.start_strength, full_strength_after=int(plan.full_strength_at * plan.presentations)
        )
        maker = Maker(store, noise_bank(self.work / "noise.npz"), self.used, batch_plan)
        parameters = sum(p.numel() for p in self.net.parameters()) / 1e6
        self.say(f"parameters {parameters:.2f} M, tokens in use {len(self.used)}, utterances {len(maker.usable)}, device {self.device}, from step {self.step} of {steps}")
        began = saved = evaluated = time.time()
        ces, ctcs = [], []
        asked, stop = stop_on_request() if self.rank == 0 else [], False
        for batch in stream(maker, self.step, workers, self.rank):
            if self.step >= steps or stop:
                break
            done = self.step / steps
            factor = min(1.0, (self.step + 1) / plan.warm_up) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
            for group in self.adam.param_groups:
                group["lr"] = plan.rate * factor
            total, ce, ctc = self.loss(batch, done)
            self.net.zero_grad(set_to_none=True)
            total.backward()
            stop = self.share(bool(asked))
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
                self.say(f"step {self.step} presentations {self.step * self.in_step} ce {np.mean(ces[-50:]):.3f} ctc {np.mean(ctcs[-50:]):.3f} factor {factor:.3f} minutes {minutes:.1f} cpu {time.process_time() / 60:.1f}")
            if time.time() - saved > plan.save_every:
                saved = time.time()
                self.save(began)
            if self.rank == 0 and time.time() - evaluated > plan.evaluate_every:
                evaluated = time.time()
                self.say("EVALUATION " + json.dumps({"step": self.step, **self.evaluate(stores)}))
        self.save(began)
        if self.rank:
            return
        if self.step < steps:
            self.say(f"stopped on request at step {self.step}; continue with --resume")
            sys.exit(0)
        self.say("EVALUATION " + json.dumps({"step": self.step, **self.evaluate(stores, None)}))


def _process(rank: int, rendezvous: str, work: Path, data: Path, plan: Plan, shape: Shape, resume: bool, initial: Path | None) -> None:
    torch.set_num_threads(1)
    if rank:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; process 0 tells the others
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=plan.processes, timeout=timedelta(hours=1))
    Trainer(work, plan, shape, "cpu", resume, initial, rank).run(data, 0)


def train_together(work: Path, data: Path, plan: Plan, shape: Shape, resume: bool, initial: Path | None) -> None:
    """`plan.processes` training processes on this machine's cores. Threads of one process would wait for each other at every operation instead of once a step."""
    vocabulary_in_use(work / "used.json")  # made once, before all of them look for it
    noise_bank(work / "noise.npz")
    with tempfile.TemporaryDirectory() as folder:
        arguments = (f"{folder}/rendezvous", work, data, plan, shape, resume, initial)
        others = [mp.get_context("spawn").Process(target=_process, args=(rank, *arguments), daemon=True) for rank in range(1, plan.processes)]
        for other in others:
            other.start()
        _process(0, *arguments)
        for other in others:
            other.join(60)
