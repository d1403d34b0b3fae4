#!/usr/bin/env python3
"""Makes the starter voice from nothing: `python3 models/recipes/tts/run.py --work DIR [--resume]`.

Steps: phonemes (a small Rust program around the same G2P as the app), teachers, training, export, evaluation.
The results are DIR/starter-tts.onnx, DIR/voices/*.bin and DIR/evaluation.json. Nothing in the repository is changed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from environment import require  # noqa: E402


def build_g2p(work: Path) -> tuple[Path, Path]:
    """The G2P program, and the dictionary inside its crate."""
    target = work / "g2p"
    subprocess.run(["cargo", "build", "--release", "--manifest-path", HERE / "g2p/Cargo.toml", "--target-dir", target], check=True)
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    dictionaries = sorted(home.glob("registry/src/*/misaki-rs-0.8.*/data/us_gold.json"))
    if not dictionaries:
        sys.exit("the sources of misaki-rs are not in Cargo's registry; run `cargo fetch` and try again")
    return target / "release" / "loqa-recipe-g2p", dictionaries[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for features, checkpoints, logs and results (about 2 GB)")
    parser.add_argument("--resume", action="store_true", help="continue from the newest checkpoint in --work")
    parser.add_argument("--steps", type=int, help="length of the schedule (default 12,000)")
    parser.add_argument("--rms-sentences", type=int, default=3000, help="how many sentences the second teacher speaks")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=["data", "train", "export", "evaluate"])
    arguments = parser.parse_args()
    wanted = lambda step: arguments.only in (None, step)  # noqa: E731
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    if wanted("data"):
        require({"numpy": "python3-numpy"}, {"gcc": "gcc", "cargo": "cargo"})
        import teachers
        from text import held_out_replies, sentences

        if not teachers.SLT_VOICE.exists():
            sys.exit("missing: apt-get install -y festvox-us-slt-hts libhtsengine-dev flite1-dev")
        program, dictionary = build_g2p(work)
        teachers.build(work / "teachers")
        spoken = teachers.phonemes_of(program, sentences(dictionary))
        (work / "replies.json").write_text(json.dumps(teachers.phonemes_of(program, held_out_replies()), ensure_ascii=False), encoding="utf-8")
        kinds = teachers.word_kinds(program)
        teachers.write(work / "data", "slt", teachers.speak_slt, work / "teachers" / "slt", spoken, kinds)
        teachers.write(work / "data", "rms", teachers.speak_rms, work / "teachers" / "rms", spoken[: arguments.rms_sentences], kinds)
    if wanted("train"):
        require({"torch": "python3-torch", "numpy": "python3-numpy"})
        import torch

        from train import Plan, train

        torch.set_num_threads(arguments.threads)
        plan = Plan()
        if arguments.steps:
            plan.steps = arguments.steps
        train(work, plan, "cuda" if torch.cuda.is_available() else "cpu", arguments.resume)
    model = work / "starter-tts.onnx"
    if wanted("export"):
        require({"torch": "python3-torch", "onnx": "python3-onnx"})
        from export import export

        export(work / "checkpoint.pt", model, work / "voices")
    if wanted("evaluate"):
        from evaluate import Voice, odd_inputs, speed, understood

        replies = [tuple(r) for r in json.loads((work / "replies.json").read_text(encoding="utf-8"))]
        figures = {}
        for name in ("mid", "slt", "rms"):
            voice = Voice(model, work / "voices" / f"{name}.bin")
            figures[name], rows = understood(voice, replies)
            figures[name]["odd inputs that fail"] = odd_inputs(voice)
            figures[name]["milliseconds"] = speed(voice, replies)
            (work / f"heard-{name}.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
        (work / "evaluation.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
        print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
