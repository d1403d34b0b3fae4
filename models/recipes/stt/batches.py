"""Batches of training examples, made by worker processes while the network trains.

Batch number `n` depends only on the seed and `n`, whatever the number of workers, so a resumed run continues exactly.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import random
import signal
from dataclasses import dataclass

import numpy as np

from augment import Augmenter, Store, characters
from sentences import slots
from vocabulary import BLANK, END, NO_SPEECH, NO_TIMES, START, decode, encode

CHUNK = 8  # batches of similar length that are made together
NOTHING = -100


@dataclass(frozen=True)
class BatchPlan:
    size: int = 28  # examples of one process in a step
    processes: int = 1
    seed: int = 1
    longest: int = 400
    no_speech: float = 0.025
    wrong_input: float = 0.06
    start_strength: float = 0.1
    full_strength_after: int = 200_000


def _weight(token: int, known: dict[int, float]) -> float:
    """How long a token sounds, roughly, for the flat-start alignment."""
    if token not in known:
        text = decode([token]).strip()
        if text.isdigit() and int(text) < 1000:
            known[token] = len(slots.number_words(int(text))) + 1
        else:
            known[token] = 9 if text == "%" else 0.3 if text in (".", "?", ",", ":") else max(1, len(text))
    return known[token]


class Maker:
    def __init__(self, store: Store, bank, used: list[int], plan: BatchPlan) -> None:
        self.store, self.bank, self.plan = store, bank, plan
        self.index = {t: i for i, t in enumerate(used)}
        self.weights: dict[int, float] = {}
        self.tokens = [encode(" " + t) for t in store.written]
        self.usable = [i for i, ts in enumerate(self.tokens) if all(t in self.index for t in ts)]

    def chunk(self, number: int) -> list[dict]:
        plan = self.plan
        r = random.Random(plan.seed * 1_000_003 + number)
        # What decides how long a batch is must be the same in all processes of a step: they wait for each other.
        together = random.Random(plan.seed * 1_000_003 + number // plan.processes)
        augmenter = Augmenter(self.store, self.bank, plan.seed * 1_000_003 + number)
        seen = number * CHUNK * plan.size
        strength = min(1.0, plan.start_strength + (1 - plan.start_strength) * seen / max(1, plan.full_strength_after))
        examples = []
        for k in range(seen, seen + CHUNK * plan.size):
            if r.random() < plan.no_speech:
                examples.append((augmenter.no_speech(), [NO_SPEECH] if r.random() < 0.7 else BLANK, [], None))
                continue
            i = self._pick(k)
            mel = augmenter.utterance(self.store.mel[i], strength)
            examples.append((mel, self.tokens[i], characters(self.store.spoken[i]), augmenter.span))
        examples.sort(key=lambda e: len(e[0]))
        groups = [examples[i : i + plan.size] for i in range(0, len(examples), plan.size)]
        together.shuffle(groups)
        return [self._batch(g, r, together, augmenter, strength) for g in groups]

    def _pick(self, k: int) -> int:
        """Utterance of presentation `k`: a new order in every epoch."""
        epoch, at = divmod(k, len(self.usable))
        if getattr(self, "_epoch", None) != epoch:
            self._epoch, self._order = epoch, list(self.usable)
            random.Random(self.plan.seed * 7919 + epoch).shuffle(self._order)
        return self._order[at]

    def _batch(self, group, r: random.Random, together: random.Random, augmenter: Augmenter, strength: float) -> dict:
        plan, index = self.plan, self.index
        mels, targets, chars, spans = zip(*group)
        need = max(len(x) for x in mels) // 2 + 1
        k = together.random()
        if k < 0.80:
            width = need + together.randint(0, 14)
        elif k < 0.94:
            width = need + together.randint(14, 110)
        else:
            width = max(need, together.choice([256, 320, 400, 512]))
        width = min(width, max(plan.longest, need)) if k < 0.94 else min(width, 512)
        width = max(width, max(len(c) for c in chars) + 8)
        length = max(2 if t == [NO_SPEECH] else len(t) + 1 for t in targets) + 1
        inputs = np.full((len(group), length), index[END])
        wanted = np.full((len(group), length), NOTHING)
        for j, t in enumerate(targets):
            inputs[j, 0] = index[START]
            inputs[j, 1] = index[NO_TIMES]
            if t == [NO_SPEECH]:
                wanted[j, 1] = index[NO_SPEECH]
                continue
            ids = [index[x] for x in t]
            wanted[j, 1 : 1 + len(ids)] = ids
            wanted[j, 1 + len(ids)] = index[END]
            # A few wrong input tokens, so that the decoder listens instead of reciting.
            fed = [x if r.random() > plan.wrong_input else r.randrange(len(index)) for x in ids][: length - 2]
            inputs[j, 2 : 2 + len(fed)] = fed
        # Flat start: characters and tokens are spread evenly over the span of the speech.
        frames = np.zeros((len(group), width), np.int64)
        centre = np.full((len(group), length), -1.0, np.float32)
        spread = np.ones((len(group), 1), np.float32)
        for j, (t, c, span) in enumerate(zip(targets, chars, spans)):
            if span is None or not c:
                continue
            first, last = span
            at = np.arange(int(first), min(width, int(last) + 1))
            frames[j, at] = np.array(c)[((at - first) / (last - first) * len(c)).astype(int).clip(0, len(c) - 1)]
            weight = np.array([_weight(x, self.weights) for x in t], float)
            middle = (np.cumsum(weight) - weight / 2) / weight.sum()
            centre[j, 1 : 1 + len(t)] = first + middle * (last - first)
            centre[j, 1 + len(t)] = last
            spread[j] = max(4, 0.09 * (last - first))
        return {
            "mel": np.stack([augmenter.window(x, width, strength) for x in mels]).astype(np.float32),
            "inputs": inputs, "wanted": wanted, "frames": frames, "centre": centre, "spread": spread,
            "characters": np.concatenate([np.array(c, np.int64) for c in chars]) if any(chars) else np.zeros(0, np.int64),
            "character_lengths": np.array([len(c) for c in chars]),
            "audio_lengths": np.array([min(width, len(x) // 2 + 1) for x in mels]),
        }  # fmt: skip


def _work(maker: Maker, queue, first: int, stride: int) -> None:
    import torch

    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the parent's handler would keep this process alive at the end
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    os.nice(1)
    number = first
    while True:
        queue.put(maker.chunk(number))
        number += stride


def stream(maker: Maker, from_batch: int, workers: int, rank: int = 0):
    """Yields the batches of training process `rank` from its number `from_batch` on, for ever. With no workers they are made in this process."""
    number, skip = divmod(from_batch, CHUNK)
    if workers == 0:
        while True:
            yield from maker.chunk(number * maker.plan.processes + rank)[skip:]
            number, skip = number + 1, 0
    if maker.plan.processes > 1:
        raise ValueError("several training processes make their batches themselves: no workers")
    context = mp.get_context("fork")
    queues = [context.Queue(2) for _ in range(workers)]
    for w in range(workers):
        context.Process(target=_work, args=(maker, queues[w], number + w, workers), daemon=True).start()
    turn = 0
    while True:
        yield from queues[turn % workers].get()[skip:]
        turn, skip = turn + 1, 0


