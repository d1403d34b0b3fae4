"""Trains the acoustic model on both teachers: frame-wise L1 on all parameters and on their change, and durations."""

from __future__ import annotations

import math
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from environment import stop_on_request
from network import FEATURES, Acoustic

VOICED, TOP = 46, 47


@dataclass
class Plan:
    steps: int = 12_000
    batch: int = 16
    rate: float = 2e-3
    seed: int = 0
    held_out: int = 100
    save_every: float = 120.0


class Corpus:
    """The utterances of both teachers; voice 0 is slt, 1 is rms."""

    def __init__(self, folder: Path) -> None:
        self.features, self.start, self.ids, self.durations, self.voice = [], [], [], [], []
        for number, voice in enumerate(("slt", "rms")):
            with np.load(folder / f"{voice}.npz") as z:
                ids, durations, tokens, frames = z["ids"], z["durations"], z["tokens"], z["frames"]
            x = np.memmap(folder / f"{voice}.f16", "f2", "r").reshape(-1, FEATURES)
            at, first = np.concatenate([[0], np.cumsum(tokens)]), np.concatenate([[0], np.cumsum(frames)])
            for i in range(len(tokens)):
                self.ids.append(ids[at[i] : at[i + 1]])
                self.durations.append(durations[at[i] : at[i + 1]])
                self.features.append(x[first[i] : first[i + 1]])
                self.voice.append(number)
        self.frames = np.array([len(x) for x in self.features])

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        some = np.concatenate([self.features[i] for i in range(0, min(1500, len(self.features)))]).astype("f4")
        mean, std = some.mean(0), some.std(0)
        mean[VOICED], std[VOICED] = 0, 1
        return mean, std

    def batch(self, which, device: str):
        length = max(len(self.ids[i]) for i in which)
        total = (max(self.frames[i] for i in which) + 1) // 2 * 2
        n = len(which)
        ids, durations, is_token = np.zeros((n, length), "i8"), np.zeros((n, length), "i8"), np.zeros((n, length), "f4")
        x, is_frame = np.zeros((n, total, FEATURES), "f4"), np.zeros((n, total, 1), "f4")
        for k, i in enumerate(which):
            m, f = len(self.ids[i]), self.frames[i]
            ids[k, :m], durations[k, :m], is_token[k, :m] = self.ids[i], self.durations[i], 1
            x[k, :f], is_frame[k, :f] = self.features[i], 1
        voice = np.array([self.voice[i] for i in which], "f4")
        return [torch.from_numpy(a).to(device) for a in (ids, durations, x, is_frame, is_token, voice)]


def loss(net: Acoustic, weight: torch.Tensor, ids, durations, x, is_frame, is_token, voice):
    """The loss, and readable parts: mel-cepstral L1, |log F0| error, voicing, duration error in frames per sounding token."""
    h, predicted = net.encode(ids, is_token, voice)
    y = net.decode(h, durations, x.shape[1], voice)
    target = (x - net.mean) / net.std
    target = torch.cat([target[..., :VOICED], x[..., VOICED:TOP], target[..., TOP:]], -1)
    n = is_frame.sum()
    error = (y - target).abs() * weight * is_frame
    heard = x[..., VOICED:TOP] * 0.9 + 0.1
    voicing = (F.binary_cross_entropy_with_logits(y[..., VOICED:TOP], x[..., VOICED:TOP], reduction="none") * is_frame).sum() / n
    both = is_frame[:, 1:] * is_frame[:, :-1]
    change = ((y[:, 1:, :VOICED] - y[:, :-1, :VOICED]) - (target[:, 1:, :VOICED] - target[:, :-1, :VOICED])).abs() * weight[:VOICED]
    spectral = error[..., :45].sum() / n / 45
    total = spectral + (error[..., 45:46] * heard).sum() / n * 0.3 + error[..., TOP:].sum() / n * 0.1 + 0.3 * voicing + (change * both).sum() / n / 46
    total = total + ((torch.log1p(predicted) - torch.log1p(durations.float())).abs() * is_token).sum() / is_token.sum()
    voiced = x[..., VOICED] * is_frame[..., 0]
    pitch = (error[..., 45] / weight[45] * net.std[45] * voiced).sum() / voiced.sum()
    length = ((predicted - durations.float()).abs() * is_token).sum() / (durations > 0).sum()
    return total, (spectral.item(), pitch.item(), voicing.item(), length.item())


