"""Writes a checkpoint as GGUF (Llama architecture, SentencePiece tokenizer inside), in f16 or q8_0, readable by unmodified llama.cpp."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import sentencepiece as spm
import torch

from tokenizer import BOS, EOS, JSON_PIECES

ALIGNMENT = 32
U32, F32, BOOL, STRING, ARRAY, I32 = 4, 6, 7, 8, 9, 5
TENSOR_TYPE = {"f32": 0, "f16": 1, "q8_0": 8}
FILE_TYPE = {"f16": 1, "q8_0": 7}
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6


def _string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def _value(kind: int, value) -> bytes:
    if kind == STRING:
        return _string(value)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], value)


def _entry(key: str, kind: int, value) -> bytes:
    return _string(key) + struct.pack("<I", kind) + _value(kind, value)


def _array(key: str, kind: int, values: list) -> bytes:
    return _string(key) + struct.pack("<IIQ", ARRAY, kind, len(values)) + b"".join(_value(kind, v) for v in values)


def q8_0(x: np.ndarray) -> bytes:
    """ggml's q8_0: blocks of 32 values, one f16 scale each."""
    blocks = x.reshape(-1, 32).astype(np.float32)
    scale = np.abs(blocks).max(1) / 127
    inverse = np.where(scale > 0, 1 / np.where(scale > 0, scale, 1), 0)
    out = np.empty(len(blocks), dtype=[("d", "<f2"), ("q", "i1", 32)])
    out["d"], out["q"] = scale, np.rint(blocks * inverse[:, None])
    return out.tobytes()


def export(checkpoint: Path, tokenizer: Path, destination: Path, kind: str) -> None:
    state = torch.load(checkpoint, map_location="cpu")
    net, shape = state["net"], state["shape"]
    d, heads, layers, ff = shape["width"], shape["heads"], shape["layers"], shape["feed_forward"]
    pieces = spm.SentencePieceProcessor(model_file=str(tokenizer))
    tokens, scores, types = [], [], []
    for i in range(pieces.get_piece_size()):
        piece = pieces.id_to_piece(i)
        tokens.append(piece)
        scores.append(pieces.get_score(i))
        types.append(
            UNKNOWN if pieces.is_unknown(i) else CONTROL if pieces.is_control(i) else BYTE if pieces.is_byte(i)
            else USER_DEFINED if piece in JSON_PIECES else NORMAL
        )  # fmt: skip
    meta = [
        _entry("general.architecture", STRING, "llama"),
        _entry("general.name", STRING, "reflex"),
        _entry("general.description", STRING, "small tool-calling starter model, trained from scratch on generated text"),
        _entry("general.file_type", U32, FILE_TYPE[kind]),
        _entry("llama.context_length", U32, 512),
        _entry("llama.embedding_length", U32, d),
        _entry("llama.block_count", U32, layers),
        _entry("llama.feed_forward_length", U32, ff),
        _entry("llama.attention.head_count", U32, heads),
        _entry("llama.attention.head_count_kv", U32, heads),
        _entry("llama.rope.dimension_count", U32, d // heads),
        _entry("llama.rope.freq_base", F32, shape["rope_base"]),
        _entry("llama.attention.layer_norm_rms_epsilon", F32, shape["epsilon"]),
        _entry("llama.vocab_size", U32, shape["vocabulary"]),
        _entry("tokenizer.ggml.model", STRING, "llama"),
        _entry("tokenizer.ggml.pre", STRING, "default"),
        _array("tokenizer.ggml.tokens", STRING, tokens),
        _array("tokenizer.ggml.scores", F32, scores),
        _array("tokenizer.ggml.token_type", I32, types),
        _entry("tokenizer.ggml.bos_token_id", U32, BOS),
        _entry("tokenizer.ggml.eos_token_id", U32, EOS),
        _entry("tokenizer.ggml.unknown_token_id", U32, 0),
        _entry("tokenizer.ggml.add_bos_token", BOOL, False),
        _entry("tokenizer.ggml.add_eos_token", BOOL, False),
        _entry("tokenizer.ggml.add_space_prefix", BOOL, False),
        _entry("tokenizer.chat_template", STRING, "{{ bos_token }}<|tools|> {{ messages[0]['content'] }}<|user|> {{ messages[1]['content'] }}<|out|>"),
    ]
    tensors: list[tuple[str, np.ndarray]] = [("token_embd.weight", net["emb"]), ("output_norm.weight", net["norm"])]
    for i in range(layers):
        of = lambda name, i=i: net[f"blk.{i}.{name}"]  # noqa: E731
        b = f"blk.{i}."
        tensors += [(b + "attn_norm.weight", of("n1")), (b + "ffn_norm.weight", of("n2"))]
        tensors += [(b + f"attn_{n}.weight", of("qkv")[j * d : (j + 1) * d]) for j, n in enumerate("qkv")]
        tensors += [
            (b + "attn_output.weight", of("o")), (b + "ffn_gate.weight", of("gu")[:ff]),
            (b + "ffn_up.weight", of("gu")[ff:]), (b + "ffn_down.weight", of("dn")),
        ]  # fmt: skip
    infos, data = b"", b""
    for name, tensor in tensors:
        x = tensor.float().cpu().numpy()
        stored = kind if x.ndim == 2 else "f32"
        raw = q8_0(x) if stored == "q8_0" else x.astype({"f16": "<f2", "f32": "<f4"}[stored]).tobytes()
        infos += _string(name) + struct.pack("<I", x.ndim) + struct.pack(f"<{x.ndim}Q", *x.shape[::-1]) + struct.pack("<IQ", TENSOR_TYPE[stored], len(data))
        data += raw + b"\0" * (-len(raw) % ALIGNMENT)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(meta)) + b"".join(meta) + infos
    head += b"\0" * (-len(head) % ALIGNMENT)
    part = destination.with_suffix(".part")
    part.write_bytes(head + data)
    part.replace(destination)
