#!/usr/bin/env python3
"""Makes the reflex model from nothing: `python3 models/recipes/llm/run.py --work DIR [--resume]`.

Steps: tokenizer, training, export to GGUF, evaluation. Each is skipped when its result is already there and `--resume` is given.
The result is DIR/reflex-q8_0.gguf with DIR/evaluation.json beside it. Nothing in the repository is changed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from environment import require  # noqa: E402

REQUIREMENTS = {"torch": "python3-torch", "numpy": "python3-numpy", "sentencepiece": "python3-sentencepiece"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints, logs and results")
    parser.add_argument("--resume", action="store_true", help="continue from the newest checkpoint in --work")
    parser.add_argument("--steps", type=int, help="length of the schedule (default: 6,500; a resumed run may shorten or lengthen it)")
    parser.add_argument("--matrix-rate", type=float, help="Muon's rate at its flat top (default 0.02; 0.012 when continuing from --from)")
    parser.add_argument("--from", dest="initial", type=Path, help="weights to continue from; needs the tokenizer they were trained with")
    parser.add_argument("--tokenizer", type=Path, help="use this SentencePiece model instead of training one")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--all-phrasings", action="store_true", help="train on the held-out phrasings too: for the shipped model, after its figures are known")
    parser.add_argument("--engine", type=Path, help="the program that engine/build.sh makes: evaluate through llama.cpp as well")
    parser.add_argument("--only", choices=["train", "export", "evaluate"])
    arguments = parser.parse_args()
    require(REQUIREMENTS)
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)

    import torch

    from network import Shape
    from tokenizer import Codec, train_tokenizer
    from train import Plan, train

    torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    model = work / "reflex.model"
    if arguments.tokenizer and arguments.tokenizer != model:
        shutil.copy(arguments.tokenizer, model)
    elif not model.exists():
        train_tokenizer(work / "reflex")
    codec = Codec(model)

    if arguments.only in (None, "train"):
        plan = Plan(all_phrasings=arguments.all_phrasings)
        if arguments.steps:
            plan.steps = arguments.steps
        if arguments.initial:
            plan.matrix_rate = 0.012
        if arguments.matrix_rate:
            plan.matrix_rate = arguments.matrix_rate
        train(work, codec, plan, Shape(), device=device, resume=arguments.resume, initial=arguments.initial)
    if arguments.only in (None, "export"):
        from export import export

        for kind in ("f16", "q8_0"):
            export(work / "checkpoint.pt", model, work / f"reflex-{kind}.gguf", kind)
    if arguments.only in (None, "evaluate"):
        from evaluate import evaluate, through_engine

        figures = evaluate(work / "checkpoint.pt", codec, device)
        if arguments.engine:
            engine, cases = through_engine(arguments.engine, work / "reflex-q8_0.gguf")
            figures = {"through llama.cpp, q8_0": engine, "in training code": figures}
            wrong = [c for c in cases if not c["exact"]]
            (work / "wrong.json").write_text(json.dumps(wrong, indent=1), encoding="utf-8")
        print(json.dumps(figures, indent=1))
        (work / "evaluation.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
