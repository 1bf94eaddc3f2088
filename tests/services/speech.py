"""Real speech for tests: ``hours.wav`` is "What are your opening hours?", spoken by Debian's flite (slt)."""

from __future__ import annotations

import wave
from pathlib import Path

from agentsd.audio.resampler import Resampler

WAV = Path(__file__).with_name("hours.wav")


def spoken(rate: int = 24_000) -> bytes:
    """The sentence, at ``rate`` hertz, 16-bit mono."""
    with wave.open(str(WAV)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        return Resampler(file.getframerate(), rate).take(file.readframes(file.getnframes()), last=True)


def silence(seconds: float, rate: int = 24_000) -> bytes:
    """Nothing."""
    return b"\0\0" * int(seconds * rate)
