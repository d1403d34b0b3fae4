"""Trains the reflex model. Muon on the matrices, Adam on embeddings and norms.

The schedule runs over *steps*, so a run is the same on a busy laptop and on a GPU; it is interrupted and resumed at will.
"""

from __future__ import annotations

import json
import math
import os
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from environment import stop_on_request
from network import BF16, Reflex, Shape, make_batch
from tokenizer import Codec
from utterances import granted_tools, pair

EVALUATIONS = {
    "seen phrasings, seen values": {"noise": 0},
    "seen phrasings, held-out values": {"noise": 0, "held_values": True},
    "held-out phrasings, seen values": {"noise": 0, "held_phrasings": True},
    "held-out phrasings and values": {"noise": 0, "held_phrasings": True, "held_values": True},
    "noise, held-out values": {"noise": 1.2, "held_values": True},
    "noise, held-out phrasings": {"noise": 1.2, "held_phrasings": True},
}


@dataclass
class Plan:
    steps: int = 6500
    lists: int = 8
    requests: int = 16
    matrix_rate: float = 0.02
    other_rate: float = 3e-3
    warm_up: int = 80
    flat: float = 0.4
    seed: int = 11
    save_every: float = 120.0
    evaluate_every: float = 1800.0
    all_phrasings: bool = False


def rate_factor(step: int, plan: Plan) -> float:
    done = step / plan.steps
    warm = min(1.0, (step + 1) / plan.warm_up)
    return warm * (1.0 if done < plan.flat else 0.02 + 0.98 * max(0.0, (1 - done) / (1 - plan.flat)))


def sample(r: random.Random, codec: Codec, lists: int, requests: int, **how):
    encoded, pairs = [], []
    for _ in range(lists):
        tools = granted_tools(r, everything=r.random() < 0.25)
        ps = [pair(r, tools, **how) for _ in range(requests)]
        encoded.append((codec.prefix(tools), [(codec.request(p.said), codec.answer(p.answer)) for p in ps]))
        pairs += [(tools, p) for p in ps]
    return encoded, pairs


@torch.no_grad()
def exact(net: Reflex, encoded, device: str) -> list[bool]:
    """Whether greedy decoding gives the whole answer (checked with the right answer as context, which is the same thing)."""
    right: list[bool] = []
    for i in range(0, len(encoded), 8):
        batch = make_batch(encoded[i : i + 8], net.shape, device)
        hit = (net(batch).argmax(-1) == batch["target"]).cpu().numpy()
        good = np.ones(batch["lists"] * batch["requests"], bool)
        np.logical_and.at(good, batch["case"], hit)
        right += good.tolist()
    return right


