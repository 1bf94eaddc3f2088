"""Moonshine in this process: English speech to text as it is spoken, with partial transcripts.

https://github.com/moonshine-ai/moonshine. Version 0.1.0 of the package brings the weights of
``tiny-en``; later ones download them.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from agentsd.providers.base import Transcript
from agentsd.providers.faults import Who
from agentsd.providers.http import HttpSessions
from agentsd.providers.local.engines import preloaded
from agentsd.providers.local.needs import Needs, folder_of, package
from agentsd.providers.local.settings import LocalSettings
from agentsd.providers.pcm import SAMPLE_BYTES, Samples
from agentsd.providers.vendor import Vendor

NEEDS = Needs((package("moonshine_voice", "moonshine-voice"),))
RATE = 16_000
TAIL = bytes(RATE)
"""Half a second of silence after the end: without it the last word is guessed at."""
FORCED = 1
"""The library's flag for "transcribe all there is, now". Its own ``stop`` forgets what was not yet."""
_NEVER = 1e9  # seconds; the library must not transcribe on its own, between our calls


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


class Transcriber:
    """The loaded model."""

    def __init__(self) -> None:
        from moonshine_voice import ModelArch
        from moonshine_voice.transcriber import Transcriber as Library

        path = folder_of("moonshine_voice") / "assets" / "tiny-en"
        self._library: Any = Library(path, ModelArch.TINY, _NEVER, {"return_audio_data": "false"})

    def listen(self) -> Ear:
        """A new stream on this model."""
        return Ear(self._library.create_stream())

    def close(self) -> None:
        """Free the weights."""
        self._library.close()


class Ear:
    """One stream of sound. Its methods block, and are called one at a time."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._stream.start()
        self._done: set[int] = set()  # lines that were told as final
        self._partial = ""

    def hear(self, pcm: bytes) -> list[Transcript]:
        """What is new after ``pcm``."""
        self._add(pcm)
        return self._new(self._stream.update_transcription())

    def finish(self, pcm: bytes) -> list[Transcript]:
        """What is new after ``pcm`` and the end of the sound."""
        self._add(pcm + TAIL)
        return self._new(self._stream.update_transcription(FORCED), over=True)

    def close(self) -> None:
        """Free the stream. May be called twice."""
        self._stream.close()

    def _add(self, pcm: bytes) -> None:
        if pcm:
            self._stream.add_audio([sample / 32768 for sample in array("h", pcm)], RATE)

    def _new(self, transcript: Any, *, over: bool = False) -> list[Transcript]:
        """Complete lines are final, once each; the last one may go on."""
        told = []
        for line in transcript.lines if transcript else ():
            text = line.text.strip()
            if line.line_id in self._done:
                continue
            if line.is_complete or over:
                self._done.add(line.line_id)
                self._partial = ""
                told += [Transcript(text, final=True)] if text else []
            elif text and text != self._partial:
                self._partial = text
                told.append(Transcript(text, final=False))
        return told


class Moonshine:
    """Listens. One thread does the model's work for all streams, in turn."""

    def __init__(self, settings: MoonshineSettings, sessions: HttpSessions) -> None:
        NEEDS.check(settings.provider)
        self.sample_rate = RATE
        self._step = int(settings.update_seconds * RATE) * SAMPLE_BYTES
        self._claim = sessions.engines.claim(
            Who(settings.provider, settings.kind),
            (settings.provider,),
            Transcriber,
            timeout=settings.timeout_seconds,
        )
        preloaded(self._claim, wanted=settings.preload)

    async def stream(self, pcm: AsyncIterator[bytes]) -> AsyncGenerator[Transcript, None]:
        """Transcripts as they come: see ``STT``."""
        ears: list[Ear] = []  # filled in the thread, so that a cancelled caller still leaves none open
        try:
            await self._claim.run(lambda model: ears.append(model.listen()))
            rest, samples = b"", Samples()
            async for sound in pcm:
                rest += samples.take(sound) or b""
                if len(rest) >= self._step:
                    heard, rest = rest, b""
                    for transcript in await self._claim.run(_hearing(ears, heard)):
                        yield transcript
            for transcript in await self._claim.run(lambda _: ears[0].finish(rest)):
                yield transcript
        finally:
            self._claim.later(lambda _: _close(ears))

    async def aclose(self) -> None:
        """Give up the claim on the model."""
        await self._claim.release()


def _hearing(ears: list[Ear], sound: bytes) -> Callable[[Transcriber], list[Transcript]]:
    return lambda _: ears[0].hear(sound)


def _close(ears: list[Ear]) -> None:
    for ear in ears:
        ear.close()


def build(settings: MoonshineSettings, sessions: HttpSessions) -> Moonshine:
    """The client for ``settings``; it loads nothing yet. Raises ``ConfigError``."""
    return Moonshine(settings, sessions)


VENDOR = Vendor(MoonshineSettings, build, NEEDS)
