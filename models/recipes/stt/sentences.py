"""What is said, and how the recogniser should write it.

Sentences come from the phrasings of the reflex model, from its out-of-domain text, and from `sentences.txt`.
Numbers are spoken as words and written as digits ("5 minutes", "30%", "7:30 AM"), like larger Whisper models do.
"""

from __future__ import annotations

import hashlib
import random
import re
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "llm"))

import slots  # noqa: E402
import utterances  # noqa: E402

NAMES = set(
    """monday tuesday wednesday thursday friday saturday sunday january february march april june july august september october
    november december christmas easter halloween thanksgiving london paris berlin rome madrid tokyo boston chicago dublin sydney vienna
    amsterdam seattle toronto oslo spotify english french german italian spanish japanese mozart beethoven bach abba coldplay adele
    john sarah anna tom lisa peter maria david mia ben einstein napoleon shakespeare france japan brazil australia italy egypt canada
    germany spain india norway kenya mexico greece poland turkey chile iceland texas california florida hawaii russia china ireland
    portugal sweden peru cuba vietnam thailand morocco helsinki stockholm prague warsaw lisbon athens cairo delhi mumbai beijing shanghai
    seoul bangkok singapore dubai denver miami dallas houston austin portland munich hamburg zurich geneva brussels copenhagen budapest
    istanbul moscow lima nairobi lagos melbourne auckland vancouver montreal edinburgh manchester barcelona milan naples kyoto osaka""".split()
) - {"march", "may"}
UPPER = {"tv": "TV", "am": "AM", "pm": "PM", "i": "I", "i'm": "I'm", "i'll": "I'll", "i'd": "I'd", "ac": "AC", "dna": "DNA"}
QUESTION = re.compile(
    r"^(what|what's|how|how's|when|who|where|why|which|is|are|will|do|does|did|can|could|would|should|am|has|have you|was|were|any|whose)\b"
)
DIGIT_WORDS = {w: n for n, w in enumerate(slots.ONES)} | {w: 10 * n for n, w in enumerate(slots.TENS) if w}
SPOKEN_ACRONYM = {"tv": "t v", "ac": "a c", "dna": "d n a"}


@dataclass(frozen=True)
class Sentence:
    group: str
    spoken: str
    written: str


def _number(r: random.Random, low: int, high: int) -> str:
    return f"#{r.randint(low, high)}#"


def _duration(r: random.Random, adjective: bool) -> str:
    unit = r.choice(["minute"] * 6 + ["second"] * 3 + ["hour"] * 2)
    k = r.random()
    if k < 0.08 and not adjective:
        return r.choice(["half an hour", "an hour", "a minute", "an hour and a half", "a quarter of an hour", "half a minute", "#2# and a half minutes", "a couple of minutes"])
    n = r.choice([1, 2, 3, 5, 10, 15, 20, 25, 30, 45, 60, 90]) if r.random() < 0.4 else r.randint(1, {"minute": 99, "second": 99, "hour": 24}[unit])
    text = f"#{n}# {unit}" + ("" if n == 1 or adjective else "s")
    if k > 0.85 and unit != "second" and not adjective:
        m = r.choice([10, 15, 20, 30, 45, r.randint(1, 59)])
        text += f" and #{m}# " + ("second" if unit == "minute" else "minute") + ("" if m == 1 else "s")
    elif 0.81 < k < 0.85 and unit != "second":
        text = f"#{min(n, 12)}# and a half {unit}" + ("" if adjective else "s")
    return text


def _time(r: random.Random) -> str:
    h, k = r.randint(1, 12), r.random()
    if k < 0.18:
        return f"@{h}@"
    if k < 0.42:
        return f"@{h}{r.choice(['am', 'pm'])}@"
    if k < 0.5:
        return f"@{h}:00@"
    minute = r.choice("15 30 45 05 10 20 40 50".split()) if r.random() < 0.6 else f"{r.randint(1, 59):02d}"
    if k < 0.78:
        return f"@{h}:{minute}@"
    if k < 0.95:
        return f"@{h}:{minute}{r.choice(['am', 'pm'])}@"
    return r.choice(["noon", "midnight", f"half past #{h}#", f"quarter past #{h}#", f"quarter to #{h}#"])


def _day(r: random.Random) -> str:
    day = r.choice(slots.POOLS["day"][0] + slots.POOLS["day"][1])
    return ("on " if day.endswith("day") and day != "today" and "next" not in day else "") + day


SLOTS = {
    "dur": lambda r: _duration(r, False),
    "adur": lambda r: _duration(r, True),
    "time": _time,
    "when": lambda r: r.choice([f"in {_duration(r, False)}", f"at {_time(r)}", _day(r), f"{_day(r)} at {_time(r)}"]),
    "pct": lambda r: f"%{r.choice([10, 20, 25, 30, 40, 50, 60, 70, 75, 80, 90, 100]) if r.random() < 0.4 else r.randint(0, 100)}%",
    "temp": lambda r: _number(r, 10, 85) + r.choice(["", " degrees", " degrees"]),
    "n": lambda r: _number(r, 1, 10),
    "n10": lambda r: f"%{r.choice([5, 10, 15, 20, 25, 30])}%",
    "any": lambda r: _number(r, 0, 100),
    "word": lambda r: r.choice(WORDS),
}
WORDS = (HERE / "words.txt").read_text(encoding="utf-8").split()


