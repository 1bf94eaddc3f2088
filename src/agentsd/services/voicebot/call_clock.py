"""Clocks of a call: how long the microphone has sent nothing, and how long nobody has spoken. Pure."""

from __future__ import annotations

from agentsd.audio.resampler import measure_milliseconds

GRACE_SECONDS = 0.4
"""Delay of sound on its way that is not yet a microphone that stopped."""


class MicrophoneClock:
    """Time up to which there is sound. A client may send ahead of time, or late."""

    def __init__(self) -> None:
        self._covered = 0.0

    def add(self, pcm: bytes, rate: int, now: float) -> None:
        """Add sound that came ``now``, in seconds of the call's clock."""
        self._covered = max(self._covered, now) + measure_milliseconds(pcm, rate) / 1000

    def missing(self, now: float) -> float:
        """Return for how long sound has been missing, in seconds."""
        return now - self._covered - GRACE_SECONDS


class SilenceClock:
    """Time since anybody spoke, and how often the agent has asked since."""

    def __init__(self, now: float) -> None:
        self.prompts = 0
        self._since = now

    def reset(self, now: float) -> None:
        """Begin anew."""
        self._since = now

    def seconds(self, now: float) -> float:
        """Return the length of the silence."""
        return now - self._since
