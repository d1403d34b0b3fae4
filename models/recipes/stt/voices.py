"""Which synthetic voices speak, under which licence, and in which role.

Roles: `train` voices make training speech; `watch` voices are only ever evaluated on, and their figures may guide development;
`blind` voices are not listened to, trained on or evaluated on until the final figure of a model that is to be shipped.
Voices of packages whose licence is not clear (Debian non-free: pico, mbrola) are not used at all.
"""

from __future__ import annotations

import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sound import read_wave


@dataclass(frozen=True)
class Voice:
    name: str
    engine: str
    role: str
    share: float
    package: str
    licence: str
    pitch: float = 0.0


VOICES = [
    Voice("espeak", "espeak", "train", 46, "espeak-ng", "GPL-3.0-or-later program; its output is not covered by it"),
    Voice("awb", "flite", "train", 18, "flite", "CMU, BSD-like", 130),
    Voice("slt", "flite", "train", 14, "flite", "CMU, BSD-like", 170),
    Voice("kal16", "flite", "train", 5, "flite", "CMU, BSD-like", 105),
    Voice("cmu_us_slt_arctic_hts", "festival", "train", 10, "festvox-us-slt-hts", "CMU and Nagoya Institute of Technology, BSD-like"),
    Voice("kal_diphone", "festival", "train", 7, "festvox-kallpc16k", "Black and Lenzo, MIT-like"),
    Voice("rms", "flite", "watch", 50, "flite", "CMU, BSD-like", 105),
    Voice("espeak-watch", "espeak", "watch", 50, "espeak-ng", "as espeak"),
    Voice("ked_diphone", "festival", "blind", 50, "festvox-kdlpc16k", "University of Edinburgh, MIT-like"),
    Voice("espeak-blind", "espeak", "blind", 50, "espeak-ng", "as espeak"),
]
PACKAGES = {"espeak-ng": "espeak-ng", "flite": "flite", "festival": "festival"}
DATA_PACKAGES = ["festvox-us-slt-hts", "festvox-kallpc16k", "festvox-kdlpc16k"]

ACCENTS = {"en-us": 40, "en-gb": 20, "en-gb-x-rp": 10, "en-gb-scotland": 8, "en-us-nyc": 8, "en-gb-x-gbclan": 5, "en-gb-x-gbcwmd": 5}
BLIND_ACCENT = "en-029"
VARIANTS = (
    "Alex Alicia Andrea Andy Annie AnxiousAndy Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee Marco Mario Michael Mike Nguyen "
    "RicishayMax RicishayMax2 RicishayMax3 Storm Tweaky adam anika announcer antonio aunty belinda benjamin boris caleb david ed "
    "edward edward2 f1 f2 f3 f4 f5 gustave iven iven2 iven3 iven4 john kaukovalta klatt klatt2 klatt3 klatt4 klatt5 linda m1 m2 m3 "
    "m4 m5 m6 m7 m8 marcelo max michel miguel norbert pablo paul pedro quincy rob robert sandro shelby steph steph2 steph3 travis "
    "victor zac whisper croak grandma grandpa"
).split()
WATCH_VARIANTS = "linda Alicia m5 f5 Gene2 steph3 klatt4 grandpa Michael belinda".split()
BLIND_VARIANTS = "aunty edward2 RicishayMax2 m7 f3 klatt2".split()
TRAIN_VARIANTS = [v for v in VARIANTS if v not in WATCH_VARIANTS and v not in BLIND_VARIANTS]


def of_role(role: str) -> list[Voice]:
    return [v for v in VOICES if v.role == role]


def _run(command: list[str]) -> bytes:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30, check=True).stdout


def _espeak(voice: Voice, text: str, r: random.Random) -> tuple[np.ndarray, int, str]:
    if voice.role == "blind":
        accent, variant = BLIND_ACCENT, r.choice(BLIND_VARIANTS)
    else:
        accent = r.choices(list(ACCENTS), list(ACCENTS.values()))[0]
        variant = r.choice(WATCH_VARIANTS if voice.role == "watch" else TRAIN_VARIANTS)
        if variant in ("whisper", "croak") and r.random() < 0.6:
            variant = r.choice(TRAIN_VARIANTS)
    speed, pitch = str(int(r.uniform(125, 205))), str(int(r.triangular(15, 85, 48)))
    out = _run(["espeak-ng", "-v", f"{accent}+{variant}", "-s", speed, "-p", pitch, "-g", str(r.choice([0, 0, 0, 1, 2])), "--stdout", text])
    samples, rate = read_wave(out)
    return samples, rate, f"{voice.name}:{accent}+{variant}"


def _flite(voice: Voice, text: str, r: random.Random, folder: Path) -> tuple[np.ndarray, int, str]:
    path = folder / "flite.wav"
    command = ["flite", "-voice", voice.name, "--setf", f"duration_stretch={r.uniform(0.8, 1.3):.2f}"]
    if r.random() < 0.6:
        command += ["--setf", f"int_f0_target_mean={voice.pitch * r.uniform(0.75, 1.35):.0f}", "--setf", f"int_f0_target_stddev={r.uniform(10, 40):.0f}"]
    _run([*command, "-t", text, "-o", str(path)])
    samples, rate = read_wave(path.read_bytes())
    return samples, rate, voice.name


def speak(voice: Voice, text: str, r: random.Random, folder: Path) -> tuple[np.ndarray, int, str]:
    """Samples, sample rate and a label. Festival voices go through `speak_festival`, which starts the program once for many sentences."""
    return _espeak(voice, text, r) if voice.engine == "espeak" else _flite(voice, text, r, folder)


def speak_festival(voice: Voice, texts: list[str], r: random.Random, folder: Path) -> list[Path]:
    script, paths = f"(voice_{voice.name})\n", []
    for i, text in enumerate(texts):
        path = folder / f"{voice.name}-{i}.wav"
        clean = text.replace('"', "")
        script += f"(Parameter.set 'Duration_Stretch {r.uniform(0.85, 1.25):.2f})\n"
        script += f'(utt.save.wave (utt.synth (Utterance Text "{clean}")) "{path}" \'riff)\n'
        paths.append(path)
    program = folder / f"{voice.name}.scm"
    program.write_text(script)
    subprocess.run(["festival", "-b", str(program)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300, check=False)
    return paths
