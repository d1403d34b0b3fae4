"""What the teachers say: assistant replies from templates, and sentences of random dictionary words so that every sound occurs in every surrounding."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

HERE = Path(__file__).parent
NUMBERS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen "
    "twenty thirty forty fifty sixty seventy eighty ninety"
).split()
POOLS = {
    name: values.split("|")
    for name, values in {
        "room": "kitchen|bedroom|living room|bathroom|hallway|garage|office|garden|cellar|attic|nursery|dining room|laundry room|porch|guest room|basement|balcony|study|entrance|upstairs landing",
        "device": "light|lamp|fan|heater|radio|television|speaker|window|door|blinds|curtains|thermostat|oven|dishwasher|washing machine|vacuum cleaner|air conditioner|coffee machine|kettle|sprinkler|lock|camera|doorbell|alarm|projector|freezer|dryer|dehumidifier|outlet|switch",
        "state": "on|off|open|closed|locked|unlocked|running|ready|finished|offline|not responding|already on|too warm|too cold|stuck|empty|full|dim|bright|quiet|loud|broken|charging|paused|disabled|unavailable|blue|green|red|warm white|yellow|purple|at forty percent",
        "day": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|tomorrow|today|tonight|yesterday",
        "month": "January|February|March|April|May|June|July|August|September|October|November|December",
        "weather": "sunny|cloudy|rainy|windy|foggy|snowy|stormy|clear|partly cloudy|humid|chilly|mild|freezing|overcast|drizzly|hot|pleasant|icy|thundery|dry",
        "item": "milk|bread|eggs|cheese|apples|bananas|rice|pasta|tomatoes|coffee|tea|sugar|flour|butter|soap|batteries|paper towels|chocolate|onions|garlic|yogurt|chicken|fish|carrots|lemons|oranges|potatoes|cereal|orange juice|dish soap|toothpaste|dog food",
        "name": "John|Mary|Alex|Emma|James|Olivia|Lucas|Sophia|Peter|Anna|David|Sarah|Michael|Laura|Thomas|Julia|Daniel|Grace|Henry|Alice|George|Chloe",
        "act": "call|email|visit|pick up|thank|remind|ask|text|meet|help|invite|wake",
        "thing": "the dentist|your mother|the plumber|the library book|your package|the bills|the laundry|the trash|your keys|the doctor|the car|the dog|the plants|your brother|the neighbors|the school|your medicine|the rent",
        "media": "song|album|station|podcast|playlist|audio book|movie|news briefing|chapter|episode|track|artist",
        "part": "morning|afternoon|evening|night",
        "do": "do|play next|add to the list|say|turn on|remember",
        "done": "moved|deleted|saved|updated|sent|checked|renamed|started",
        "wind": "north|south|east|west|northwest|southeast",
        "label": "pasta|tea|egg|pizza|laundry|oven|workout|nap|rice|cake|study|coffee",
    }.items()
}
REPLIES = """The {room} {device} is {state}.
I turned the {room} {device} {state}.
Okay, {state}.
I set a timer for {number} minutes.
I set the {label} timer for {number} minutes.
Timer set for {number} {unit}.
{Label} timer set for {number} {unit}.
Your {number} minute timer is done.
Your {label} timer is done.
There are {number} minutes left on your {label} timer.
About {number} {unit} left.
You have no timers running.
You have {number} timers.
I cancelled the {label} timer.
How long should the timer be?
It is {number} degrees and {weather} in {name}'s town.
{day} will be {weather} with a high of {number} degrees.
I added {item} and {item} to your shopping list.
You have {number} new messages.
Should I turn on the {device} in the {room}?
Sorry, I could not find the {device}.
Sorry, I can't answer that yet.
Sorry, I didn't catch that.
The {device} in the {room} is {state}, and the {device} is {state}.
It is {number} {number}.
The time is {number} {number} in the {part}.
I will remind you to {act} {name} {day} at {number}.
Do not forget {thing}.
Reminder: {thing}.
Playing the {media} you asked for.
I could not play that {media}.
Volume set to {number} percent.
There are {number} items on your list: {item}, {item}, and {item}.
Your next meeting is {day} at {number} {number} with {name}.
{name} called at {number}.
The {room} is {number} degrees.
Good {part}, {name}!
What should I {do}?
Did you mean the {room} or the {room}?
All the {device}s are {state}.
Today is {day}, {month} {number}.
The {device} needs another {number} minutes.
I do not know that yet.
Your alarm is set for {number} {number} in the {part}.
Stopped.
Done.
Sure.
Okay.
No problem, {name}.
Yes, the {device} is {state}.
No, the {device} is not {state}.
Let me check... the {device} is {state}.
I am sorry; the {room} {device} is {state}.
Which {device} do you want: the {room} one, or the {room} one?
In {number} hours and {number} minutes.
The humidity in the {room} is {number} percent.
There is a {number} percent chance of rain {day}.
I found {number} places nearby.
Cancelled the timer for {thing}.
Here is the {media}, “{word} {word}”.
{word} means {word} or {word}.
{number} plus {number} is {number}.
{number} times {number} equals {number}.
Adding {thing} to the list — anything else?
Is the {room} {device} {state}?
When should I {act} {name}?
Where is {thing}?
How about {item} with {item}?
Remember to {act} {name} (and {name}) before {day}.
The wind is from the {wind} at {number} miles per hour.
Sunset is at {number} {number} and sunrise at {number} {number}.
I have {done} {thing}.
Hello {name}, how can I help?
Wait, that is not right!
The answer is {number}.
Starting the {device}, please wait.
It looks like the {device} is {state} because the {device} is {state}.""".splitlines()
BETWEEN = "the of and to a in is for that with it on are you was".split()


def _number(r: random.Random) -> str:
    k = r.random()
    if k < 0.6:
        return r.choice(NUMBERS)
    if k < 0.9:
        return r.choice(NUMBERS[19:]) + " " + r.choice(NUMBERS[:9])
    return r.choice(["a hundred", "a hundred and " + r.choice(NUMBERS), "two hundred", "zero", "half a", "point " + r.choice(NUMBERS[:9])])


def _reply(r: random.Random, words: list[str]) -> str:
    special = {
        "number": lambda: _number(r),
        "word": lambda: r.choice(words),
        "unit": lambda: r.choice(["seconds", "minutes", "minutes", "hours"]),
        "Label": lambda: r.choice(POOLS["label"]).capitalize(),
    }
    text = re.sub(r"\{(\w+)\}", lambda m: special[m.group(1)]() if m.group(1) in special else r.choice(POOLS[m.group(1)]), r.choice(REPLIES))
    return text[0].upper() + text[1:]


def _random_words(r: random.Random, words: list[str]) -> str:
    count = r.randint(2, 9)
    out = [r.choice(words) for _ in range(count)]
    for j in range(count - 1):
        k = r.random()
        if k < 0.12:
            out[j] += ","
        elif k < 0.3:
            out[j] += " " + r.choice(BETWEEN)
        elif k < 0.32:
            out[j] += r.choice([";", ":", " —"])
    text = " ".join(out)
    return text[0].upper() + text[1:] + r.choice("....?!")


def sentences(dictionary: Path, replies: int = 6000, random_words: int = 5000) -> list[str]:
    """`dictionary`: misaki's us_gold.json, so that every word has a known pronunciation. The held-out replies are left out."""
    r = random.Random(7)
    words = [w for w in json.loads(dictionary.read_text(encoding="utf-8")) if re.fullmatch(r"[a-z]{2,12}", w)]
    made: dict[str, None] = {}
    while len(made) < replies:
        text = _reply(r, words)
        if r.random() < 0.2:
            text += " " + _reply(r, words)
        made[text] = None
    texts = list(made) + [_random_words(r, words) for _ in range(random_words)]
    held_out = set(held_out_replies())
    texts = [t for t in texts if t not in held_out]
    r.shuffle(texts)
    return texts


def held_out_replies() -> list[str]:
    return [line for line in (HERE / "replies.txt").read_text(encoding="utf-8").splitlines() if line]
