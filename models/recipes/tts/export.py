"""Writes the acoustic model and the vocoder as one ONNX graph with Kokoro's tensor contract, of standard operators only.

Inputs `input_ids` [1, tokens] int64, `style` [1, 256], `speed` [1]; output `waveform` [1, samples] at 24 kHz.
The first five values of a style are: shift of log F0, log scale of the formants, F0 range − 1, breathiness, and the mixture 0 slt … 1 rms; the rest is not used.
"""

from __future__ import annotations

import inspect
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from network import TOKENS, Acoustic
from phonemes import RELATIVES, UNVOICED, VOCABULARY, ids

RATE, HOP, WINDOW, SIZE, ALPHA = 24_000, 120, 240, 768, 0.45
BINS = SIZE // 2 + 1
GAIN = 1.25
VOICES = {
    "slt": [0, 0, 0, 0, 0], "rms": [0, 0, 0, 0, 1], "mid": [0, 0, 0, 0, 0.5], "slt_soft": [-0.05, 0, -0.2, 0.5, 0],
    "slt_bright": [0.12, 0.05, 0.2, 0, 0], "rms_deep": [-0.12, -0.06, -0.1, 0, 1],
}  # fmt: skip


class Speaker(nn.Module):
    def __init__(self, net: Acoustic) -> None:
        super().__init__()
        self.net = net
        with torch.no_grad():  # tokens that were never trained
            for token, relative in RELATIVES.items():
                net.emb.weight[VOCABULARY[token]] = net.emb.weight[VOCABULARY[relative]]
            for i in set(range(TOKENS)) - set(VOCABULARY.values()):
                net.emb.weight[i] = net.emb.weight[VOCABULARY["ˌ"]]
        unvoiced = torch.zeros(TOKENS)  # the rms teacher marks no unvoiced frames, so its voice switches voicing off by this table
        unvoiced[0] = 1
        for c in UNVOICED:
            unvoiced[VOCABULARY[c]] = 1
        self.register_buffer("unvoiced", unvoiced)
        self.register_buffer("mean", net.mean.clone())
        self.register_buffer("std", net.std.clone())
        self.mean[46], self.std[46] = 0, 1

    def forward(self, input_ids, style, speed):
        st = style[0]
        mix = torch.clamp(st[4], 0.0, 1.0)
        width = self.net.emb.embedding_dim
        x = (self.net.emb(input_ids) + mix * self.net.spk[:width]).transpose(1, 2)
        for block in self.net.enc:
            x = block(x)
        d = F.softplus(self.net.dur(x)[:, 0] + 1.5)[0] / torch.clamp(speed, 0.25, 4.0)
        d = torch.floor(d + 0.5).long()
        d = torch.cat([d[:-1], torch.clamp(d[-1:], min=4)])
        end = torch.cumsum(d, 0)
        total = end[-1]
        total = total + total % 2
        t = torch.arange(0, total)
        i = torch.clamp((end[None, :] <= t[:, None]).long().sum(1), max=input_ids.shape[1] - 1)
        repeated = x[0].index_select(1, i)
        length, last = d.index_select(0, i).float(), end.index_select(0, i).float()
        at = t.float() + 0.5 - (last - length)
        left = length - at
        share = at / torch.clamp(length, min=1.0)
        where = [share, 1 - share, 4 * share * (1 - share), torch.clamp(at, 0, 20) / 20, torch.clamp(left, 0, 20) / 20, torch.clamp(length, max=60) / 20]
        z = torch.cat([repeated, torch.stack(where)], 0)
        c = z.shape[0]
        z = z.reshape(c, -1, 2).permute(0, 2, 1).reshape(1, c * 2, -1)
        z = self.net.inp(z) + mix * self.net.spk[width:, None]
        for block in self.net.dec:
            z = block(z)
        y = self.net.out(z).reshape(2, 48, -1).permute(2, 0, 1).reshape(-1, 48) * self.std + self.mean
        middle = torch.mean(y[:, 45])
        log_f0 = middle + (y[:, 45] - middle) * (1 + torch.clamp(st[2], -1.0, 1.0)) + torch.clamp(st[0], -0.8, 0.8)
        f0 = torch.exp(torch.clamp(log_f0, 3.9, 6.2))
        silent = self.unvoiced.index_select(0, input_ids[0]).index_select(0, i)
        silent = F.avg_pool1d(F.pad(silent[None, None], (2, 2)), 5, 1)[0, 0]
        voicing = torch.sigmoid(4 * y[:, 46]) * (1 - torch.clamp(2 * mix, 0.0, 1.0) * silent)
        top = torch.clamp(y[:, 47], 1.0, 6.0) * torch.exp(-torch.clamp(st[3], 0.0, 2.0))
        return torch.clamp(vocode(y[:, :45], f0, voicing, top, torch.exp(torch.clamp(st[1], -0.25, 0.25))), -1.0, 1.0)


