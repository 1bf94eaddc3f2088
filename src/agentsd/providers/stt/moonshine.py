"""Moonshine on this machine: English speech to text as it is spoken, with partial transcripts.

https://github.com/moonshine-ai/moonshine. Version 0.1.0 of the package brings the weights of
``tiny-en``; later ones download them.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from itertools import count
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.audio.pcm import SAMPLE_BYTES, SampleJoiner
from agentsd.core.errors import ProviderError
from agentsd.providers.base import ProviderUnavailable, Transcript
from agentsd.providers.errors import VendorRef
from agentsd.providers.local.engines import preload_engine
from agentsd.providers.local.needs import Needs, find_package_folder, require_package
from agentsd.providers.local.settings import LocalSettings
from agentsd.providers.local.spec import EngineSpec
from agentsd.providers.options import ListeningOptions, is_language, refuse_options
from agentsd.providers.stt.timed_transcripts import make_transcript
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.vendor import Vendor

NEEDS = Needs((require_package("moonshine_voice", "moonshine-voice"),))
SAMPLE_RATE = 16_000
MODULE = "agentsd.providers.local.native.moonshine"
UNKNOWN_STREAM, TOO_MANY_STREAMS = "unknown_stream", "too_many_streams"


class MoonshineSettings(LocalSettings):
    """Settings of ``moonshine.local``."""

    kind: ClassVar[str] = "stt"

    provider: Literal["moonshine.local"]
    update_seconds: Annotated[
        float,
        Field(
            ge=0.1,
            le=10,
            description="Seconds of sound between two partial transcripts; each hears the sentence anew.",
            examples=[0.5],
        ),
    ] = 1.0


class Moonshine:
    """Client of the local model. One thread does the model's work for all streams, in turn."""

    def __init__(self, settings: MoonshineSettings, sessions: HttpSessions) -> None:
        NEEDS.check(settings.provider)
        self.sample_rate = SAMPLE_RATE
        self._step = int(settings.update_seconds * SAMPLE_RATE) * SAMPLE_BYTES
        self._who = VendorRef(settings.provider, settings.kind)
        self._numbers = count(secrets.randbits(48))  # of streams; other agents share the model
        model = {"path": str(find_package_folder("moonshine_voice") / "assets" / "tiny-en")}
        self._claim = sessions.engines.claim(
            self._who,
            EngineSpec.of(settings.provider, MODULE, model),
            timeout=settings.timeout_seconds,
            refusal=self._refusal,
        )
        preload_engine(self._claim, wanted=settings.preload)

    def tune(self, options: ListeningOptions) -> Moonshine:
        """Return this recogniser, which hears English alone. Raises ``OptionRefused``."""
        known = ("language",) if is_language(options.language, "en") else ()
        refuse_options(self._who.vendor, options, known)
        return self

    async def stream(self, pcm: AsyncIterator[bytes]) -> AsyncGenerator[Transcript, None]:
        """Yield transcripts as they come: see ``STT``."""
        number = next(self._numbers)
        with self._claim.streaming():
            try:
                await self._claim.run("open", {"stream": number})
                rest, samples = b"", SampleJoiner()
                async for sound in pcm:
                    rest += samples.take(sound) or b""
                    if len(rest) >= self._step:
                        heard, rest = rest, b""
                        for transcript in await self._hear(number, heard):
                            yield transcript
                for transcript in await self._hear(number, rest, over=True):
                    yield transcript
            finally:
                self._claim.later("close", {"stream": number})

    async def aclose(self) -> None:
        """Give up the claim on the model."""
        await self._claim.release()

    async def _hear(self, number: int, sound: bytes, *, over: bool = False) -> list[Transcript]:
        """Return the new transcripts after ``sound``; ``over`` marks the end of the audio."""
        parts = await self._claim.run("hear", {"stream": number, "over": over}, sound)
        return [make_transcript(part.fields, final=bool(part.fields.get("final"))) for part in parts]

    def _refusal(self, code: str) -> ProviderError | None:
        if code == UNKNOWN_STREAM:
            message = f"{self._who.vendor} was restarted during the speech"
            return ProviderUnavailable(message, hint="try again")
        if code == TOO_MANY_STREAMS:
            return ProviderUnavailable(f"{self._who.vendor} has too many streams", hint="try again later")
        return None


def build_client(settings: MoonshineSettings, sessions: HttpSessions) -> Moonshine:
    """Return the client for ``settings``; it loads nothing yet. Raises ``ConfigError``."""
    return Moonshine(settings, sessions)


VENDOR = Vendor(MoonshineSettings, build_client, NEEDS)
