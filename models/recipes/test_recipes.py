"""Checks of the recipes that need no training: `python3 -m unittest discover -s models/recipes -p 'test_*.py'` (needs numpy)."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE / "llm"), str(HERE)]

import utterances  # noqa: E402


def run_in(folder: str, program: str) -> str:
    """Runs Python inside one recipe: the recipes have modules of the same names, so they do not share a process."""
    paths = [str(HERE / folder), str(HERE), str(HERE / "llm")]
    code = f"import sys; sys.dont_write_bytecode = True; sys.path[:0] = {paths!r}\n{program}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


class Reflex(unittest.TestCase):
    def test_every_phrasing_can_be_said_and_answered(self) -> None:
        r = random.Random(1)
        everything = list(utterances.TOOLS)
        for intent in utterances.INTENTS:
            for phrasing in intent.phrasings + intent.held_out:
                one = utterances.Intent(intent.name, 1, intent.tool, intent.arguments, intent.skill, intent.reply, [phrasing])
                kept, utterances.INTENTS[:] = list(utterances.INTENTS), [one]
                try:
                    made = utterances.pair(r, everything, intent=intent.name, noise=0)
                finally:
                    utterances.INTENTS[:] = kept
                self.assertNotRegex(made.said, r"[{}\[\]()|~=]", phrasing)
                self.assertRegex(made.answer, r'^\{"(tool|say)":" ', phrasing)

    def test_strings_of_a_call_are_words_that_were_said_or_fixed_by_the_phrasing(self) -> None:
        r = random.Random(2)
        fixed = {v for i in utterances.INTENTS for v in i.arguments.values()}
        for _ in range(3000):
            made = utterances.pair(r, list(utterances.TOOLS), noise=0)
            for value in re.findall(r'":" ([^"]*)"', made.answer.partition('"args":')[2]):
                self.assertTrue(value in made.said or value in fixed, made)

    def test_a_tool_that_is_not_granted_is_never_the_right_answer(self) -> None:
        r = random.Random(3)
        for _ in range(3000):
            tools = utterances.granted_tools(r)
            made = utterances.pair(r, tools)
            called = re.match(r'\{"tool":" ([^"]+)"', made.answer)
            self.assertTrue(called is None or called.group(1) in tools, made)

    def test_held_out_phrasings_are_not_trained_on(self) -> None:
        for intent in utterances.INTENTS:
            self.assertFalse(set(intent.phrasings) & set(intent.held_out), intent.name)

    def test_the_grammar_names_each_granted_tool_and_no_other(self) -> None:
        from grammar import gbnf

        text = gbnf(["timer.start", "light.set"])
        self.assertIn('"timer.start\\"', text)
        self.assertNotIn("timer.cancel", text)


class Recogniser(unittest.TestCase):
    def test_numbers_are_spoken_as_words_and_written_as_digits(self) -> None:
        out = run_in("stt", "from sentences import render\nfor t in ('set a timer for #25# minutes','wake me up at @7:05am@','dim the lights to %30%','is it ten'): print(*render(t), sep=' | ')")
        self.assertEqual(
            out.splitlines(),
            [
                "set a timer for twenty five minutes. | Set a timer for 25 minutes.",
                "wake me up at seven oh five a m. | Wake me up at 7:05 AM.",
                "dim the lights to thirty percent. | Dim the lights to 30%.",
                "is it ten? | Is it 10?",
            ],
        )

    def test_blind_and_watched_voices_never_speak_for_training(self) -> None:
        out = run_in("stt", "from voices import *\nt=set(TRAIN_VARIANTS)\nprint(t & (set(WATCH_VARIANTS)|set(BLIND_VARIANTS)), set(WATCH_VARIANTS)&set(BLIND_VARIANTS), BLIND_ACCENT in ACCENTS, {v.name for v in of_role('train')}&{v.name for v in of_role('blind')+of_role('watch')})")
        self.assertEqual(out.strip(), "set() set() False set()")

    def test_mel_filters_are_those_of_the_model_file(self) -> None:
        program = "import struct,numpy as np,sound,vocabulary as v\nf=open(v.MODEL,'rb'); f.seek(48); b,s=struct.unpack('<2i',f.read(8)); print(np.abs(np.frombuffer(f.read(4*b*s),np.float32).reshape(b,s)-sound.FILTERS).max() < 1e-6, v.decode(v.encode(' Set a timer for 5 minutes.')))"
        self.assertEqual(run_in("stt", program).strip(), "True  Set a timer for 5 minutes.")


    def test_training_processes_share_a_step_without_sharing_a_sentence(self) -> None:
        program = """
import numpy as np
from batches import CHUNK, BatchPlan, Maker
from vocabulary import BLANK, END, NO_SPEECH, NO_TIMES, START, encode
class Made:  # the interface of augment.Store
    written = [f"Stop {n}." for n in range(400)]
    spoken = ["stop"] * 400
    mel = [np.full((60 + n, 80), -4, np.float16) for n in range(400)]
    def __len__(self): return 400
used = sorted({t for w in Made.written for t in encode(" " + w)} | set(BLANK) | {END, START, NO_SPEECH, NO_TIMES})
noise = [np.full((600, 80), -6, np.float16)]
def said(processes, rank):
    maker = Maker(Made(), noise, used, BatchPlan(size=4, processes=processes, seed=3, no_speech=0))
    batches = maker.chunk(5 * processes + rank)
    return [tuple(r) for b in batches for r in b["wanted"].tolist()], [b["mel"].shape[2] for b in batches]
(one, first), (other, second) = said(2, 0), said(2, 1)
print(len(one), len(set(map(str, one)) & set(map(str, other))))
print(max(abs(a - b) for a, b in zip(first, second)) <= 60, said(2, 0)[0] == one)
"""
        self.assertEqual(run_in("stt", program).splitlines(), ["32 0", "True True"])


class Speaker(unittest.TestCase):
    def test_only_questions_that_want_yes_or_no_rise(self) -> None:
        program = "from labels import labels\nfor p in ('ˌɪz ðə lˈIt ˈɔn?','wˌʌt tˈIm ˈɪz ɪt?','dˈʌn.'): print('H-H%' in ' '.join(labels(p,{})[0]))"
        self.assertEqual(run_in("tts", program).split(), ["True", "False", "False"])

    def test_every_token_of_a_phone_belongs_to_one_label(self) -> None:
        program = "from labels import labels\np='ˌI sˈɛt ɐ tˈIməɹ fɔɹ tˈɛn mˈɪnəts.'\nt=[q for s in labels(p,{})[1] for q in s.tokens if q>=0]\nprint(len(t)==len(set(t)), sorted(t)==[i for i,c in enumerate(p) if c not in 'ˈˌ .'])"
        self.assertEqual(run_in("tts", program).split(), ["True", "True"])


if __name__ == "__main__":
    unittest.main()
