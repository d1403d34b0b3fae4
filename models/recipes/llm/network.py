"""The Llama-shaped network, written for training on one CPU core as well as on a GPU.

A batch holds a few tool lists, and many requests that share each of them.
A tool list is computed once for all its requests (as the engine's prefix cache does), tokens lie packed without padding, and attention pads only where it must.
On CPUs with AMX or AVX-512 bf16 the matrix products run in bf16; the weights stay in fp32.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

BF16 = torch.bfloat16
MASKED = -30000.0


@dataclass(frozen=True)
class Shape:
    width: int = 256
    layers: int = 4
    heads: int = 4
    feed_forward: int = 640
    vocabulary: int = 2048
    rope_base: float = 10000.0
    epsilon: float = 1e-5

    def as_dict(self) -> dict:
        return asdict(self)


class RmsNorm(torch.autograd.Function):
    """fp32 in, bf16 out; the backward pass in one go, which is several times faster on a CPU than autograd's chain."""

    @staticmethod
    def forward(ctx, x, weight, epsilon):
        scale = (x.square().mean(-1, keepdim=True) + epsilon).rsqrt()
        ctx.save_for_backward(x, weight, scale)
        return (x * scale * weight).to(BF16)

    @staticmethod
    def backward(ctx, grad):
        x, weight, scale = ctx.saved_tensors
        grad = grad.float()
        normed = x * scale
        weight_grad = (grad * normed).sum(0)
        grad = grad * weight
        return scale * (grad - normed * (grad * normed).mean(-1, keepdim=True)), weight_grad, None


