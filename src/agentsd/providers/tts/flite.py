"""Flite, Carnegie Mellon's small speech synthesizer: a Debian package, under a permissive licence.

One short process for each sentence. The text goes in by a pipe, never on the command line, where
other users could read it. The sound comes back in a file in memory: flite goes back in its output to
write the length, which a pipe does not allow (it then hangs).
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from copy import copy
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.audio.pcm import BadAudio
from agentsd.audio.wav import parse_wav_header
from agentsd.providers.base import ProviderTimeout, ProviderUnavailable
from agentsd.providers.errors import VendorRef, make_protocol_error, make_wrong_rate_error
from agentsd.providers.local.needs import Needs, require_program
from agentsd.providers.local.settings import LocalSettings
from agentsd.providers.options import SpeechOptions, check_speed
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.transport.text_chunks import split_sentences
from agentsd.providers.vendor import Vendor

if TYPE_CHECKING:
    import asyncio

NEEDS = Needs((require_program("flite", "apt-get install flite"),))
CONCURRENCY_MAX = 4
"""Processes of one agent that run at a time."""
VOICE_RATES = {"awb": 16000, "kal": 8000, "kal16": 16000, "rms": 16000, "slt": 16000}
"""Hertz of the built-in voices."""
PIECE_BYTES = 16 << 10


class FliteSettings(LocalSettings):
    """Settings of ``flite.local``."""

    kind: ClassVar[str] = "tts"

    provider: Literal["flite.local"]
    voice: Annotated[
        Literal["awb", "kal", "kal16", "rms", "slt"],
        Field(description="One of flite's own voices.", examples=["slt"]),
    ] = "slt"
    speed: Annotated[
        float, Field(ge=0.25, le=4, description="1 is the voice's own pace.", examples=[1.0])
    ] = 1.0


class Flite:
    """Client that speaks sentence by sentence."""

    def __init__(self, settings: FliteSettings) -> None:
        NEEDS.check(settings.provider)
        self.sample_rate = VOICE_RATES[settings.voice]
        self._who = VendorRef(settings.provider, settings.kind)
        self._timeout = settings.timeout_seconds
        self._voice = settings.voice
        self._command = _make_command(settings.voice, settings.speed)
        self._turns: list[asyncio.Semaphore] = []  # one, once it is needed; a tuned voice shares it

    def tune(self, options: SpeechOptions) -> Flite:
        """Return this voice at the requested speed. Raises ``OptionRefused``."""
        tuned, speed = copy(self), check_speed(self._who.vendor, options, 0.25, 4)
        if speed is not None:
            tuned._command = _make_command(self._voice, speed)
        return tuned

    async def stream(self, text: AsyncIterator[str]) -> AsyncGenerator[bytes, None]:
        """Yield PCM as it comes: see ``TTS``."""
        async with aclosing(split_sentences(text)) as said:
            async for sentence in said:
                pcm = await self._say(sentence)
                for start in range(0, len(pcm), PIECE_BYTES):
                    yield pcm[start : start + PIECE_BYTES]

    async def aclose(self) -> None:
        """Release nothing: a process ends with its sentence."""

    async def _say(self, sentence: str) -> bytes:
        import asyncio

        if not self._turns:
            self._turns.append(asyncio.Semaphore(CONCURRENCY_MAX))
        sound = os.memfd_create("agentsd-flite")
        try:
            async with self._turns[0], asyncio.timeout(self._timeout):
                await self._run(sentence, sound)
            return self._pcm(_read_whole(sound))
        except TimeoutError:
            hint = "this machine is busy: try again, or raise tts.timeout_seconds"
            raise ProviderTimeout(f"{self._who.vendor} did not answer in time", hint=hint) from None
        except OSError:
            raise ProviderUnavailable("flite cannot be started", hint=NEEDS.of[0].install) from None
        finally:
            os.close(sound)

    async def _run(self, sentence: str, sound: int) -> None:
        import asyncio

        process = await asyncio.create_subprocess_exec(
            *self._command,
            f"/dev/fd/{sound}",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            pass_fds=(sound,),
        )
        try:
            await process.communicate(sentence.encode())
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode != 0:
            raise ProviderUnavailable("flite failed", hint="run: agentsd doctor")

    def _pcm(self, wav: bytes) -> bytes:
        try:
            header = parse_wav_header(wav)
        except BadAudio as error:
            raise make_protocol_error(self._who, str(error)) from None
        if header is None:  # the text contains nothing to speak
            return b""
        if header.rate != self.sample_rate:
            raise make_wrong_rate_error(self._who, header.rate, self.sample_rate)
        return wav[header.size :]


def _make_command(voice: str, speed: float) -> tuple[str, ...]:
    stretch = f"duration_stretch={1 / speed:.3f}"
    return ("flite", "-voice", voice, "--setf", stretch, "-f", "/dev/stdin", "-o")


def _read_whole(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)


def build_client(settings: FliteSettings, sessions: HttpSessions) -> Flite:
    """Return the client for ``settings``. Raises ``ConfigError`` where flite is not installed."""
    return Flite(settings)


VENDOR = Vendor(FliteSettings, build_client, NEEDS)
