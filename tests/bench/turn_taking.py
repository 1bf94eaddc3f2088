"""Turn-taking: cut-ins, missed ends and added wait of ``silence`` and ``smart``, and of Pipecat.

All sounds are synthetic: Piper's English voice, which has an accent in German; coughs and hiss are noise. The
sound's own clock counts, not the machine's: an opinion of the model comes as many frames later as it costs.
Where ``AGENTSD_BENCH_PIPECAT`` names a Python interpreter that has pipecat-ai, Pipecat's recommended set-up
hears the same sounds by the same clock (see ``pipecat_turns``). No side waits for words.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from agentsd.audio import turn_model
from agentsd.audio.vad import FRAME_MS, VoiceDetector
from agentsd.core.manifest.turn import Turn
from agentsd.services.voicebot.speech_detector import SpeechDetector
from agentsd.services.voicebot.turn_detection import SpeechEnd, SpeechStart
from agentsd.services.voicebot.turn_judge import TurnJudge
from tests.bench.report import Figure, Scale, main, p50, p99
from tests.services.sentences import RATE, speak

FINISHED = {
    "en-us": (
        "What is the capital of France?", "When do you open tomorrow?", "I need a doctor.",
        "I would like to book a table for two people.", "Can you cancel my order?", "My name is Anna Miller.",
        "Yes please.", "That is all, thank you.", "Where is my parcel?", "Tell me a joke.",
        "How much does it cost?", "No, thank you.", "I am from Berlin.", "Please call me back tomorrow.",
        "Do you speak German?", "My number is five five one two.",
    ),
    "de": (
        "Wann haben Sie morgen geöffnet?", "Ich möchte einen Tisch für zwei Personen reservieren.",
        "Wo ist mein Paket?", "Mein Name ist Anna Müller.", "Können Sie meine Bestellung stornieren?",
        "Was kostet das?", "Nein danke.", "Ich wohne in Berlin.",
    ),
}  # fmt: skip
BROKEN = {
    "en-us": (
        ("I want to cancel my order because", "it came too late."),
        ("So I was thinking that maybe we could", "meet on Friday."),
        ("What I wanted to ask is", "when you open tomorrow."),
        ("I need a, um", "a new password."),
        ("I would like to change my", "address."),
        ("The thing is that my", "brother has the key."),
        ("I am calling because", "the heating is cold."),
        ("Can I, uh", "can I pay by card?"),
        ("Well, it is about the, um", "the invoice of March."),
        ("And my number is, uh", "five five one two."),
        ("If I pay in advance, then", "do I get a discount?"),
        ("I would like to book a table for", "two people."),
    ),
    "de": (
        ("Können Sie mir sagen, ob", "Sie morgen geöffnet haben?"),
        ("Ich muss meine Bestellung ändern, weil", "ich umgezogen bin."),
        ("Ich wollte fragen, ob ich", "mit Karte zahlen kann."),
        ("Meine Nummer ist, ähm", "fünf fünf eins zwei."),
        ("Ich rufe an, weil ich", "eine Rechnung habe."),
        ("Es geht um den, äh", "den Termin am Montag."),
    ),
}  # fmt: skip
PAUSES = (0.7, 1.0, 1.5)
"""Seconds of thinking, by turns."""
MISSED_MS = 1500
"""Silence after the last word from which an end counts as missed."""
LEAD_SECONDS, TAIL_SECONDS = 0.5, 4.0
PIPECAT = "AGENTSD_BENCH_PIPECAT"
PIPECAT_SECONDS_MAX = 900
HISS_DB, NOISY_DB, COUGH_DB = -75.0, -45.0, -22.0


Kind = Literal["finished", "noise", "broken off", "cough in the pause", "filler in the pause", "cough alone"]


@dataclass(frozen=True)
class Case:
    """One sound. ``parts``: what belongs together; each but the last is followed by a pause."""

    kind: Kind
    parts: tuple[bytes, ...]
    pause: float = 0.0
    hiss: float = HISS_DB


@dataclass(frozen=True)
class Outcome:
    """What became of a case."""

    cut_ins: int  # ends before the last part
    wait_ms: float | None  # from the last sound to the end; None for a sound that is no speech
    false: int = 0  # turns made of what is no speech
    asked: int = 0


class LateModel:
    """The model, whose opinions come some frames later."""

    def __init__(self, session: Any, frames: int) -> None:
        self.asked = 0
        self._session, self._frames = session, frames
        self._due: list[tuple[int, asyncio.Future[float | None], float]] = []
        self._now = 0

    def judge(self, pcm: bytes) -> asyncio.Future[float | None]:
        """Return the opinion to come."""
        self.asked += 1
        opinion: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        probability = turn_model.compute_probability(self._session, pcm)
        self._due.append((self._now + self._frames, opinion, probability))
        return opinion

    def tick(self) -> None:
        """Let a frame pass."""
        self._now += 1
        for at, opinion, probability in self._due:
            if at <= self._now and not opinion.done():
                opinion.set_result(probability)


def run(scale: Scale) -> Sequence[Figure]:
    """Turn-taking on synthetic speech: cut-ins, missed ends, added wait; the cost of the model."""
    cases = list(list_cases())
    cases = cases[:: max(1, len(cases) // scale.samples)]
    path = turn_model.find_turn_model()
    if path is None:
        raise SystemExit(f"the end-of-turn model is not installed: {turn_model.INSTALL}")
    session = turn_model.open_session(path)
    cost = _measure_cost(session, scale.samples // 4 + 2)
    frames = math.ceil(p50(cost) / FRAME_MS)
    figures = [Figure(f"{len(cases)} cases of synthetic speech", len(cases), "cases")]
    for turn in (Turn(), Turn(detection="smart")):
        outcomes = asyncio.run(_try_all(cases, turn, session, frames))
        figures += _summarise(turn.detection, cases, outcomes)
    if pipecat := os.environ.get(PIPECAT):
        figures += _summarise("Pipecat", cases, _try_pipecat(pipecat, cases, p50(cost)))
    else:
        print(f"{PIPECAT} is not set: Pipecat is not measured", file=sys.stderr)
    return [
        *figures,
        Figure("end-of-turn model, CPU time for a pause, p50", p50(cost), "ms"),
        Figure("  p99", p99(cost), "ms"),
    ]


def list_cases() -> Iterator[Case]:
    """Yield every case."""
    for language, texts in FINISHED.items():
        for text in texts:
            yield Case("finished", (speak(text, language),))
        yield Case("noise", (speak(texts[0], language),), hiss=NOISY_DB)
        yield Case("noise", (speak(texts[3], language),), hiss=NOISY_DB)
    for language, broken in BROKEN.items():
        for number, (begun, rest) in enumerate(broken):
            parts = (speak(begun, language), speak(rest, language))
            yield Case("broken off", parts, PAUSES[number % len(PAUSES)])
            if number % 3 == 0:
                yield Case("cough in the pause", (parts[0], cough(number), parts[1]), 0.6)
            if number % 3 == 1:
                yield Case("filler in the pause", (parts[0], speak("um", language), parts[1]), 0.7)
    for number in range(4):
        yield Case("cough alone", (cough(number),))


def cough(seed: int) -> bytes:
    """A burst of noise that fades, 0.3 s."""
    noise = np.random.default_rng(seed).normal(0, 1, int(0.3 * RATE))
    smooth = np.convolve(noise, np.ones(4) / 2, "same") * np.exp(-np.arange(len(noise)) / (0.08 * RATE))
    return bytes((smooth * 32768 * 10 ** (COUGH_DB / 20)).clip(-32768, 32767).astype("<i2").tobytes())


async def _try_all(cases: Sequence[Case], turn: Turn, session: Any, frames: int) -> list[Outcome]:
    return [_try_case(case, turn, LateModel(session, frames)) for case in cases]


def _try_case(case: Case, turn: Turn, model: LateModel) -> Outcome:
    sound, last_ms, over_ms = _make_sound(case)
    ear = SpeechDetector(VoiceDetector(), RATE, turn, lambda: TurnJudge(model.judge))
    starts, ends = 0, []
    for part in ear.slices(sound):
        model.tick()
        for heard in ear.hear(part):
            starts += isinstance(heard, SpeechStart)
            ends += [heard.at_ms] if isinstance(heard, SpeechEnd) else []
    return _judge(case, starts, ends, last_ms, over_ms, model.asked)


def _try_pipecat(program: str, cases: Sequence[Case], model_ms: float) -> list[Outcome]:
    """Let Pipecat hear the same sounds."""
    sounds = [_make_sound(case) for case in cases]
    with TemporaryDirectory(prefix="agentsd-turns-") as folder:
        listed = []
        for number, (case, (sound, *_)) in enumerate(zip(cases, sounds, strict=True)):
            file = Path(folder) / f"{number}.pcm"
            file.write_bytes(sound)
            listed.append({"file": file.name, "words": list(_find_words(case))})
        (Path(folder) / "cases.json").write_text(json.dumps(listed))
        script = Path(__file__).with_name("pipecat_turns.py")
        command = [program, str(script), folder, str(model_ms)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=PIPECAT_SECONDS_MAX
        )
    found = {one["case"]: one for one in map(json.loads, done.stdout.splitlines())}
    return [
        _judge(case, len(found[number]["starts"]), found[number]["ends"], *sounds[number][1:])
        for number, case in enumerate(cases)
    ]


def _find_words(case: Case) -> Iterator[tuple[float, float]]:
    """Return from when to when there are words, in ms."""
    at = LEAD_SECONDS * 1000
    for number, part in enumerate(case.parts):
        over = at + len(part) / (RATE * 2) * 1000
        if not case.kind.startswith("cough") or (case.kind == "cough in the pause" and number != 1):
            yield at, over
        at = over + case.pause * 1000


def _judge(
    case: Case, starts: int, ends: Sequence[float], last_ms: float, over_ms: float, asked: int = 0
) -> Outcome:
    """Return what became of a case whose turns ended at these times, in ms of its sound."""
    if case.kind == "cough alone":
        return Outcome(0, None, false=starts, asked=asked)
    cut_ins = sum(at < last_ms for at in ends)
    wait = ends[-1] - over_ms if ends and ends[-1] > last_ms else math.inf
    return Outcome(cut_ins, wait, asked=asked)


def _make_sound(case: Case) -> tuple[bytes, float, float]:
    """Return the sound, where its last part begins and where it ends, in ms."""
    quiet = bytes(int(case.pause * RATE) * 2)
    before = bytes(int(LEAD_SECONDS * RATE) * 2) + b"".join(part + quiet for part in case.parts[:-1])
    pcm = before + case.parts[-1] + bytes(int(TAIL_SECONDS * RATE) * 2)
    hiss = np.random.default_rng(0).normal(0, 32768 * 10 ** (case.hiss / 20), len(pcm) // 2)
    noisy = (np.frombuffer(pcm, "<i2") + hiss).clip(-32768, 32767).astype("<i2").tobytes()
    per_ms = RATE * 2 / 1000
    return noisy, len(before) / per_ms, (len(before) + len(case.parts[-1])) / per_ms


def _summarise(name: str, cases: Sequence[Case], outcomes: Sequence[Outcome]) -> Iterator[Figure]:
    kinds = list(dict.fromkeys(case.kind for case in cases if len(case.parts) > 1))
    for kind in kinds:
        found = [one for case, one in zip(cases, outcomes, strict=True) if case.kind == kind]
        what = f"{name}: cut-ins, {kind}, of {len(found)} turns"
        yield Figure(what, sum(one.cut_ins > 0 for one in found), "turns")
    waits = [one.wait_ms for one in outcomes if one.wait_ms is not None]
    missed = sum(wait > MISSED_MS for wait in waits)
    yield Figure(f"{name}: ends missed for {MISSED_MS} ms, of {len(waits)} turns", missed, "turns")
    false = sum(one.false for one in outcomes)
    yield Figure(f"{name}: turns made of coughs (noise)", false, "turns")
    yield Figure(f"{name}: added wait, p50", p50(waits), "ms")
    yield Figure("  p90", sorted(waits)[int(len(waits) * 0.9)], "ms")
    if name == "smart":
        asked = sum(one.asked for one in outcomes)
        yield Figure("  questions to the model, in a turn", asked / len(waits), "")


def _measure_cost(session: Any, count: int) -> list[float]:
    """CPU milliseconds of one opinion."""
    spent, pcm = [], speak("When do you open tomorrow?")
    turn_model.compute_probability(session, pcm)
    for _ in range(count):
        began = time.thread_time()
        turn_model.compute_probability(session, pcm)
        spent.append((time.thread_time() - began) * 1000)
    return spent


if __name__ == "__main__":
    main(run)