def rotate(qkv, cos, sin, heads, head_width):
    """Rotary positions on the q and k parts of packed `qkv`, in place. The softmax scale is folded into q's factors."""
    n = qkv.shape[0]
    view = qkv[:, : 2 * heads * head_width].view(n, 2, heads, head_width // 2, 2)
    a, b = view[..., 0].float(), view[..., 1].float()
    view[..., 0] = a * cos - b * sin
    view[..., 1] = a * sin + b * cos


class SharedPrefixAttention(torch.autograd.Function):
    """Causal attention where every request sees its tool list and itself, but no other request."""

    @staticmethod
    def forward(ctx, qkv, batch, heads):
        n, d3 = qkv.shape
        d = d3 // 3
        hw = d // heads
        nb, k, t, s = batch["lists"], batch["requests"], batch["request_length"], batch["list_length"]
        ns = nb * s
        z = qkv.clone()
        rotate(z, batch["cos"], batch["sin"], heads, hw)
        z = z.index_select(0, batch["pack"])
        zs = z[:ns].view(nb, s, 3, heads, hw).permute(2, 0, 3, 1, 4).contiguous()
        qs, ks, vs = zs.unbind(0)
        zt = z[ns:].view(nb, k, t, 3, heads, hw).permute(3, 0, 4, 1, 2, 5).contiguous()
        qt, kt, vt = zt.unbind(0)
        a_list = torch.softmax(torch.matmul(qs, ks.transpose(-1, -2)) + batch["causal_list"], -1)
        o_list = torch.matmul(a_list, vs)
        scores = torch.empty(nb, heads, k, t, s + t, dtype=qkv.dtype, device=qkv.device)
        to_list = torch.matmul(qt.view(nb, heads, k * t, hw), ks.transpose(-1, -2)).view(nb, heads, k, t, s)
        scores[..., :s] = to_list + batch["list_mask"]
        scores[..., s:] = torch.matmul(qt, kt.transpose(-1, -2)) + batch["causal_request"]
        scores = torch.softmax(scores, -1)
        a1 = scores[..., :s].contiguous().view(nb, heads, k * t, s)
        a2 = scores[..., s:].contiguous()
        o_req = torch.matmul(a1, vs).view(nb, heads, k, t, hw).add_(torch.matmul(a2, vt))
        out = torch.empty(ns + nb * k * t, d, dtype=qkv.dtype, device=qkv.device)
        out[:ns].view(nb, s, heads, hw).copy_(o_list.permute(0, 2, 1, 3))
        out[ns:].view(nb, k, t, heads, hw).copy_(o_req.permute(0, 2, 3, 1, 4))
        ctx.batch, ctx.heads = batch, heads
        ctx.save_for_backward(zs, zt, a_list, a1, a2, o_list, o_req)
        return out.index_select(0, batch["unpack"])

    @staticmethod
    def backward(ctx, grad):
        zs, zt, a_list, a1, a2, o_list, o_req = ctx.saved_tensors
        batch, heads = ctx.batch, ctx.heads
        nb, k, t, s = batch["lists"], batch["requests"], batch["request_length"], batch["list_length"]
        ns, d = nb * s, grad.shape[1]
        hw = d // heads
        qs, ks, vs = zs.unbind(0)
        qt, kt, vt = zt.unbind(0)

        def tr(x):
            return x.transpose(-1, -2)

        packed = grad.contiguous().index_select(0, batch["pack"]).mul_(batch["is_token"])
        gs = packed[:ns].view(nb, s, heads, hw).permute(0, 2, 1, 3).contiguous()
        gt = packed[ns:].view(nb, k, t, heads, hw).permute(0, 3, 1, 2, 4).contiguous()
        gt_flat, qt_flat = gt.view(nb, heads, k * t, hw), qt.view(nb, heads, k * t, hw)
        dzs, dzt = torch.empty_like(zs), torch.empty_like(zt)
        dot = (gt * o_req).sum(-1, keepdim=True)
        ds1 = torch.matmul(gt_flat, tr(vs)).sub_(dot.view(nb, heads, k * t, 1)).mul_(a1)
        ds2 = torch.matmul(gt, tr(vt)).sub_(dot).mul_(a2)
        dss = torch.matmul(gs, tr(vs)).sub_((gs * o_list).sum(-1, keepdim=True)).mul_(a_list)
        dzs[2] = torch.matmul(tr(a_list), gs) + torch.matmul(tr(a1), gt_flat)
        dzt[2] = torch.matmul(tr(a2), gt)
        dzs[1] = torch.matmul(tr(dss), qs) + torch.matmul(tr(ds1), qt_flat)
        dzt[1] = torch.matmul(tr(ds2), qt)
        dzs[0] = torch.matmul(dss, ks)
        dzt[0] = torch.matmul(ds1, ks).view(nb, heads, k, t, hw) + torch.matmul(ds2, kt)
        dp = torch.empty(ns + nb * k * t, 3 * d, dtype=grad.dtype, device=grad.device)
        dp[:ns].view(nb, s, 3, heads, hw).copy_(dzs.permute(1, 3, 0, 2, 4))
        dp[ns:].view(nb, k, t, 3, heads, hw).copy_(dzt.permute(1, 3, 4, 0, 2, 5))
        dz = dp.index_select(0, batch["unpack"])
        rotate(dz, batch["cos"], -batch["sin"], heads, hw)
        return dz, None, None


class SwiGlu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gate_up):
        f = gate_up.shape[1] // 2
        gate, up = gate_up[:, :f].contiguous(), gate_up[:, f:].contiguous()
        sig = torch.sigmoid(gate)
        act = gate * sig
        ctx.save_for_backward(up, sig, act)
        return act * up

    @staticmethod
    def backward(ctx, grad):
        up, sig, act = ctx.saved_tensors
        f = up.shape[1]
        out = torch.empty(up.shape[0], 2 * f, dtype=grad.dtype, device=grad.device)
        slope = act.mul(sig).neg_().add_(sig).add_(act)  # s + a(1 - s)
        torch.mul(grad * up, slope, out=out[:, :f])
        torch.mul(grad, act, out=out[:, f:])
        return out


