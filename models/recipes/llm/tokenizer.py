"""The 2,048-piece tokenizer of the reflex model: SentencePiece BPE with byte fallback, single digits, and the JSON of a tool call as whole pieces."""

from __future__ import annotations

import random
import re
from pathlib import Path

import sentencepiece as spm

from slots import number_words
from utterances import granted_tools, pair

ARGUMENTS = "label room device color scene item list text when city day query state time duration".split()
JSON_PIECES = (
    ['{"tool":"', '","args":{', "}}", '"}}', '{"say":"', '"}', '",', ",", '"']
    + [f'"{k}":' for k in ("level", "change", "temp")]
    + [f'"{k}":"' for k in ARGUMENTS]
    + [f'","{k}":"' for k in ("room", "state", "color", "list", "when", "day", "label")]
    + [',"label":"']
)
CONTROL = ["<|tools|>", "<|user|>", "<|out|>"]
BOS, EOS = 1, 2


def train_tokenizer(prefix: Path) -> None:
    r = random.Random(5)
    lines: list[str] = []
    for i in range(8000):
        tools = granted_tools(r)
        if i % 6 == 0:
            lines += [piece for t in tools for piece in re.sub(r"([._])", "\n\\1", " " + t).split("\n")]
        for _ in range(6):
            p = pair(r, tools, noise=r.choice([0, 0, 0, 0.5]))
            lines.append(" " + p.said)
            if r.random() < 0.15:
                lines += re.sub(r'(":" \w+)([._])', "\\1\n\\2", p.answer).split("\n")
    for n in range(100):
        lines += [" " + number_words(n), " " + str(n)]
    corpus = prefix.with_suffix(".txt")
    corpus.write_text("\n".join(lines), encoding="utf-8")
    spm.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(prefix), model_type="bpe", vocab_size=2048, byte_fallback=True, split_digits=True,
        normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False, user_defined_symbols=JSON_PIECES,
        control_symbols=CONTROL, unk_id=0, bos_id=BOS, eos_id=EOS, pad_id=-1, character_coverage=1.0,
        split_by_unicode_script=False, num_threads=1, max_sentence_length=10000, minloglevel=1,
    )  # fmt: skip
    corpus.unlink()


class Codec:
    """Token ids of the parts of a prompt: `<s><|tools|> names<|user|> words<|out|>` and the answer."""

    def __init__(self, model: Path) -> None:
        self.model = spm.SentencePieceProcessor(model_file=str(model))
        self.tools_id, self.user_id, self.out_id = (self.model.piece_to_id(p) for p in CONTROL)

    def prefix(self, tools: list[str]) -> list[int]:
        return [BOS, self.tools_id, *self.model.encode(" " + " ".join(tools))]

    def request(self, said: str) -> list[int]:
        return [self.user_id, *self.model.encode(" " + said), self.out_id]

    def answer(self, text: str) -> list[int]:
        return [*self.model.encode(text), EOS]

    def text(self, ids: list[int]) -> str:
        return self.model.decode(ids)