def _read_groups() -> list[tuple[str, float, list[str]]]:
    groups: list[tuple[str, float, list[str]]] = []
    for line in (HERE / "sentences.txt").read_text(encoding="utf-8").splitlines():
        line = line.strip()
        if line.startswith("@"):
            name, _, values = line[1:].partition(" = ")
            utterances.WORDS[name] = values.split("|")
        elif line.startswith("== "):
            name, weight = line[3:].split(" | ")
            groups.append((name, float(weight), []))
        elif line and not line.startswith("#"):
            groups[-1][2].append(line)
    for intent in utterances.INTENTS:
        share = {"ood": 6.0, "overheard": 3.0, "unclear": 0.0}.get(intent.name, intent.weight * 0.4)
        if share:
            groups.append((intent.name, share, intent.phrasings + intent.held_out))
    return groups


GROUPS = _read_groups()
GROUP_WEIGHTS = [w for _, w, _ in GROUPS]


def _clock(match: re.Match) -> tuple[str, str]:
    hour, minute, half = int(match.group(1)), match.group(2), match.group(3) or ""
    if minute is None:
        spoken, written = slots.number_words(hour), str(hour)
    else:
        m = int(minute)
        tail = "o'clock" if m == 0 else ("oh " if m < 10 else "") + slots.number_words(m)
        spoken, written = f"{slots.number_words(hour)} {tail}", f"{hour}:{minute}"
    if half:
        spoken = spoken.replace(" o'clock", "") + " " + " ".join(half)
        written = written.removesuffix(":00") + " " + half.upper()
    return spoken, written


CLOCK = re.compile(r"@(\d+)(?::(\d\d))?(am|pm)?@")


def _digits_for_words(text: str) -> str:
    """Number words of the phrasings themselves, from two upwards: "twenty one" → "21"."""
    out: list[str] = []
    words = text.split()
    i = 0
    while i < len(words):
        n = DIGIT_WORDS.get(words[i])
        if n is not None and n >= 20 and i + 1 < len(words) and 0 < DIGIT_WORDS.get(words[i + 1], 99) < 10:
            out.append(str(n + DIGIT_WORDS[words[i + 1]]))
            i += 2
            continue
        out.append(str(n) if n is not None and n >= 2 else words[i])
        i += 1
    return " ".join(out)


def render(raw: str) -> tuple[str, str]:
    """The words to speak, and the text to write, of a filled phrasing with number marks."""
    spoken = CLOCK.sub(lambda m: _clock(m)[0], raw)
    written = CLOCK.sub(lambda m: _clock(m)[1], _digits_for_words(raw))
    spoken = re.sub(r"%(\d+)%", lambda m: slots.number_words(int(m.group(1))) + " percent", spoken)
    written = re.sub(r"%(\d+)%", r"\1%", written)
    spoken = re.sub(r"#(\d+)#", lambda m: slots.number_words(int(m.group(1))), spoken)
    written = re.sub(r"#(\d+)#", r"\1", written)
    spoken = re.sub(r"\d+", lambda m: slots.number_words(int(m.group(0))) if int(m.group(0)) < 1000 else m.group(0), spoken)
    spoken = " ".join(SPOKEN_ACRONYM.get(w, w) for w in spoken.lower().split())
    question = bool(QUESTION.match(raw))
    words = [UPPER.get(w.lower(), w.capitalize() if w in NAMES else w) for w in written.split()]
    written = " ".join(words)
    written = re.sub(r"\bnew york\b", "New York", written)
    written = written[0].upper() + written[1:] + ("?" if question else ".")
    return spoken + ("?" if question else "."), written


def sentence(r: random.Random) -> Sentence:
    while True:
        name, _, phrasings = r.choices(GROUPS, GROUP_WEIGHTS)[0]
        raw = utterances.expand(r, r.choice(phrasings))
        raw = utterances.SLOT.sub(lambda m: SLOTS[m.group(1)](r) if m.group(1) in SLOTS else r.choice(sum(slots.POOLS[m.group(1)], [])), raw)
        raw = re.sub(r"\s+", " ", raw).strip()
        if re.search(r"\d{4}", raw) or not raw or len(raw) > 90 or re.search(r"[^a-zA-Z0-9 '#%@:]", raw):
            continue
        return Sentence(name, *render(raw))


def is_held_out(s: Sentence) -> bool:
    """6 % of the sentences with at least four words are kept for testing, by hash, so that the choice never moves."""
    if s.group == "small" or len(s.written.split()) < 4:
        return False
    return int(hashlib.md5(s.written.encode()).hexdigest(), 16) % 100 < 6


if __name__ == "__main__":
    rng = random.Random(3)
    for _ in range(60):
        s_ = sentence(rng)
        print(f"{s_.group:14} {s_.spoken}  |  {s_.written}")
