"""The acoustic model: tokens → frames per token → per 5 ms frame 45 mel-cepstra, log F0, voicing and highest voiced frequency."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

TOKENS = 178
FEATURES = 48  # 45 mel-cepstra, log F0, voicing, highest voiced frequency in kHz


class Block(nn.Module):
    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.a = nn.Conv1d(width, width, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2)
        self.b = nn.Conv1d(width, width, 1)
        with torch.no_grad():
            self.b.weight.mul_(0.3)

    def forward(self, x):
        return x + self.b(F.relu(self.a(x)))


def repeat_tokens(h, frames, total: int):
    """h [B, C, L] and frames per token [B, L] → the states repeated [B, C, T], and where each frame lies in its token [B, 6, T]."""
    end = torch.cumsum(frames, 1)
    t = torch.arange(total, device=h.device)
    token = (end[:, None, :] <= t[None, :, None]).sum(2).clamp(max=h.shape[2] - 1)
    repeated = torch.gather(h, 2, token[:, None, :].expand(-1, h.shape[1], -1))
    length = torch.gather(frames, 1, token).float()
    at = t[None, :] + 0.5 - (torch.gather(end, 1, token).float() - length)
    left = length - at
    share = at / length.clamp(min=1)
    where = [share, 1 - share, 4 * share * (1 - share), at.clamp(0, 20) / 20, left.clamp(0, 20) / 20, length.clamp(max=60) / 20]
    return repeated, torch.stack(where, 1)


class Acoustic(nn.Module):
    """Parameter names are those of the first version's checkpoints."""

    def __init__(self, embedding: int = 160, width: int = 192) -> None:
        super().__init__()
        self.emb = nn.Embedding(TOKENS, embedding)
        self.enc = nn.ModuleList([Block(embedding, 5, d) for d in (1, 2, 4, 8)])
        self.dur = nn.Sequential(nn.Conv1d(embedding, 96, 3, padding=1), nn.ReLU(), nn.Conv1d(96, 1, 1))
        self.inp = nn.Conv1d(2 * (embedding + 6), width, 1)
        self.dec = nn.ModuleList([Block(width, 3, d) for d in (1, 2, 4, 2, 1, 1)])
        self.out = nn.Conv1d(width, 2 * FEATURES, 1)
        self.spk = nn.Parameter(torch.zeros(embedding + width))  # second voice minus first voice
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("std", torch.ones(FEATURES))

    def encode(self, ids, is_token, voice):
        """`voice` [B]: 0 = slt, 1 = rms, between = a mixture."""
        mask = is_token[:, None]
        x = (self.emb(ids) + voice[:, None, None] * self.spk[: self.emb.embedding_dim]).transpose(1, 2) * mask
        for block in self.enc:
            x = block(x) * mask
        return x, F.softplus(self.dur(x)[:, 0] + 1.5)

    def decode(self, h, frames, total: int, voice):
        """`total` is even: two 5 ms frames make one step."""
        repeated, where = repeat_tokens(h, frames, total)
        x = torch.cat([repeated, where], 1)
        b, c = x.shape[:2]
        x = x.reshape(b, c, total // 2, 2).transpose(2, 3).reshape(b, c * 2, total // 2)
        x = self.inp(x) + voice[:, None, None] * self.spk[self.emb.embedding_dim :, None]
        for block in self.dec:
            x = block(x)
        return self.out(x).reshape(b, 2, FEATURES, total // 2).permute(0, 3, 1, 2).reshape(b, total, FEATURES)