@torch.no_grad()
def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Newton–Schulz iteration of Muon."""
    x = matrices.to(BF16)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.transpose(-1, -2)
    x = (x / (x.float().flatten(-2).norm(dim=-1)[..., None, None] + 1e-7).to(x.dtype)).contiguous()
    for _ in range(4):
        a = x @ x.transpose(-1, -2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return (x.transpose(-1, -2) if tall else x).float()


class Muon:
    def __init__(self, net: Reflex) -> None:
        self.width = net.shape.width
        self.groups = [[getattr(b, name) for b in net.blk] for name in ("qkv", "o", "gu", "dn")]
        self.momentum = [torch.zeros(len(g), *g[0].shape, device=g[0].device) for g in self.groups]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for group, momentum in zip(self.groups, self.momentum):
            grad = torch.stack([p.grad for p in group])
            momentum.mul_(0.95).add_(grad, alpha=0.05)
            update = grad.mul_(0.05).add_(momentum, alpha=0.95)
            rows, columns = group[0].shape
            qkv = rows == 3 * self.width
            # q, k and v are orthogonalised apart
            update = orthogonal(update.view(-1, self.width, self.width)).view(update.shape) if qkv else orthogonal(update)
            step = rate * max(1.0, 1.0 if qkv else rows / columns) ** 0.5
            for p, u in zip(group, update):
                p.mul_(1 - step * 0.02).add_(u, alpha=-step)
                p.grad = None


def train(work: Path, codec: Codec, plan: Plan, shape: Shape, *, device: str, resume: bool, initial: Path | None = None) -> Reflex:
    torch.manual_seed(plan.seed)
    checkpoint = work / "checkpoint.pt"
    net = Reflex(shape).to(device)
    if initial:
        state = torch.load(initial, map_location=device)
        net.load_state_dict(state.get("net", state))
    muon = Muon(net)
    norms = [net.norm] + [p for b in net.blk for p in (b.n1, b.n2)]
    adam = torch.optim.Adam([{"params": [net.emb]}, {"params": norms}], lr=plan.other_rate, betas=(0.9, 0.98), eps=1e-9)
    step, examples, spent = 0, 0, 0.0
    if resume and checkpoint.exists():
        state = torch.load(checkpoint, map_location=device)
        net.load_state_dict(state["net"])
        adam.load_state_dict(state["adam"])
        for mine, theirs in zip(muon.momentum, state["momentum"]):
            mine.copy_(theirs)
        step, examples, spent = state["step"], state["examples"], state["seconds"]
    log = open(work / "log.txt", "a", encoding="utf-8")

    def say(text: str) -> None:
        print(text, flush=True)
        log.write(text + "\n")
        log.flush()

    say(f"parameters {sum(p.numel() for p in net.parameters()) / 1e6:.2f} M, device {device}, from step {step} of {plan.steps}")
    fixed = {name: sample(random.Random(900 + i), codec, 24, 16, **how)[0] for i, (name, how) in enumerate(EVALUATIONS.items())}
    began, saved, evaluated, losses = time.time(), time.time(), time.time(), []

    def save() -> None:
        state = {"net": net.state_dict(), "adam": adam.state_dict(), "momentum": muon.momentum, "step": step, "examples": examples,
                 "seconds": spent + time.time() - began, "shape": shape.as_dict(), "plan": plan.__dict__}  # fmt: skip
        torch.save(state, str(checkpoint) + ".tmp")
        os.replace(str(checkpoint) + ".tmp", checkpoint)

    def evaluate() -> None:
        scores = {name: float(np.mean(exact(net, encoded, device))) for name, encoded in fixed.items()}
        say("EVALUATION " + json.dumps({"step": step, "examples": examples, **{k: round(v, 4) for k, v in scores.items()}}))

    stop = stop_on_request()
    while step < plan.steps and not stop:
        r = random.Random(plan.seed * 1_000_003 + step)  # a resumed run sees what an uninterrupted one would
        encoded, _ = sample(r, codec, plan.lists, plan.requests, any_phrasing=plan.all_phrasings)
        batch = make_batch(encoded, shape, device)
        loss = F.cross_entropy(net(batch), batch["target"])
        net.zero_grad(set_to_none=True)
        loss.backward()
        if not math.isfinite(loss.item()):
            raise RuntimeError(f"loss is {loss.item()} at step {step}; resume from {checkpoint} with a lower --matrix-rate")
        factor = rate_factor(step, plan)
        for group in adam.param_groups:
            group["lr"] = plan.other_rate * factor
        adam.step()
        muon.step(plan.matrix_rate * factor)
        losses.append(loss.item())
        step += 1
        examples += plan.lists * plan.requests
        if step % 50 == 0:
            say(f"step {step} loss {np.mean(losses[-50:]):.4f} rate {plan.matrix_rate * factor:.5f} examples {examples} minutes {(spent + time.time() - began) / 60:.1f} cpu {time.process_time() / 60:.1f}")
        if time.time() - saved > plan.save_every:
            saved = time.time()
            save()
        if time.time() - evaluated > plan.evaluate_every:
            evaluated = time.time()
            evaluate()
    save()
    if step < plan.steps:
        say(f"stopped on request at step {step}; continue with --resume")
        sys.exit(0)
    evaluate()
    return net
