"""Slot values: what a phrasing's `{slot}` is filled with.

Every filler returns the words that are said and the value that the tool call carries.
Durations, clock times and reminder times are *copied as spoken* ("an hour and a half"): the host parses them, because a small model memorises arithmetic instead of doing it.
Levels, degrees and steps become numbers, because there are few of them.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen "
    "fourteen fifteen sixteen seventeen eighteen nineteen"
).split()
TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def stable_hash(text: str) -> int:
    """A hash that is the same in every process, so that held-out sets never move."""
    return int(hashlib.md5(text.encode()).hexdigest()[:8], 16)


def number_words(n: int) -> str:
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + ("" if n % 10 == 0 else " " + ONES[n % 10])
    if n == 100:
        return "one hundred"
    return (ONES[n // 100] + " hundred " + (number_words(n % 100) if n % 100 else "")).strip()


def spoken_number(r: random.Random, n: int) -> str:
    """Digits or words, as different recognisers write them."""
    if r.random() < 0.5:
        return str(n)
    words = number_words(n)
    if n == 100 and r.random() < 0.5:
        words = "a hundred"
    return words.replace(" ", "-") if r.random() < 0.1 else words


def _load_pools() -> dict[str, tuple[list[str], list[str]]]:
    pools = {}
    for line in (HERE / "pools.txt").read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, _, values = line.partition(" = ")
        values = sorted({v.strip() for v in values.split(",")})
        share = 150 if name == "day" else 200
        held = [v for v in values if stable_hash(name + v) % 1000 < share]
        pools[name] = ([v for v in values if v not in held], held)
    return pools


POOLS = _load_pools()
COPY_WORDS = sorted(
    {w for train, _ in POOLS.values() for v in train for w in v.split()}
    - {"and", "on", "off", "to", "in", "for", "a", "the"}
)
SYLLABLES = (
    "ba be bi bo bu ka ke ki ko ku la le li lo lu ma me mi mo mu na ne ni no nu ra re ri ro ru "
    "sa se si so su ta te ti to tu va ve vi vo za zo zi pa pe pi po da de di do ga go gi fa fe fi "
    "fo ha ho hi ja jo ju wa wi wo sha cha tho stra pli gra bro cle"
).split()
CODAS = "n r s l t m ck nd st ng x p ff y ly er in on".split()


def pseudo_word(r: random.Random) -> str:
    """A word nobody knows: it can only be copied."""
    word = "".join(r.choice(SYLLABLES) for _ in range(r.choice([1, 2, 2, 3])))
    return word + (r.choice(CODAS) if r.random() < 0.8 else "")


def _unit(r: random.Random, n: int, unit: str, adjective: bool) -> str:
    word = r.choice(
        {
            "h": ["hour", "hour", "hour", "hr"],
            "m": ["minute", "minute", "minute", "minute", "min"],
            "s": ["second", "second", "second", "sec"],
        }[unit]
    )
    if n != 1 and not adjective:
        word += "s"
    if n == 1 and not adjective and r.random() < 0.45:
        return ("an " if unit == "h" else "a ") + word
    text = spoken_number(r, n)
    if adjective and r.random() < 0.08 and text.isdigit():
        return text + "-" + word
    return text + " " + word


def _held_duration(h: int, m: int, s: int) -> bool:
    common = (m in (5, 10, 15, 20, 30) and not h and not s) or (h in (1, 2) and not m and not s)
    return stable_hash(f"dur{h}:{m}:{s}") % 100 < 15 and not common


def _idiom(r: random.Random, adjective: bool, held: bool) -> str | None:
    kind = r.choice("half half quarter three minute couple few sixty some quarters n n n".split())
    if kind == "half":
        return r.choice(["half an hour", "half hour"] + ([] if adjective else ["half a hour", "a half hour", "half an hour"]))
    if kind == "quarter":
        return "quarter hour" if adjective else r.choice(["a quarter of an hour", "quarter of an hour", "quarter hour"])
    if kind == "three":
        return "three quarter hour" if adjective else r.choice(["three quarters of an hour", "three quarter hour"])
    if kind == "minute":
        return "half minute" if adjective else r.choice(["half a minute", "a half minute", "a minute and a half"])
    if kind == "couple":
        return "two minute" if adjective else r.choice(["a couple of minutes", "a couple minutes", "a couple of hours"])
    if kind == "few":
        return None if adjective else r.choice(["an hour and a quarter", "an hour and 15 minutes"])
    if kind == "sixty":
        return "sixty minute" if adjective else "sixty minutes"
    if kind == "some":
        return None if adjective else r.choice(["one hour", "one minute", "an hour", "a minute"])
    if kind == "quarters":
        return spoken_number(r, r.randint(1, 3)) + " and a quarter " + ("hour" if adjective else "hours")
    n = r.choice([1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    unit = r.choice(["hour", "minute"])
    if held != (stable_hash(f"half{n}{unit}") % 100 < 20):
        return None
    if n == 1 and unit == "hour" and r.random() < 0.5:
        return None if adjective else r.choice(["an hour and a half", "one hour and a half", "1 hour and a half"])
    plural = "" if adjective else "s"
    if r.random() < 0.2:
        return f"{n}.5 {unit}{plural}"
    return f"{spoken_number(r, n)} and a half {unit}{plural}"


def duration(r: random.Random, held: bool, adjective: bool = False) -> str:
    while True:
        h = m = s = 0
        k = r.random()
        if k < 0.46:
            m = r.choice([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 90] + [r.randint(1, 99), r.randint(1, 60), r.randint(1, 120)] * 2)
        elif k < 0.58:
            s = r.choice([5, 10, 15, 20, 30, 40, 45, 60, 90, r.randint(2, 99)])
        elif k < 0.68:
            h = r.choice([1, 2, 3, 4, 5, 6, 8, 10, 12, 24, r.randint(1, 24)])
        elif k < 0.79:
            h, m = r.choice([1, 1, 1, 2, 2, 3, r.randint(1, 9)]), r.choice([5, 10, 15, 20, 25, 30, 40, 45, 50, r.randint(1, 59)])
        elif k < 0.87:
            m, s = r.choice([1, 1, 2, 3, 4, 5, r.randint(1, 20)]), r.choice([10, 15, 20, 30, 40, 45, 50, r.randint(1, 59)])
        elif k < 0.89:
            h, m, s = r.randint(1, 3), r.randint(1, 59), r.randint(1, 59)
        else:
            text = _idiom(r, adjective, held)
            if text is None:
                continue
            return text
        if _held_duration(h, m, s) != held:
            continue
        parts = [_unit(r, n, u, adjective) for n, u in ((h, "h"), (m, "m"), (s, "s")) if n]
        if len(parts) == 2:
            if h and m > 9 and r.random() < 0.15:
                return f"{parts[0]} {spoken_number(r, m)}"
            if m and s > 9 and not h and r.random() < 0.12:
                return f"{parts[0]} {spoken_number(r, s)}"
            return (" and " if r.random() < 0.65 else " ").join(parts)
        if len(parts) == 3:
            return f"{parts[0]} {parts[1]} and {parts[2]}"
        return parts[0]


def clock_time(r: random.Random, held: bool) -> str:
    while True:
        hour = r.randint(0, 23)
        minute = r.choice([0, 0, 0, 30, 30, 15, 45, r.randint(0, 59), r.randint(0, 11) * 5])
        if (stable_hash(f"clk{hour}:{minute}") % 100 < 15) == held:
            break
    h12, after = hour % 12 or 12, (hour + 1) % 12 or 12
    if hour == 12 and minute == 0 and r.random() < 0.4:
        return "noon"
    if hour == 0 and minute == 0 and r.random() < 0.5:
        return "midnight"
    half_day = r.choice(["am", "am", "a m"] if hour < 12 else ["pm", "pm", "p m"])  # "a.m." reaches the model without its dots
    part = "in the morning" if 4 <= hour < 12 else "in the afternoon" if 12 <= hour < 17 else "in the evening" if 17 <= hour < 21 else "at night"
    suffix = r.choice(["", "", "", " " + half_day, " " + half_day, " " + part])
    k = r.random()
    if hour >= 13 and k < 0.15:
        return f"{hour}:{minute:02d}"
    if minute == 0:
        text = spoken_number(r, h12)
        if r.random() < 0.2:
            text = f"{h12}:00"
        elif r.random() < 0.2 and not suffix:
            text += " o'clock"
        return text + suffix
    if k < 0.35:
        return f"{h12}:{minute:02d}{suffix}"
    if minute == 30 and k < 0.6:
        return "half past " + spoken_number(r, h12) + suffix
    if minute == 15 and k < 0.6:
        return r.choice(["quarter past ", "a quarter past "]) + spoken_number(r, h12) + suffix
    if minute == 45 and k < 0.6:
        return r.choice(["quarter to ", "a quarter to "]) + spoken_number(r, after) + suffix
    if minute % 5 == 0 and k < 0.66:
        return (f"{spoken_number(r, minute)} past {spoken_number(r, h12)}" if minute < 30 else f"{spoken_number(r, 60 - minute)} to {spoken_number(r, after)}") + suffix
    if minute < 10:
        return f"{number_words(h12)} oh {number_words(minute)}{suffix}"
    return (f"{number_words(h12)} {number_words(minute)}" if r.random() < 0.6 else f"{h12} {minute}") + suffix


def _day_phrase(r: random.Random, days: list[str]) -> str:
    day = r.choice(days)
    bare = day.endswith("day") and day != "today" and "next" not in day
    return ("on " if bare else "") + day


def reminder_time(r: random.Random, held: bool) -> str:
    k = r.random()
    if k < 0.3:
        return "in " + duration(r, held)
    if k < 0.55:
        return "at " + clock_time(r, held)
    days = POOLS["day"][1 if held else 0]
    if k < 0.75:
        return _day_phrase(r, days)
    return _day_phrase(r, [d for d in POOLS["day"][0] if d != "tonight"]) + " at " + clock_time(r, held)


def _from_pool(name: str) -> Callable[[random.Random, bool], str]:
    copied = name in ("label", "item", "device", "room", "scene", "list", "task", "city", "media")

    def fill(r: random.Random, held: bool) -> str:
        # A third of the values are words the pool does not hold: the model must copy what it heard, not recall the nearest value.
        if copied and not held and r.random() < 0.34:
            if r.random() < 0.45:
                count = r.choice([2, 3, 3, 4] if name == "task" else [1, 1, 2, 2, 3])
                return " ".join(r.choice(COPY_WORDS) for _ in range(count))
            text = pseudo_word(r)
            if name == "room" and r.random() < 0.5:
                text += " room"
            elif name == "task":
                text = r.choice(POOLS["task"][0]).split()[0] + " " + r.choice(["the ", "my ", ""]) + text
            elif r.random() < 0.3:
                text += " " + r.choice(POOLS["item"][0]).split()[-1]
            return text
        values = POOLS[name][1 if held else 0]
        text = r.choice(values)
        if name == "item" and r.random() < 0.08:
            text += " and " + r.choice(values)
        return text

    return fill


def percent(r: random.Random, held: bool) -> tuple[str, int]:
    k = r.random()
    if k < 0.06:
        return r.choice(["half", "half brightness", "fifty percent"]), 50
    if k < 0.12:
        return r.choice(["maximum", "max", "full", "the max"]), 100
    if k < 0.15:
        return r.choice(["minimum", "the minimum", "the lowest"]), 1
    while True:
        n = r.choice([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 5, 15, 25, 75, r.randint(1, 99), r.randint(1, 99), r.randint(1, 99)])
        if (stable_hash(f"pct{n}") % 100 < 12) == held:
            break
    text = spoken_number(r, n)
    return text + (r.choice([" percent", "%", " percent", ""]) if text.isdigit() else r.choice([" percent", " percent", ""])), n


def degrees(r: random.Random, held: bool) -> tuple[str, float]:
    while True:
        n = r.choice([r.randint(15, 28), r.randint(15, 28), r.randint(60, 80)])
        if (stable_hash(f"tmp{n}") % 100 < 15) == held:
            break
    if n < 30 and r.random() < 0.12:
        return (f"{n}.5" if r.random() < 0.6 else number_words(n) + " point five") + r.choice(["", " degrees"]), n + 0.5
    return spoken_number(r, n) + r.choice(["", " degrees", " degrees", " degrees celsius" if n < 30 else " degrees fahrenheit"]), n


def small_step(r: random.Random, held: bool) -> tuple[str, int]:
    n = r.randint(1, 6)
    return spoken_number(r, n), n


def volume_step(r: random.Random, held: bool) -> tuple[str, int]:
    n = r.choice([5, 10, 15, 20, 25, 30])
    text = spoken_number(r, n)
    return text + r.choice([" percent", "%" if text.isdigit() else " percent", "", " points"]), n


def fill(slot: str, r: random.Random, held: bool) -> tuple[str, object]:
    """The words said for `slot`, and the value a tool call carries for them."""
    if slot in NUMERIC:
        return NUMERIC[slot](r, held)
    text = SPOKEN[slot](r, held)
    return text, text


NUMERIC = {"pct": percent, "temp": degrees, "n": small_step, "n10": volume_step}
SPOKEN = {
    "dur": duration,
    "adur": lambda r, held: duration(r, held, adjective=True),
    "time": clock_time,
    "when": reminder_time,
    **{name: _from_pool(name) for name in ("room", "label", "device", "color", "scene", "item", "task", "list", "city", "media", "day")},
}
