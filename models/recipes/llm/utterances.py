"""Turns phrasings into training pairs: what is said, with which tools granted, and what the model should answer."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

from slots import fill

HERE = Path(__file__).parent

# Canonical tool names and their arguments in the order in which they are emitted; `?` marks an optional one.
# The host maps them to the tools of the installed skills (models/starter/llm/reflex.toml).
TOOLS: dict[str, list[str]] = {
    "timer.start": ["duration", "label?"],
    "timer.cancel": ["label?"],
    "timer.pause": ["label?"],
    "timer.resume": ["label?"],
    "timer.status": ["label?"],
    "timer.list": [],
    "alarm.set": ["time", "day?"],
    "alarm.cancel": ["time?"],
    "light.set": ["room?", "state?:on|off", "level?:int", "change?:int", "color?"],
    "switch.set": ["device", "room?", "state:on|off"],
    "climate.set": ["room?", "temp?:number", "change?:number"],
    "cover.set": ["device", "room?", "state:open|closed"],
    "scene.run": ["scene"],
    "clock.time": ["city?"],
    "clock.date": ["day?"],
    "list.add": ["item", "list"],
    "list.remove": ["item", "list"],
    "list.show": ["list"],
    "list.clear": ["list"],
    "volume.set": ["state?:mute|unmute", "level?:int", "change?:int"],
    "media.play": ["query?"],
    "media.pause": [],
    "media.next": [],
    "media.previous": [],
    "reminder.add": ["text", "when?"],
    "reminder.list": [],
    "weather.get": ["city?", "day?"],
    "dialog.stop": [],
    "dialog.yes": [],
    "dialog.no": [],
}
SKILL = {tool: tool.split(".")[0] for tool in TOOLS}
SKILL_SAID = {"cover": "blinds", "media": "music"}
ABILITIES = [
    ("timer", "set timers"), ("light", "control lights"), ("list", "keep lists"), ("media", "play music"),
    ("reminder", "set reminders"), ("climate", "change the temperature"), ("weather", "check the weather"),
    ("alarm", "set alarms"), ("clock", "tell the time"),
]
OUT_OF_DOMAIN = "I can't do that with the starter model. Install a bigger one in settings."
NOT_UNDERSTOOD = "Sorry, I didn't catch that."

POLITE = [
    "hey computer", "computer", "hey", "okay", "ok", "hi", "please", "hey assistant", "assistant", "could you",
    "can you", "would you", "can you please", "i want you to", "i'd like you to", "go ahead and", "quickly",
    "so", "alright", "now", "um", "hey there", "would you please", "just", "loqa", "hey loqa",
]
AFTER = ["please", "thanks", "now", "right now", "thank you", "okay", "for me", "for me please", "would you", "if you can"]
# What recognisers write instead, from their typical confusions.
SOUND_ALIKES = {
    "timer": ["time her", "tymer", "timers", "timor", "time are"], "for": ["four", "fore", "4"], "to": ["two", "too", "2"],
    "lights": ["lites", "light's", "likes", "lice"], "light": ["lite", "like"], "the": ["de", "thee", "da"], "a": ["uh", "ay"],
    "minutes": ["minuets", "minute"], "set": ["sit", "said", "sat", "saw"], "turn": ["tern", "torn", "turned"], "off": ["of", "off of"],
    "on": ["an", "own"], "reminder": ["remainder"], "remind": ["remined", "rewind"], "weather": ["whether", "wether"],
    "volume": ["volumes", "value"], "pause": ["paws", "pores"], "list": ["lest", "lists"], "dim": ["dem", "him"],
    "what's": ["whats", "what is", "watts"], "play": ["played", "plate"], "add": ["at", "ad"], "my": ["mai", "by"],
    "cancel": ["council", "cancelled"], "start": ["star", "starts"], "stop": ["stopped", "stob"], "alarm": ["alarms", "a larm"],
    "time": ["thyme", "times"], "is": ["his"], "put": ["but"], "please": ["pleas"], "temperature": ["temperatures", "temp"],
    "much": ["match"], "left": ["lift"], "how": ["our"], "scene": ["seen"], "music": ["musik"], "next": ["necks"], "i": ["eye"],
    "can": ["ken"], "you": ["u", "ya"], "me": ["mi"], "blinds": ["blind", "lines"], "raise": ["rays", "race"], "lower": ["lour"],
    "change": ["chains"], "make": ["mick"],
}
FILLERS = "um uh like er hmm well so okay hey just actually".split()
LITERAL = re.compile(r"-?\d+$")


@dataclass
class Intent:
    name: str
    weight: float
    tool: str | None
    arguments: dict[str, str] = field(default_factory=dict)
    skill: str | None = None
    reply: str = ""
    phrasings: list[str] = field(default_factory=list)
    held_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pair:
    said: str
    answer: str
    intent: str
    tool: str | None


def call_text(tool: str, arguments: dict[str, object]) -> str:
    """The tool call as the model writes it. Strings begin with one space, so that copied words are the same tokens as in the prompt."""
    parts = [f'"{k}":" {v}"' if isinstance(v, str) else f'"{k}":{v}' for k, v in arguments.items() if v is not None]
    return '{"tool":" ' + tool + '","args":{' + ",".join(parts) + "}}"


def say_text(reply: str) -> str:
    return '{"say":" ' + reply + '"}'


def _read_intents() -> list[Intent]:
    intents: list[Intent] = []
    for line in (HERE / "phrasings.txt").read_text(encoding="utf-8").splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("== "):
            name, weight, kind, *rest = [p.strip() for p in line[3:].split(" | ", 3)]
            intent = Intent(name, float(weight), None)
            if kind == "say":
                intent.reply = rest[0]
            elif kind.startswith("say-if "):
                intent.skill, intent.reply = kind.split()[1], rest[0]
            else:
                intent.tool = kind
                intent.arguments = dict(p.split("=", 1) for p in rest[0].split("; ")) if rest else {}
            intents.append(intent)
        elif line.startswith("~ "):
            intents[-1].held_out.append(line[2:])
        else:
            intents[-1].phrasings.append(line)
    return intents + _read_out_of_domain()


def _read_out_of_domain() -> list[Intent]:
    ask = Intent("ood", 14.0, None, reply=OUT_OF_DOMAIN)
    unclear = Intent("overheard", 6.0, None, reply=NOT_UNDERSTOOD)
    current = ask
    for line in (HERE / "out_of_domain.txt").read_text(encoding="utf-8").splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("@"):
            name, _, values = line[1:].partition(" = ")
            WORDS[name] = values.split("|")
        elif line.startswith("== "):
            current = {"ask": ask, "unclear": unclear}[line[3:]]
        else:
            (current.held_out if line.startswith("~ ") else current.phrasings).append(line.removeprefix("~ "))
    return [ask, unclear]


WORDS: dict[str, list[str]] = {}
INTENTS = _read_intents()
WEIGHTS = [i.weight for i in INTENTS]
GROUP = re.compile(r"\[([^\[\]()]*)\]|\(([^\[\]()]*)\)")
SLOT = re.compile(r"\{(\w+)\}")


def expand(r: random.Random, phrasing: str) -> str:
    """Picks one of `(a|b)`, one or nothing of `[a|b]`, and a word for each `{pool}` of the out-of-domain file."""
    phrasing = SLOT.sub(lambda m: r.choice(WORDS[m.group(1)]) if m.group(1) in WORDS else m.group(0), phrasing)
    while match := GROUP.search(phrasing):
        if match.group(1) is not None:
            pick = r.choice(match.group(1).split("|")) if r.random() < 0.45 else ""
        else:
            pick = r.choice(match.group(2).split("|"))
        phrasing = phrasing[: match.start()] + pick + phrasing[match.end() :]
    return re.sub(r"\s+", " ", phrasing).strip()


def mishear(r: random.Random, words: list[str], level: float) -> list[str]:
    """Recognition noise outside the slots: sound-alikes, typing-like slips, lost and doubled words, fillers."""
    out: list[str] = []
    for word in words:
        if "{" in word:
            out.append(word)
            continue
        k = r.random()
        if k < 0.09 * level and word in SOUND_ALIKES:
            out.append(r.choice(SOUND_ALIKES[word]))
            continue
        if k < 0.15 * level and len(word) > 3:
            i = r.randrange(len(word) - 1)
            word = r.choice([
                word[:i] + word[i + 1 :],
                word[:i] + word[i + 1] + word[i] + word[i + 2 :],
                word[:i] + word[i] + word[i:],
                word[:i] + r.choice("abcdefghijklmnopqrstuvwxyz") + word[i + 1 :],
            ])
        elif k < 0.17 * level and word in ("the", "a", "an", "my", "me", "please", "some", "for", "to"):
            continue
        elif k < 0.19 * level:
            out.append(word)
        if r.random() < 0.03 * level:
            out.append(r.choice(FILLERS))
        out.append(word)
    if r.random() < 0.2 * level:
        out.insert(0, r.choice(FILLERS))
    return out or words


def granted_tools(r: random.Random, everything: bool = False) -> list[str]:
    """A plausible set of granted tools: from one skill to all of them, now and then with a tool missing."""
    skills = sorted(set(SKILL.values()) - {"dialog"})
    if everything:
        return list(TOOLS)
    count = r.choice([1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 14])
    keep = set(r.sample(skills, min(count, len(skills))))
    if r.random() < 0.9:
        keep.add("dialog")
    tools = [t for t in TOOLS if SKILL[t] in keep and r.random() >= 0.04]
    if r.random() < 0.25:
        r.shuffle(tools)
    return tools or ["dialog.stop"]


def abilities(tools: list[str]) -> str:
    have = {SKILL[t] for t in tools}
    said = [text for skill, text in ABILITIES if skill in have][:3]
    if not said:
        return "I can chat a little."
    return "I can " + (", ".join(said[:-1]) + " and " + said[-1] if len(said) > 1 else said[0]) + "."


def missing(skill: str) -> str:
    return f"The {SKILL_SAID.get(skill, skill)} skill isn't installed."


def pair(r: random.Random, tools: list[str], *, held_phrasings: bool = False, any_phrasing: bool = False, held_values: bool = False, noise: float | None = None, intent: str | None = None) -> Pair:
    """One training or evaluation pair for the granted `tools`."""
    while True:
        candidates = [i for i in INTENTS if i.name == intent] if intent else None
        chosen = r.choice(candidates) if candidates else r.choices(INTENTS, WEIGHTS)[0]
        # Most commands should be ones that the granted tools can carry out; the rest teaches to decline.
        if chosen.tool and chosen.tool not in tools and not intent and r.random() < 0.55:
            continue
        phrasings = chosen.phrasings + chosen.held_out if any_phrasing else chosen.held_out if held_phrasings else chosen.phrasings
        if phrasings:
            break
    text = expand(r, r.choice(phrasings))
    said, values = {}, {}
    for slot in SLOT.findall(text):
        said[slot], values[slot.replace("adur", "dur")] = fill(slot, r, held_values)
    words = text.split()
    if (chosen.tool or chosen.name in ("ood", "joke")) and r.random() < 0.22:
        words = r.choice(POLITE).split() + words
    if chosen.tool and r.random() < 0.1:
        words += r.choice(AFTER).split()
    level = r.choice([0, 0, 0, 0.5, 1, 1.5]) if noise is None else noise
    if level:
        words = mishear(r, words, level)
    utterance = SLOT.sub(lambda m: said[m.group(1)], " ".join(words))

    if chosen.tool is None:
        if chosen.reply == "@abilities":
            answer = say_text(abilities(tools))
        elif chosen.skill and not any(SKILL[t] == chosen.skill for t in tools):
            answer = say_text(missing(chosen.skill))
        else:
            answer = say_text(chosen.reply)
        return Pair(utterance, answer, chosen.name, None)
    if chosen.tool not in tools:
        skill = SKILL[chosen.tool]
        return Pair(utterance, say_text("Okay." if skill == "dialog" else missing(skill)), chosen.name, None)
    arguments: dict[str, object] = {}
    for key, spec in chosen.arguments.items():
        match = SLOT.search(spec)
        if match:
            if match.group(1) not in values:  # an optional part of the phrasing that was not said
                continue
            value = values[match.group(1)]
            arguments[key] = -value if spec.startswith("-") else value  # type: ignore[operator]
        else:
            arguments[key] = int(spec) if LITERAL.match(spec) else spec
    return Pair(utterance, call_text(chosen.tool, arguments), chosen.name, chosen.tool)


if __name__ == "__main__":
    rng = random.Random(1)
    print(len(INTENTS), "intent blocks", sum(len(i.phrasings) for i in INTENTS), "phrasings", sum(len(i.held_out) for i in INTENTS), "held out")
    for _ in range(40):
        tools_ = granted_tools(rng)
        p = pair(rng, tools_)
        print(f"{len(tools_):2} {p.said}  =>  {p.answer}")
