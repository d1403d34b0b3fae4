"""Kokoro v1.0's token table, and the map from misaki's US phonemes to the phones of the teacher voices."""

from __future__ import annotations

# fmt: off
VOCABULARY = {
    "$": 0, ";": 1, ":": 2, ",": 3, ".": 4, "!": 5, "?": 6, "—": 9, "…": 10, '"': 11, "(": 12, ")": 13, "“": 14, "”": 15, " ": 16, "\u0303": 17,
    "ʣ": 18, "ʥ": 19, "ʦ": 20, "ʨ": 21, "ᵝ": 22, "ꭧ": 23, "A": 24, "I": 25, "O": 31, "Q": 33, "S": 35, "T": 36, "W": 39, "Y": 41, "ᵊ": 42,
    "a": 43, "b": 44, "c": 45, "d": 46, "e": 47, "f": 48, "h": 50, "i": 51, "j": 52, "k": 53, "l": 54, "m": 55, "n": 56, "o": 57, "p": 58, "q": 59,
    "r": 60, "s": 61, "t": 62, "u": 63, "v": 64, "w": 65, "x": 66, "y": 67, "z": 68, "ɑ": 69, "ɐ": 70, "ɒ": 71, "æ": 72, "β": 75, "ɔ": 76, "ɕ": 77,
    "ç": 78, "ɖ": 80, "ð": 81, "ʤ": 82, "ə": 83, "ɚ": 85, "ɛ": 86, "ɜ": 87, "ɟ": 90, "ɡ": 92, "ɥ": 99, "ɨ": 101, "ɪ": 102, "ʝ": 103, "ɯ": 110,
    "ɰ": 111, "ŋ": 112, "ɳ": 113, "ɲ": 114, "ɴ": 115, "ø": 116, "ɸ": 118, "θ": 119, "œ": 120, "ɹ": 123, "ɾ": 125, "ɻ": 126, "ʁ": 128, "ɽ": 129,
    "ʂ": 130, "ʃ": 131, "ʈ": 132, "ʧ": 133, "ʊ": 135, "ʋ": 136, "ʌ": 138, "ɣ": 139, "ɤ": 140, "χ": 142, "ʎ": 143, "ʒ": 147, "ʔ": 148, "ˈ": 156,
    "ˌ": 157, "ː": 158, "ʰ": 162, "ʲ": 164, "↓": 169, "→": 171, "↗": 172, "↘": 173, "ᵻ": 177,
}
# Tokens of US English → phone of the teachers.
PHONES = dict(zip(
    "AIOWYbdfhijklmnpstuvwzæðŋɑɔəɛɜɡɪɹʃʊʌʒʤʧθᵊᵻʔɾTɐ",
    "ey ay ow aw oy b d f hh iy y k l m n p s t uw v w z ae dh ng aa ao ax eh er g ih r sh uh ah zh jh ch th ax ih t t t ax".split(),
))
VOWELS = set("aa ae ah ao aw ax ay eh er ey ih iy ow oy uh uw".split())
PUNCTUATION = set(";:,.!?—…\"()“”")
# Tokens that training never sees borrow the embedding of a trained relative; "ˌ" is silent.
RELATIVES = {
    "Q": "O", "S": "ʃ", "a": "æ", "c": "k", "e": "A", "o": "O", "q": "k", "r": "ɹ", "x": "k", "y": "i", "ɒ": "ɑ", "β": "v", "ɕ": "ʃ", "ç": "ʃ",
    "ɖ": "d", "ɚ": "ɜ", "ɟ": "ʤ", "ɥ": "j", "ɨ": "ɪ", "ʝ": "j", "ɯ": "u", "ɰ": "w", "ɳ": "n", "ɲ": "n", "ɴ": "ŋ", "ø": "ɜ", "ɸ": "f", "œ": "ɜ",
    "ɻ": "ɹ", "ʁ": "ɹ", "ɽ": "ɹ", "ʂ": "ʃ", "ʈ": "t", "ʋ": "v", "ɣ": "ɡ", "ɤ": "ʊ", "χ": "h", "ʎ": "l", "ʣ": "z", "ʥ": "ʤ", "ʦ": "s", "ʨ": "ʧ",
    "ᵝ": "ˌ", "ꭧ": "ʧ", "\u0303": "ˌ", "ː": "ˌ", "ʰ": "ˌ", "ʲ": "ˌ", "↓": "ˌ", "→": "ˌ", "↗": "ˌ", "↘": "ˌ", "ɾ": "T",
}
UNVOICED = 'ptkfθsʃhʧʔ ;:,.!?—…"()“”'
# Parts of speech that the teachers' labels want for function words.
FUNCTION_WORDS = {
    word: kind
    for kind, words in {
        "in": "of for in on that with by at from as if against about before because under after over into while without through new between among until per up down",
        "to": "to",
        "det": "the a an no some this each another those every all any these both neither many",
        "md": "will may would can could should must ought might",
        "cc": "and but or plus yet nor",
        "wp": "who what where how when",
        "pps": "her his their its our mine",
        "aux": "is am are was were has have had be",
    }.items()
    for word in words.split()
}
WEAK_FORMS = {
    "ðə": "det", "ði": "det", "ɐ": "det", "ə": "det", "ən": "det", "tə": "to", "tu": "to", "tʊ": "to", "ɪn": "in", "ɑn": "in", "ɔn": "in",
    "ænd": "cc", "ənd": "cc", "fɔɹ": "in", "fəɹ": "in", "ʌv": "in", "əv": "in", "æt": "in", "ət": "in", "ðæt": "in", "ðət": "in", "kæn": "md",
    "kən": "md", "ɪz": "aux", "wʌz": "aux", "wəz": "aux", "bi": "aux",
}
# fmt: on
QUESTION_WORDS = {"wʌt", "wɪʧ", "wɛn", "wɛɹ", "hu", "hW", "wI", "huz"}


def unstressed(phonemes: str) -> str:
    return phonemes.replace("ˈ", "").replace("ˌ", "")


def usable(phonemes: str) -> bool:
    """Neither unknown words (❓) nor tokens outside the table, and not too long for one teacher utterance."""
    return "❓" not in phonemes and len(phonemes) <= 250 and all(c in VOCABULARY for c in phonemes)


def ids(phonemes: str) -> list[int]:
    return [0, *(VOCABULARY[c] for c in phonemes if c in VOCABULARY), 0]
