"""Whisper's English vocabulary (GPT-2's byte pairs), read from a Whisper model file in ggml format, so that nothing needs fetching."""

from __future__ import annotations

import re
import struct
from pathlib import Path

MODEL = Path(__file__).parents[2] / "starter" / "stt" / "starter-q8_0.bin"
END, START, NO_SPEECH, NO_TIMES = 50256, 50257, 50361, 50362
SIZE = 51864
PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+")


def read_tokens(model: Path = MODEL) -> list[bytes]:
    with open(model, "rb") as f:
        magic, *_ = struct.unpack("<12i", f.read(48))
        if magic != 0x67676D6C:
            raise ValueError(f"{model} is not a Whisper model in ggml format")
        bands, size = struct.unpack("<2i", f.read(8))
        f.seek(4 * bands * size, 1)
        (count,) = struct.unpack("<i", f.read(4))
        return [f.read(struct.unpack("<i", f.read(4))[0]) for _ in range(count)]


TOKENS = read_tokens()
RANK = {token: i for i, token in enumerate(TOKENS)}
_known: dict[str, list[int]] = {}


def _encode_piece(piece: str) -> list[int]:
    if piece not in _known:
        parts = [bytes([b]) for b in piece.encode()]
        while len(parts) > 1:
            rank, i = min((RANK.get(parts[i] + parts[i + 1], 1 << 30), i) for i in range(len(parts) - 1))
            if rank == 1 << 30:
                break
            parts = parts[:i] + [parts[i] + parts[i + 1]] + parts[i + 2 :]
        _known[piece] = [RANK[p] for p in parts]
    return _known[piece]


def encode(text: str) -> list[int]:
    return [i for piece in PIECES.findall(text) for i in _encode_piece(piece)]


def decode(ids: list[int]) -> str:
    return b"".join(TOKENS[i] for i in ids if i < len(TOKENS)).decode(errors="replace")


BLANK = encode(" [BLANK_AUDIO]")
