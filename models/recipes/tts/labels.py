"""Phonemes → the full-context labels of HTS voices, with the tokens that each label covers.

The teacher speaks exactly the tokens that the program will send, so durations per token are exact and no aligner is needed.
All context is derived from the phonemes alone, so that the student can learn it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from phonemes import PHONES, PUNCTUATION, QUESTION_WORDS, VOWELS, unstressed

ONSETS = set(
    """p b t d k g f v th dh s z sh zh hh m n l r w y ch jh
    p_l p_r b_l b_r t_r t_w d_r d_w k_l k_r k_w g_l g_r g_w f_l f_r th_r th_w sh_r s_p s_t s_k s_m s_n s_l s_w s_f
    p_y b_y k_y g_y f_y v_y m_y hh_y n_y s_p_l s_p_r s_t_r s_k_r s_k_w s_p_y s_k_y hh_w""".split()
) | {""}


@dataclass
class Phone:
    name: str
    stress: int
    tokens: list[int]


@dataclass
class Word:
    phones: list[Phone]
    kind: str
    sound: str
    index: int = 0
    phrase: int = 0
    syllables: list[Syllable] = field(default_factory=list)
    place: dict[str, int] = field(default_factory=dict)


@dataclass
class Syllable:
    word: Word
    phones: list[Phone]
    vowel: str
    stressed: int
    accented: int
    index: int = 0
    in_word: int = 0
    place: dict[str, int] = field(default_factory=dict)


@dataclass
class Phrase:
    words: list[Word]
    after_pause: int
    tone: str
    syllables: list[Syllable] = field(default_factory=list)


@dataclass
class Segment:
    """One phone or pause. `tokens`: positions in the phonemes; -1 is the start and -2 the end."""

    name: str
    tokens: list[int]
    syllable: Syllable | None = None
    place: int = 0
    punctuation: str = ""


def parse(phonemes: str, kinds: dict[str, str]) -> list[Word | tuple[str, int]] | None:
    """Words and (punctuation, position); None when something is not US English."""
    items: list[Word | tuple[str, int]] = []
    i, n = 0, len(phonemes)
    while i < n:
        c = phonemes[i]
        if c == " ":
            i += 1
            continue
        if c in PUNCTUATION:
            items.append((c, i))
            i += 1
            continue
        j = i
        while j < n and phonemes[j] != " " and phonemes[j] not in PUNCTUATION:
            j += 1
        word = _word(phonemes[i:j], i, kinds)
        if word is None:
            return None
        items.append(word)
        i = j
    return items


def _word(sound: str, offset: int, kinds: dict[str, str]) -> Word | None:
    phones: list[Phone] = []
    stress, k = 0, 0
    while k < len(sound):
        c = sound[k]
        if c in "ˈˌ":
            stress = 2 if c == "ˈ" else 1
            k += 1
            continue
        if c not in PHONES:
            return None
        name, tokens = PHONES[c], [offset + k]
        if c in "ɜə" and sound[k + 1 : k + 2] == "ɹ" and (c == "ɜ" or sound[k + 2 : k + 3] not in ("ˈ", "ˌ")):
            name = "er"
            tokens.append(offset + k + 1)
            k += 1
        phones.append(Phone(name, stress if name in VOWELS else 0, tokens))
        if name in VOWELS:
            stress = 0
        k += 1
    vowels = [p for p in phones if p.name in VOWELS]
    if not vowels:
        return None
    if not ("ˈ" in sound or "ˌ" in sound) and len(vowels) == 1 and vowels[0].name != "ax":
        vowels[0].stress = 1
    plain = unstressed(sound)
    return Word(phones, kinds.get(plain, "content"), plain)


def syllabify(phones: list[Phone]) -> list[list[Phone]]:
    """Cuts before the longest possible onset."""
    vowels = [i for i, p in enumerate(phones) if p.name in VOWELS]
    cuts = [0]
    for a, b in zip(vowels, vowels[1:]):
        c = a + 1
        while "_".join(p.name for p in phones[c:b]) not in ONSETS:
            c += 1
        cuts.append(c)
    cuts.append(len(phones))
    return [phones[a:b] for a, b in zip(cuts, cuts[1:])]


def labels(phonemes: str, kinds: dict[str, str]) -> tuple[list[str], list[Segment]] | None:
    items = parse(phonemes, kinds)
    if not items:
        return None
    groups: list[tuple[list[Word], str, int | None]] = []
    current: list[Word] = []
    for item in items:
        if isinstance(item, Word):
            current.append(item)
        elif current:
            mark, at = item
            groups.append((current, "," if mark in '"(“' else mark, at))
            current = []
    if current:
        groups.append((current, ".", None))
    if not groups:
        return None
    segments, syllables, words, phrases = [Segment("pau", [-1])], [], [], []
    since_end, first_word = 0, groups[0][0][0]
    for index, (members, mark, at) in enumerate(groups):
        last = index == len(groups) - 1
        ends = mark in ".!?…" or last
        if since_end == 0:
            first_word = members[0]
        # Only questions that want yes or no rise.
        rises = mark == "?" and first_word.sound not in QUESTION_WORDS
        phrase = Phrase(members, since_end, "H-H%" if rises else "L-L%" if ends else "L-H%")
        phrases.append(phrase)
        for word in members:
            word.phrase = index
            words.append(word)
            for part in syllabify(word.phones):
                vowel = next(p for p in part if p.name in VOWELS)
                syllable = Syllable(word, part, vowel.name, int(vowel.stress > 0), int(vowel.stress == 2 and word.kind == "content"))
                word.syllables.append(syllable)
                phrase.syllables.append(syllable)
                syllables.append(syllable)
                segments += [Segment(p.name, p.tokens, syllable, q) for q, p in enumerate(part)]
        segments.append(Segment("pau", [at if at is not None and not last else -2], punctuation=mark))
        since_end = 0 if ends else since_end + 1
    for k, syllable in enumerate(syllables):
        syllable.index = k
    for k, word in enumerate(words):
        word.index = k
    for phrase in phrases:
        _places(phrase)
    return [_label(i, segments, syllables, words, phrases) for i in range(len(segments))], segments


def _places(phrase: Phrase) -> None:
    """Counts of stressed and accented syllables and content words before and after, within the phrase."""
    parts = phrase.syllables
    for name in ("stressed", "accented"):
        flags = [getattr(s, name) for s in parts]
        for k, s in enumerate(parts):
            s.place[name + " before"] = max(0, sum(flags[:k]) - flags[0]) if k else 0
            s.place[name + " after"] = sum(flags) - sum(flags[: k + 1])
            s.place[name + " since"] = next((k - m for m in range(k - 1, -1, -1) if flags[m]), 0)
            s.place[name + " until"] = next((m - k for m in range(k + 1, len(parts)) if flags[m]), 0)
    for k, s in enumerate(parts):
        s.place["at"], s.place["left"] = k, len(parts) - 1 - k
    content = [int(w.kind == "content") for w in phrase.words]
    for k, w in enumerate(phrase.words):
        w.place = {
            "at": k, "left": len(phrase.words) - k, "content before": sum(content[:k]), "content after": sum(content[k + 1 :]),
            "since": next((k - m for m in range(k - 1, -1, -1) if content[m]), 0),
            "until": next((m - k for m in range(k + 1, len(content)) if content[m]), 0),
        }  # fmt: skip
        for q, s in enumerate(w.syllables):
            s.in_word = q


def _label(i: int, segments: list[Segment], syllables: list[Syllable], words: list[Word], phrases: list[Phrase]) -> str:
    def name(k):
        return segments[k].name if 0 <= k < len(segments) else "x"

    def syllable(s, separator):
        return separator.join(map(str, (s.stressed, s.accented, len(s.phones)))) if s else separator.join("000")

    def near(k):
        return syllables[k] if 0 <= k < len(syllables) else None

    def word(k):
        return f"{words[k].kind}_{len(words[k].syllables)}" if 0 <= k < len(words) else "0_0"

    def phrase(k, separator):
        return f"{len(phrases[k].syllables)}{separator}{len(phrases[k].words)}" if 0 <= k < len(phrases) else f"0{separator}0"

    total = f"/J:{len(syllables)}+{len(words)}-{len(phrases)}"
    x = segments[i]
    head = f"{name(i - 2)}^{name(i - 1)}-{x.name}+{name(i + 1)}={name(i + 2)}"
    if x.name == "pau":
        before = segments[i - 1].syllable if i > 0 else None
        after = segments[i + 1].syllable if i + 1 < len(segments) else None
        return (
            head + f"@x_x/A:{syllable(before, '_')}/B:x-x-x@x-x&x-x#x-x$x-x!x-x;x-x|x/C:{syllable(after, '+')}"
            f"/D:{word(before.word.index) if before else '0_0'}/E:x+x@x+x&x+x#x+x/F:{word(after.word.index) if after else '0_0'}"
            f"/G:{phrase(before.word.phrase, '_') if before else '0_0'}/H:x=x@1={len(phrases)}|0"
            f"/I:{phrase(after.word.phrase, '=') if after else '0=0'}{total}"
        )
    s = x.syllable
    w, p, at, wp = s.word, phrases[s.word.phrase], s.place, s.word.place
    return (
        head + f"@{x.place + 1}_{len(s.phones) - x.place}/A:{syllable(near(s.index - 1), '_')}/B:{s.stressed}-{s.accented}-{len(s.phones)}"
        f"@{s.in_word + 1}-{len(w.syllables) - s.in_word}&{at['at'] + 1}-{at['left'] + 1}#{at['stressed before'] + 1}-{at['stressed after'] + 1}"
        f"${at['accented before'] + 1}-{at['accented after'] + 1}!{at['stressed since']}-{at['stressed until']}"
        f";{at['accented since']}-{at['accented until']}|{s.vowel}"
        f"/C:{syllable(near(s.index + 1), '+')}/D:{word(w.index - 1)}/E:{w.kind}+{len(w.syllables)}@{wp['at'] + 1}+{wp['left']}"
        f"&{wp['content before']}+{wp['content after']}#{wp['since']}+{wp['until']}/F:{word(w.index + 1)}/G:{phrase(w.phrase - 1, '_')}"
        f"/H:{len(p.syllables)}={len(p.words)}@{p.after_pause + 1}={len(phrases) - p.after_pause}|{p.tone}/I:{phrase(w.phrase + 1, '=')}{total}"
    )
