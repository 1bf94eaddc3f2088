"""Judge of pauses: has the caller finished a thought, or stopped in its midst?

It keeps the newest sound of the turn, has the end-of-turn model hear it once in each pause, and chooses the
silence to wait for. Without an opinion, ``silence_ms`` decides, as it does with ``detection: silence``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agentsd.audio import turn_model
from agentsd.core.manifest.turn import Turn

LIKELY = 0.5
"""Probability of a finished turn from which the shorter wait is enough, as in Pipecat."""

PENDING_MS = 320
"""Shortest wait before the model has answered: it is asked after 200 ms, in whole frames."""

OPINION_SECONDS_MAX = 1.0
"""How long an opinion is waited for that is late: a busy machine must not hold up a call."""

BEFORE_BYTES = turn_model.BYTES_PER_SECOND // 2
"""Sound from before the speech that the model hears, half a second as in Pipecat."""

PART_BYTES_MIN = turn_model.BYTES_PER_SECOND * 3 // 4
"""Sound since the last pause from which it is heard without what was before: half a second of speech, and
the silence after it. With an unfinished part before it, a finished one seems unfinished; "um" is shorter."""

_SPARE_BYTES = turn_model.BYTES_PER_SECOND
"""Sound beyond what the model hears, so that the oldest is not removed at every frame."""

Ask = Callable[[bytes], "asyncio.Future[float | None] | None"]
"""``TurnModel.judge``, or a stand-in of it."""


class TurnJudge:
    """Judge of one call."""

    def __init__(self, ask: Ask | None = None) -> None:
        if ask is None:
            turn_model.TURN_MODEL.preload()
        self._ask = ask or turn_model.TURN_MODEL.judge
        self._sound = bytearray()
        self._part: int | None = None  # bytes since the caller went on after a pause
        self._asked = False  # in this pause
        self._opinion: asyncio.Future[float | None] | None = None

    def hear(self, pcm: bytes, *, speaking: bool) -> None:
        """Take sound at 16 kHz; before speech only the newest half second is kept."""
        self._sound += pcm
        if self._part is not None:
            self._part += len(pcm)
        most = turn_model.HEARD_BYTES if speaking else BEFORE_BYTES
        if len(self._sound) > most + (_SPARE_BYTES if speaking else 0):
            del self._sound[:-most]

    def ask(self) -> None:
        """Have the model hear the turn, or what was said since the last pause, once in each pause."""
        if self._asked:
            return
        self._asked, size = True, turn_model.HEARD_BYTES
        if self._part is not None and self._part >= PART_BYTES_MIN:
            size = min(size, self._part + BEFORE_BYTES)
        self._opinion = self._ask(bytes(self._sound[-size:]))

    @property
    def doubts(self) -> bool:
        """Return whether the model takes the present pause for one in mid-thought."""
        opinion = self._opinion
        likelihood = self._read_opinion() if opinion is not None and opinion.done() else None
        return likelihood is not None and likelihood < LIKELY

    def choose_wait(self, turn: Turn) -> int:
        """Return the silence that ends the turn, in ms."""
        if not self._asked or (self._opinion is not None and not self._opinion.done()):
            return max(turn.silence_ms, PENDING_MS)
        likelihood = self._read_opinion()
        if likelihood is None:
            return turn.silence_ms
        return turn.wait_ms.sure if likelihood >= LIKELY else turn.wait_ms.unsure

    async def settle(self) -> None:
        """Wait for an opinion that was asked for; give it up if it takes too long."""
        opinion = self._opinion
        if opinion is None or opinion.done():
            return
        await asyncio.wait({opinion}, timeout=OPINION_SECONDS_MAX)
        if opinion is self._opinion and not opinion.done():
            self._drop_opinion()

    def forget_opinion(self) -> None:
        """Note that the pause is over, if there was one."""
        if self._asked:
            self._asked, self._part = False, 0
        self._drop_opinion()

    def forget(self) -> None:
        """Note that the turn is over."""
        self.forget_opinion()
        self._part = None
        self._sound.clear()

    def _read_opinion(self) -> float | None:
        opinion = self._opinion
        return None if opinion is None or opinion.cancelled() else opinion.result()

    def _drop_opinion(self) -> None:
        opinion, self._opinion = self._opinion, None
        if opinion is not None:
            opinion.cancel()


def settle_detection(turn: Turn) -> Turn:
    """Return ``turn`` as it runs on this machine: without the model, ``smart`` is ``silence``."""
    if turn.detection == "silence" or turn_model.find_turn_model() is not None:
        return turn
    return turn.model_copy(update={"detection": "silence"})
