"""A voice that needs no network: a beep for each word."""

from __future__ import annotations

import math
from array import array
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from pydantic import Field

from agentsd.plugins import HttpSessions, ProviderSettings, Vendor


class BeepSettings(ProviderSettings):
    """Settings of ``beep.example``."""

    provider: Literal["beep.example"]
    pitch: Annotated[int, Field(ge=50, le=4000, description="Hertz of a beep.", examples=[440])] = 440


class Beep:
    """Follow ``agentsd.plugins.TTS``."""

    sample_rate = 16_000

    def __init__(self, settings: BeepSettings) -> None:
        step = 2 * math.pi * settings.pitch / self.sample_rate
        self._beep = array("h", (int(8000 * math.sin(n * step)) for n in range(1600))).tobytes()

    async def stream(self, text: AsyncIterator[str]) -> AsyncIterator[bytes]:
        """A tenth of a second for each word."""
        async for piece in text:
            for _ in piece.split():
                yield self._beep

    async def aclose(self) -> None:
        """Nothing to release."""


def build(settings: BeepSettings, sessions: HttpSessions) -> Beep:
    """The client for ``settings``; ``sessions`` is for those that need a network."""
    return Beep(settings)


VENDOR = Vendor(BeepSettings, build)