def vocode(cepstrum, f0, voicing, top, formants):
    """Band-limited pulses plus noise; each 10 ms Hann frame goes through the minimum-phase filter that the mel-cepstrum defines."""
    k, n = torch.arange(0, BINS), torch.arange(0, SIZE)
    angle = ((k[:, None] * n[None]) % SIZE).float() * (2 * math.pi / SIZE)
    window = 0.5 - 0.5 * torch.cos((torch.arange(0, WINDOW).float() + 0.5) * (2 * math.pi / WINDOW))
    cos, sin = torch.cos(angle), torch.sin(angle)
    analysis = torch.cat([cos[:, :WINDOW] * window, -sin[:, :WINDOW] * window])[:, None]
    twice = torch.where((k == 0) | (k == BINS - 1), torch.ones(BINS), 2 * torch.ones(BINS))[:, None]
    synthesis = torch.cat([cos * twice, -sin * twice])[:, None]
    f = k.float() * (RATE / SIZE)
    w = torch.clamp(f / formants, max=16000.0) * (2 * math.pi / 32000)
    warped = w + 2 * torch.atan(ALPHA * torch.sin(w) / (1 - ALPHA * torch.cos(w)))
    basis = torch.arange(0, 45).float()[:, None] * warped[None]
    log_magnitude, phase = cepstrum @ torch.cos(basis), cepstrum @ torch.sin(basis)
    h = (torch.arange(0, HOP).float()[None] + 0.5) / HOP
    around, here = torch.cat([f0[:1], f0, f0[-1:]]), f0[:, None]
    f0_at = torch.where(h < 0.5, around[:-2, None] * (0.5 - h) + here * (0.5 + h), here * (1.5 - h) + around[2:, None] * (h - 0.5)).reshape(-1)
    cycles = torch.cumsum(f0_at.double() / RATE, 0)
    part = (cycles - torch.floor(cycles)).float() - 0.5
    harmonics = torch.floor(11900 / f0_at)
    sine = torch.sin(math.pi * part)
    safe = torch.abs(sine) > 1e-3
    dirichlet = torch.where(safe, torch.sin((2 * harmonics + 1) * math.pi * part) / torch.where(safe, sine, torch.ones_like(sine)), 2 * harmonics + 1)
    pulses = (dirichlet - 1) * torch.sqrt(f0_at / RATE)
    spectra = F.conv1d(F.pad(torch.stack([pulses, torch.randn_like(pulses)])[:, None], (60, 60)), analysis, stride=HOP)
    periodic = torch.sigmoid((top[:, None] * 1000 - f[None]) / 400) * voicing[:, None]
    noisy = torch.sqrt(torch.clamp(1 - periodic * periodic, min=0.0))
    x = spectra[0].transpose(0, 1) * torch.cat([periodic, periodic], 1) + spectra[1].transpose(0, 1) * torch.cat([noisy, noisy], 1)
    re, im = x[:, :BINS], x[:, BINS:]
    magnitude = torch.exp(torch.clamp(log_magnitude, max=13.0)) * (GAIN / 32768 / SIZE)
    c, d = torch.cos(phase) * magnitude, -torch.sin(phase) * magnitude
    y = F.conv_transpose1d(torch.cat([re * c - im * d, re * d + im * c], 1).transpose(0, 1)[None], synthesis, stride=HOP)[0]
    return y[:, 60 : -(SIZE - 60 - HOP)]


def export(checkpoint: Path, destination: Path, voices: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    state = torch.load(checkpoint, map_location="cpu")
    net = Acoustic()
    net.load_state_dict(state.get("net", state))
    speaker = Speaker(net.eval()).eval()
    example = (torch.tensor([ids("ˌI sˈɛt ɐ tˈIməɹ.")]), torch.zeros(1, 256), torch.ones(1))
    raw = destination.with_suffix(".raw.onnx")
    # torch 2.9 exports through dynamo unless told not to; the tracing exporter gives the graph that was checked.
    tracing = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    torch.onnx.export(
        speaker, example, str(raw), **tracing, input_names=["input_ids", "style", "speed"], output_names=["waveform"], opset_version=17,
        do_constant_folding=False, dynamic_axes={"input_ids": {1: "tokens"}, "waveform": {1: "samples"}},
    )  # fmt: skip
    model = onnx.load(str(raw))
    graph, casts = model.graph, []
    for tensor in list(graph.initializer):  # weights are stored as f16; the runtime folds the casts when it loads
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and value.size >= 512:
            graph.initializer.remove(tensor)
            graph.initializer.append(numpy_helper.from_array(value.astype(np.float16), tensor.name + "_f16"))
            casts.append(helper.make_node("Cast", [tensor.name + "_f16"], [tensor.name], to=TensorProto.FLOAT, name=tensor.name + "_cast"))
    for i, node in enumerate(casts):
        graph.node.insert(i, node)
    for node in graph.node:
        if node.op_type == "RandomNormalLike":
            for attribute in [a for a in node.attribute if a.name == "seed"]:
                node.attribute.remove(attribute)
            node.attribute.append(helper.make_attribute("seed", 7.0))
    model.doc_string = "Small text-to-speech model with Kokoro v1.0's tensor contract; teachers: festvox-us-slt-hts and flite cmu_us_rms (CMU, BSD-like licences)"
    for key, value in {"sample_rate": "24000", "vocab": "kokoro-v1.0", "style": "0 log-f0 shift, 1 log formant scale, 2 f0 range-1, 3 breathiness, 4 mixture 0 slt .. 1 rms"}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model)
    onnx.save(model, str(destination))
    raw.unlink()
    voices.mkdir(parents=True, exist_ok=True)
    for name, style in VOICES.items():
        table = np.zeros((510, 1, 256), np.float32)
        table[:, :, : len(style)] = style
        table.tofile(voices / f"{name}.bin")