class Reflex(nn.Module):
    """Names of the parameters are those of the first version's checkpoints, so training can continue from them."""

    def __init__(self, shape: Shape = Shape()) -> None:
        super().__init__()
        self.shape = shape
        d, layers, ff = shape.width, shape.layers, shape.feed_forward

        def matrix(rows, columns, std):
            return nn.Parameter(torch.randn(rows, columns) * std)

        self.emb = matrix(shape.vocabulary, d, 0.02)
        self.norm = nn.Parameter(torch.ones(d))
        self.blk = nn.ModuleList()
        for _ in range(layers):
            block = nn.Module()
            block.n1, block.n2 = nn.Parameter(torch.ones(d)), nn.Parameter(torch.ones(d))
            block.qkv = matrix(3 * d, d, d**-0.5 * 0.6)
            block.o = matrix(d, d, d**-0.5 * 0.3 / layers**0.5)
            block.gu = matrix(2 * ff, d, d**-0.5 * 0.6)
            block.dn = matrix(d, ff, ff**-0.5 * 0.3 / layers**0.5)
            self.blk.append(block)

    def forward(self, batch: dict) -> torch.Tensor:
        """Logits at the positions whose next token belongs to an answer."""
        eps, heads = self.shape.epsilon, self.shape.heads
        x = F.embedding(batch["tokens"], self.emb)
        for b in self.blk:
            qkv = F.linear(RmsNorm.apply(x, b.n1, eps), b.qkv.to(BF16))
            x = x + F.linear(SharedPrefixAttention.apply(qkv, batch, heads), b.o.to(BF16))
            x = x + F.linear(SwiGlu.apply(F.linear(RmsNorm.apply(x, b.n2, eps), b.gu.to(BF16))), b.dn.to(BF16))
        x = RmsNorm.apply(x.index_select(0, batch["answer_at"]), self.norm, eps)
        return F.linear(x, self.emb.to(BF16)).float()


def make_batch(lists: list[tuple[list[int], list[tuple[list[int], list[int]]]]], shape: Shape, device: str = "cpu") -> dict:
    """`lists`: (tool-list ids, [(request ids, answer ids), …]) with the same number of requests each."""
    nb, k = len(lists), len(lists[0][1])
    s = max(len(p) for p, _ in lists)
    t = max(len(q) + len(a) for _, rs in lists for q, a in rs) - 1
    total = nb * s + nb * k * t
    pack, is_token = np.zeros(total, np.int64), np.zeros(total, np.float32)
    tokens, position, unpack, answer_at, target, case = [], [], [], [], [], []
    list_mask = np.full((nb, 1, 1, 1, s), MASKED, np.float32)
    n = 0
    for b, (prefix, requests) in enumerate(lists):
        length = len(prefix)
        where = b * s + np.arange(length)
        tokens += prefix
        position += range(length)
        pack[where] = np.arange(n, n + length)
        is_token[where] = 1
        unpack += where.tolist()
        n += length
        list_mask[b, ..., :length] = 0
        for i, (request, answer) in enumerate(requests):
            ids = request + answer[:-1]
            where = nb * s + (b * k + i) * t + np.arange(len(ids))
            tokens += ids
            position += range(length, length + len(ids))
            pack[where] = np.arange(n, n + len(ids))
            is_token[where] = 1
            unpack += where.tolist()
            answer_at += range(n + len(request) - 1, n + len(ids))
            target += answer
            case += [b * k + i] * len(answer)
            n += len(ids)

    def causal(m):
        return torch.tensor(np.where(np.tril(np.ones((m, m))) > 0, 0, MASKED)).to(BF16).to(device)

    hw = shape.width // shape.heads
    angle = torch.tensor(position).float()[:, None] * shape.rope_base ** (-torch.arange(0, hw, 2).float() / hw)
    cos = torch.stack((angle.cos() * hw**-0.5, angle.cos()), 1)[:, :, None]
    sin = torch.stack((angle.sin() * hw**-0.5, angle.sin()), 1)[:, :, None]
    move = lambda x: x.to(device, non_blocking=True)  # noqa: E731
    return {
        "tokens": move(torch.tensor(tokens)), "pack": move(torch.tensor(pack)), "unpack": move(torch.tensor(unpack)),
        "is_token": move(torch.tensor(is_token)[:, None].to(BF16)), "answer_at": move(torch.tensor(answer_at)),
        "target": move(torch.tensor(target)), "case": np.array(case), "list_mask": move(torch.tensor(list_mask).to(BF16)),
        "causal_list": causal(s), "causal_request": causal(t), "cos": move(cos), "sin": move(sin),
        "lists": nb, "requests": k, "list_length": s, "request_length": t,
    }  # fmt: skip
