"""Writes a checkpoint as a Whisper model file in ggml format, readable by unmodified whisper.cpp."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch

from network import sinusoids
from sound import FILTERS
from vocabulary import SIZE, TOKENS

FILE_TYPE = {"f16": 1, "q8_0": 7}
F32, F16, Q8_0 = 0, 1, 8


def q8_0(x: np.ndarray) -> bytes:
    blocks = x.reshape(-1, 32).astype(np.float32)
    scale = np.abs(blocks).max(1) / 127
    inverse = np.where(scale > 0, 1 / np.where(scale > 0, scale, 1), 0)
    out = np.empty(len(blocks), dtype=[("d", "<f2"), ("q", "i1", 32)])
    out["d"], out["q"] = scale, np.rint(blocks * inverse[:, None])
    return out.tobytes()


def export(checkpoint: Path, destination: Path, kind: str) -> None:
    state = torch.load(checkpoint, map_location="cpu")
    net = {k: v.float().numpy() for k, v in state["net"].items()}
    shape, used = state["shape"], state["used"]
    d = shape["width"]
    tensors: dict[str, np.ndarray] = {"encoder.positional_embedding": sinusoids(shape["audio_positions"], d).numpy()}
    for conv in ("conv1", "conv2"):
        tensors[f"encoder.{conv}.weight"] = net[f"{conv}.weight"]
        tensors[f"encoder.{conv}.bias"] = net[f"{conv}.bias"].reshape(-1, 1)
    tensors["encoder.ln_post.weight"], tensors["encoder.ln_post.bias"] = net["ln_post.weight"], net["ln_post.bias"]
    for ours, theirs in (("enc", "encoder"), ("dec", "decoder")):
        for name, value in net.items():
            if name.startswith(ours + "."):
                tensors[f"{theirs}.blocks." + name[len(ours) + 1 :]] = value
    tensors["decoder.positional_embedding"] = net["dpos"]
    tensors["decoder.ln.weight"], tensors["decoder.ln.bias"] = net["ln.weight"], net["ln.bias"]
    embedding = np.repeat(net["emb"][-1:], SIZE, 0)
    embedding[np.array(used)] = net["emb"][:-1]
    tensors["decoder.token_embedding.weight"] = embedding

    part = destination.with_suffix(".part")
    with open(part, "wb") as f:
        f.write(struct.pack("<12i", 0x67676D6C, SIZE, shape["audio_positions"], d, shape["heads"], shape["encoder_layers"],
                            shape["text_positions"], d, shape["heads"], shape["decoder_layers"], shape["mel_bands"], FILE_TYPE[kind]))  # fmt: skip
        f.write(struct.pack("<2i", *FILTERS.shape) + FILTERS.tobytes())
        f.write(struct.pack("<i", len(TOKENS)))
        for token in TOKENS:
            f.write(struct.pack("<i", len(token)) + token)
        for name, x in tensors.items():
            x = np.ascontiguousarray(x, np.float32)
            matrix = x.ndim == 2 and not name.endswith(("positional_embedding", "conv1.bias", "conv2.bias"))
            stored = (Q8_0 if kind == "q8_0" else F16) if matrix else F16 if x.ndim == 3 else F32
            f.write(struct.pack("<3i", x.ndim, len(name), stored) + struct.pack(f"<{x.ndim}i", *x.shape[::-1]) + name.encode())
            f.write(x.tobytes() if stored == F32 else x.astype(np.float16).tobytes() if stored == F16 else q8_0(x))
    part.replace(destination)
