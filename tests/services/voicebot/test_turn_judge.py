"""What silence is waited for in a pause, by values and properties."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from agentsd.audio.turn_model import HEARD_BYTES
from agentsd.core.manifest.turn import Turn, Waits
from agentsd.services.voicebot.turn_judge import BEFORE_BYTES, PENDING_MS, TurnJudge

SMART = Turn(detection="smart", silence_ms=500, wait_ms=Waits(sure=100, unsure=3000))
FRAME = bytes(1024)


class Model:
    """A model whose opinions the test gives; what it heard."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.opinions: list[asyncio.Future[float | None]] = []
        self.busy = False

    def judge(self, pcm: bytes) -> asyncio.Future[float | None] | None:
        """An opinion to come."""
        self.heard.append(pcm)
        if self.busy:
            return None
        self.opinions.append(asyncio.get_running_loop().create_future())
        return self.opinions[-1]


async def test_the_opinion_chooses_the_wait() -> None:
    """Until there is one, it is waited for; 0.5 is sure."""
    for probability, wait in ((0.9, 100), (0.5, 100), (0.49, 3000), (0.0, 3000), (None, 500)):
        model = Model()
        judge = TurnJudge(model.judge)
        assert judge.choose_wait(SMART) == 500
        judge.ask()
        assert judge.choose_wait(SMART) == 500
        model.opinions[0].set_result(probability)
        assert judge.choose_wait(SMART) == wait


async def test_a_short_silence_waits_for_the_question() -> None:
    """``silence_ms`` below the time at which the model is asked does not keep it from being asked."""
    assert TurnJudge(Model().judge).choose_wait(Turn(detection="smart", silence_ms=50)) == PENDING_MS


async def test_a_pause_asks_once_and_the_next_one_again() -> None:
    """An opinion of one pause, also a late one, does not hold for the next."""
    model = Model()
    judge = TurnJudge(model.judge)
    judge.ask()
    judge.ask()
    assert len(model.heard) == 1
    judge.forget_opinion()
    assert model.opinions[0].cancelled()
    judge.ask()
    assert (len(model.heard), judge.choose_wait(SMART)) == (2, 500)
    model.opinions[1].set_result(0.1)
    assert judge.choose_wait(SMART) == 3000


async def test_what_follows_a_pause_is_heard_alone_if_it_is_long_enough() -> None:
    """A second is, with the half second before it; a filler of a third is heard with what it follows."""
    for frames, alone in ((32, True), (10, False)):
        model = Model()
        judge = TurnJudge(model.judge)
        for _ in range(60):
            judge.hear(FRAME, speaking=True)
        judge.ask()
        judge.forget_opinion()
        for _ in range(frames):
            judge.hear(FRAME, speaking=True)
        judge.ask()
        assert len(model.heard[1]) == (frames * 1024 + BEFORE_BYTES if alone else (60 + frames) * 1024)
        judge.forget()
        judge.hear(FRAME, speaking=False)
        judge.ask()
        assert len(model.heard[2]) == 1024


async def test_a_busy_model_leaves_it_to_silence() -> None:
    """It refuses at once, and is not asked again in the same pause."""
    model = Model()
    model.busy = True
    judge = TurnJudge(model.judge)
    judge.ask()
    judge.ask()
    await judge.settle()
    assert (len(model.heard), judge.choose_wait(SMART)) == (1, 500)


async def test_only_an_opinion_is_a_doubt() -> None:
    """None that is on its way, none that failed, and none of an earlier pause."""
    model = Model()
    judge = TurnJudge(model.judge)
    assert not judge.doubts
    for opinion, doubts in ((0.2, True), (0.8, False), (None, False)):
        judge.ask()
        assert not judge.doubts
        model.opinions[-1].set_result(opinion)
        assert judge.doubts == doubts
        judge.forget_opinion()
        assert not judge.doubts


async def test_an_opinion_that_is_due_is_waited_for() -> None:
    """``settle`` ends with the opinion, or with the pause that it was about."""
    model = Model()
    judge = TurnJudge(model.judge)
    await judge.settle()
    judge.ask()
    waiting = asyncio.create_task(judge.settle())
    await asyncio.sleep(0)
    assert not waiting.done()
    model.opinions[0].set_result(0.2)
    await waiting
    assert judge.choose_wait(SMART) == 3000
    judge.forget()
    judge.ask()
    waiting = asyncio.create_task(judge.settle())
    await asyncio.sleep(0)
    judge.forget()
    await waiting


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 400)), max_size=12))
def test_the_newest_sound_is_heard_and_memory_is_bounded(spoken: list[tuple[bool, int]]) -> None:
    """Whatever was said: what the model hears ends with the last sound, and is at most eight seconds."""

    async def say() -> None:
        model = Model()
        judge, sound = TurnJudge(model.judge), b""
        for number, (speaking, frames) in enumerate(spoken):
            frame = bytes([number]) * 1024
            for _ in range(frames):
                judge.hear(frame, speaking=speaking)
            sound += frame * frames
        judge.ask()
        (heard,) = model.heard
        assert sound.endswith(heard)
        assert len(heard) <= HEARD_BYTES
        if spoken and not spoken[-1][0]:
            assert len(heard) <= BEFORE_BYTES

    asyncio.run(say())
