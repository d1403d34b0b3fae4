"""Whisper's architecture, small, for training from scratch.

Besides the decoder there are two heads on the encoder that exist only in training: character CTC, and a per-frame character guess while attention is still guided.
The softmax covers the tokens in use and one shared row that stands for all unused ones, which is the exact softmax over all 51,864.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from kernels import gelu, softmax
from vocabulary import SIZE


@dataclass(frozen=True)
class Shape:
    width: int = 160
    heads: int = 5
    encoder_layers: int = 4
    decoder_layers: int = 2
    characters: int = 30
    mel_bands: int = 80
    audio_positions: int = 1500
    text_positions: int = 448

    def as_dict(self) -> dict:
        return asdict(self)


def sinusoids(length: int, width: int) -> torch.Tensor:
    step = math.log(10000) / (width // 2 - 1)
    angle = torch.arange(length)[:, None] * torch.exp(-step * torch.arange(width // 2))[None]
    return torch.cat([angle.sin(), angle.cos()], 1)


class Gelu(nn.Module):
    def forward(self, x):
        return gelu(x)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.value, self.out = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.weights: torch.Tensor | None = None  # of the last call, for guided attention

    def forward(self, x, other=None, mask=None):
        b, t, d = x.shape
        if other is None:
            weight = torch.cat([self.query.weight, self.key.weight, self.value.weight])
            bias = torch.cat([self.query.bias, torch.zeros_like(self.query.bias), self.value.bias])
            q, k, v = F.linear(x, weight, bias).chunk(3, -1)
        else:
            q, k, v = self.query(x), self.key(other), self.value(other)
        s = k.shape[1]
        q = (q * (d // self.heads) ** -0.5).reshape(b, t, self.heads, -1).transpose(1, 2)
        k = k.reshape(b, s, self.heads, -1).permute(0, 2, 3, 1)
        v = v.reshape(b, s, self.heads, -1).transpose(1, 2)
        scores = q @ k
        if mask is not None:
            scores = scores + mask
        scores = softmax(scores)
        if other is not None:
            self.weights = scores
        return self.out((scores @ v).transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, cross: bool) -> None:
        super().__init__()
        self.attn, self.attn_ln = Attention(width, heads), nn.LayerNorm(width)
        self.cross_attn = Attention(width, heads) if cross else None
        if cross:
            self.cross_attn_ln = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), Gelu(), nn.Linear(4 * width, width))
        self.mlp_ln = nn.LayerNorm(width)

    def forward(self, x, other=None, mask=None):
        x = x + self.attn(self.attn_ln(x), mask=mask)
        if self.cross_attn is not None:
            x = x + self.cross_attn(self.cross_attn_ln(x), other)
        return x + self.mlp(self.mlp_ln(x))


class Whisper(nn.Module):
    """Parameter names are those of the first version's checkpoints."""

    def __init__(self, used: list[int], shape: Shape) -> None:
        super().__init__()
        self.shape, d = shape, shape.width
        self.unused = SIZE - len(used)
        self.conv1 = nn.Conv1d(shape.mel_bands, d, 3, padding=1)
        self.conv2 = nn.Conv1d(d, d, 3, stride=2, padding=1)
        self.register_buffer("epos", sinusoids(shape.audio_positions, d))
        self.enc = nn.ModuleList([Block(d, shape.heads, False) for _ in range(shape.encoder_layers)])
        self.ln_post = nn.LayerNorm(d)
        self.emb = nn.Parameter(torch.randn(len(used) + 1, d) * 0.02)
        self.dpos = nn.Parameter(torch.randn(shape.text_positions, d) * 0.01)
        self.dec = nn.ModuleList([Block(d, shape.heads, True) for _ in range(shape.decoder_layers)])
        self.ln = nn.LayerNorm(d)
        self.ctc = nn.Linear(d, shape.characters)
        self.fr = nn.Linear(d, shape.characters)
        self.register_buffer("mask", torch.full((shape.text_positions, shape.text_positions), -1e4).triu_(1))

    def encode(self, mel):
        x = gelu(self.conv1(mel))
        x = gelu(self.conv2(x)).transpose(1, 2)
        x = x + self.epos[: x.shape[1]]
        for block in self.enc:
            x = block(x)
        return self.ln_post(x)

    def decode(self, tokens, audio):
        n = tokens.shape[1]
        x = F.embedding(tokens, self.emb) + self.dpos[:n]
        for block in self.dec:
            x = block(x, audio, self.mask[:n, :n])
        logits = (self.ln(x) @ self.emb.t()).float()
        return torch.cat([logits[..., :-1], logits[..., -1:] + math.log(self.unused)], -1)

    @torch.no_grad()
    def greedy(self, mel, start: list[int], end: int, banned: list[int], longest: int = 30):
        audio = self.encode(mel)
        tokens = torch.tensor([start] * mel.shape[0], device=mel.device)
        done = torch.zeros(mel.shape[0], dtype=torch.bool, device=mel.device)
        for i in range(longest):
            logits = self.decode(tokens, audio)[:, -1]
            logits[:, [*banned, logits.shape[-1] - 1]] = -1e9
            if i == 0:
                logits[:, end] = -1e9
            best = logits.argmax(-1)
            best[done] = end
            tokens = torch.cat([tokens, best[:, None]], 1)
            done |= best == end
            if bool(done.all()):
                break
        return tokens[:, len(start) :]
