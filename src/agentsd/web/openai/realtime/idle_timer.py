"""Timer of ``idle_timeout_ms``: how long a caller may be silent after an answer has been played."""

from __future__ import annotations

import asyncio
import time

from agentsd.services.voicebot import events as ev
from agentsd.services.voicebot.playback import Playback

_BUSY = (ev.SpeechBegan, ev.UtteranceCommitted, ev.AnswerBegan)
_IDLE = (ev.AnswerEnded, ev.TranscriptCompleted, ev.TranscriptFailed, ev.TurnFailed)


class IdleTimer:
    """Timer that runs while nobody speaks: from the end of an answer's sound until anything begins."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._playback = Playback()
        self._changed = asyncio.Event()

    def take(self, event: ev.CallEvent) -> None:
        """Follow the call, event by event."""
        now = time.monotonic()
        if isinstance(event, ev.AnswerSound):
            self._playback.sent(event.ms, now)
        elif isinstance(event, _BUSY):
            self._since = None
        elif isinstance(event, _IDLE):
            unplayed = self._playback.sent_ms - self._playback.heard_ms(now)
            self._since = now + unplayed / 1000
        else:
            return
        self._changed.set()

    def settings_changed(self) -> None:
        """Read the time-out again."""
        self._changed.set()

    async def wait(self, timeout_ms: int | None) -> bool:
        """Wait until ``timeout_ms`` of silence have passed; return False where something changed before."""
        self._changed.clear()
        if self._since is None or timeout_ms is None:
            await self._changed.wait()
            return False
        left = self._since + timeout_ms / 1000 - time.monotonic()
        try:
            async with asyncio.timeout(max(left, 0)):
                await self._changed.wait()
        except TimeoutError:
            self._since = None
            return True
        return False
