#!/usr/bin/env python3
"""Makes the starter recogniser from nothing: `python3 models/recipes/stt/run.py --work DIR [--resume]`.

Steps: speech (DIR/data), training (DIR/checkpoint.pt), export (DIR/starter-q8_0.bin, and DIR/weights.pt to begin another run with), evaluation (DIR/evaluation.json).
Speech that is already there is kept; training continues from its checkpoint with `--resume`. Nothing in the repository is changed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
sys.path.append(str(HERE.parent / "llm"))  # for the phrasings; this folder's modules win over those of the same name

from environment import require  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for speech, checkpoints, logs and results (about 3 GB)")
    parser.add_argument("--resume", action="store_true", help="continue from the newest checkpoint in --work")
    parser.add_argument("--from", dest="initial", type=Path, help="weights to begin with (weights.pt of another run, or its checkpoint)")
    parser.add_argument("--utterances", type=int, default=50_000)
    parser.add_argument("--presentations", type=int, help="length of the schedule (default: 330,000 utterances shown)")
    parser.add_argument("--batch", type=int, help="utterances in a step (default 28; 224 with twice the rates does well on a GPU)")
    parser.add_argument("--workers", type=int, default=1, help="processes that make speech, and batches for a GPU")
    parser.add_argument("--processes", type=int, default=1, help="training processes, one thread each, when there is no GPU")
    parser.add_argument("--threads", type=int, default=1, help="threads of the training process; one is best on a machine that does other things")
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--encoder-layers", type=int, default=4)
    parser.add_argument("--decoder-layers", type=int, default=2)
    parser.add_argument("--blind", action="store_true", help="speak and evaluate the blind voices: only for the final figure of a model that is to be shipped")
    parser.add_argument("--engine", type=Path, help="the program that engine/build.sh makes, for the evaluation through whisper.cpp")
    parser.add_argument("--only", choices=["speech", "train", "export", "evaluate"])
    arguments = parser.parse_args()
    wanted = lambda step: arguments.only in (None, step)  # noqa: E731
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    require({"numpy": "python3-numpy"})
    data = arguments.work / "data"
    if wanted("speech"):
        from voices import PACKAGES

        require({"numpy": "python3-numpy"}, PACKAGES)
        from speech import make_sets

        make_sets(data, arguments.utterances, arguments.workers, arguments.blind)
        if arguments.only:
            return 0
    require({"torch": "python3-torch"})
    import torch

    torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted("train"):
        from network import Shape
        from train import Plan, Trainer, train_together

        plan = Plan()
        if arguments.presentations:
            plan.presentations = arguments.presentations
        if device == "cpu":
            plan.processes = arguments.processes
        if arguments.batch:
            plan.batch = arguments.batch
        larger = min(2.0, (plan.batch * plan.processes / 28) ** 0.5)
        plan.rate *= larger
        plan.matrix_rate *= larger
        shape = Shape(width=arguments.width, heads=arguments.width // 32, encoder_layers=arguments.encoder_layers, decoder_layers=arguments.decoder_layers)
        if plan.processes > 1:
            train_together(arguments.work, data, plan, shape, arguments.resume, arguments.initial)
        else:
            # On one core, batches are made in the training process: a second process would only take its time.
            Trainer(arguments.work, plan, shape, device, arguments.resume, arguments.initial).run(data, 0 if arguments.workers == 1 else arguments.workers)
    if wanted("export"):
        from export import export

        state = torch.load(arguments.work / "checkpoint.pt", map_location="cpu")
        torch.save({k: state[k] for k in ("net", "used", "shape", "step")}, arguments.work / "weights.pt")
        for kind in ("f16", "q8_0"):
            export(arguments.work / "checkpoint.pt", arguments.work / f"starter-{kind}.bin", kind)
    if wanted("evaluate"):
        if not arguments.engine:
            sys.exit("evaluation goes through whisper.cpp: build the program with models/recipes/stt/engine/build.sh OUTPUT and pass --engine OUTPUT")
        from evaluate import evaluate

        figures, every = evaluate(arguments.engine, arguments.work / "starter-q8_0.bin", data, blind=arguments.blind)
        (arguments.work / "evaluation.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
        worst = sorted((r for r in every if r["errors"]), key=lambda r: -r["errors"])[:50]
        (arguments.work / "worst.json").write_text(json.dumps(worst, indent=1), encoding="utf-8")
        print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