def _order(corpus: Corpus, training: np.ndarray, plan: Plan, epoch: int) -> list[np.ndarray]:
    """Batches of similar length, in an order that depends only on the epoch."""
    r = np.random.default_rng([plan.seed, epoch])
    shuffled = r.permutation(training)
    chunks = [shuffled[i : i + plan.batch * 40] for i in range(0, len(shuffled), plan.batch * 40)]
    batches = [b for c in chunks for b in np.array_split(c[np.argsort(corpus.frames[c])], max(1, len(c) // plan.batch))]
    r.shuffle(order := list(range(len(batches))))
    return [batches[i] for i in order]


def train(work: Path, plan: Plan, device: str, resume: bool) -> None:
    checkpoint = work / "checkpoint.pt"
    corpus = Corpus(work / "data")
    voices = np.array(corpus.voice)
    held = {name: np.flatnonzero(voices == v)[: plan.held_out // (v + 1)] for v, name in enumerate(("slt", "rms"))}
    training = np.setdiff1d(np.arange(len(voices)), np.concatenate(list(held.values())))
    mean, std = corpus.statistics()
    torch.manual_seed(plan.seed)
    net = Acoustic()
    net.mean.copy_(torch.tensor(mean))
    net.std.copy_(torch.tensor(std))
    net.to(device)
    weight = torch.tensor(np.sqrt(std / std[:45].mean()), dtype=torch.float32, device=device)
    weight[45], weight[VOICED], weight[TOP] = 2.0, 1.0, 0.5
    adam = torch.optim.Adam(net.parameters(), lr=plan.rate, betas=(0.9, 0.98))
    step, seconds = 0, 0.0
    if resume and checkpoint.exists():
        state = torch.load(checkpoint, map_location=device)
        net.load_state_dict(state["net"])
        adam.load_state_dict(state["adam"])
        step, seconds = state["step"], state["seconds"]
    began = saved = time.time()
    log = open(work / "log.txt", "a", encoding="utf-8")
    recent: list[tuple[float, ...]] = []
    epoch, batches = -1, []
    per_epoch = len(_order(corpus, training, plan, 0))

    def save() -> None:
        state = {"net": net.state_dict(), "adam": adam.state_dict(), "step": step, "seconds": seconds + time.time() - began, "plan": asdict(plan)}
        torch.save(state, str(checkpoint) + ".tmp")
        os.replace(str(checkpoint) + ".tmp", checkpoint)

    def say(text: str) -> None:
        print(text, flush=True)
        log.write(text + "\n")
        log.flush()

    say(f"parameters {sum(p.numel() for p in net.parameters()) / 1e6:.2f} M, utterances {len(training)}, device {device}, from step {step} of {plan.steps}")
    stop = stop_on_request()
    while step < plan.steps and not stop:
        if step // per_epoch != epoch:
            epoch = step // per_epoch
            batches = _order(corpus, training, plan, epoch)
        done = step / plan.steps
        rate = plan.rate * min(1, (step + 1) / 200) * (0.5 * (1 + math.cos(math.pi * (done - 0.2) / 0.8)) if done > 0.2 else 1) + 1e-5
        for group in adam.param_groups:
            group["lr"] = rate
        total, parts = loss(net, weight, *corpus.batch(batches[step % per_epoch], device))
        adam.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()
        recent.append((total.item(), *parts))
        step += 1
        if step % 100 == 0:
            say(f"step {step} epoch {step / per_epoch:.2f} rate {rate:.5f} loss, spectrum, pitch, voicing, duration {np.round(np.mean(recent[-100:], 0), 4)} minutes {(seconds + time.time() - began) / 60:.1f}")
        if time.time() - saved > plan.save_every:
            saved = time.time()
            save()
    save()
    if step < plan.steps:
        say(f"stopped on request at step {step}; continue with --resume")
        sys.exit(0)
    with torch.no_grad():
        for name, which in held.items():
            parts = [loss(net, weight, *corpus.batch(which[i : i + 25], device))[1] for i in range(0, len(which), 25)]
            say(f"held out {name}: spectrum, pitch, voicing, duration {np.round(np.mean(parts, 0), 4)}")
