"""Transcription of recorded speech by an agent. Over the protocol ``STT`` only."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import cast

from agentsd.audio.rates import resample_recording
from agentsd.audio.wav import Sound
from agentsd.core.errors import AgentUnavailable
from agentsd.providers.base import STT, LiveAgent, Transcript
from agentsd.providers.options import ListeningOptions, tune_client

_NO_OPTIONS = ListeningOptions()
PIECE_SECONDS = 0.1
"""Amount of a recording sent to the vendor at a time; several vendors refuse large messages."""


def find_recogniser(agent: LiveAgent, options: ListeningOptions = _NO_OPTIONS) -> STT:
    """Return the agent's recogniser with ``options``. Raises ``AgentUnavailable`` and ``OptionRefused``."""
    if agent.stt is None:
        raise AgentUnavailable(
            f"agent {agent.slug!r} cannot listen", reason="NoSTT", hint="add an stt section to its manifest"
        )
    return tune_client(agent.stt, agent.provider_names.get("stt", "this recogniser"), options)


async def stream_transcripts(stt: STT, sound: Sound) -> AsyncGenerator[Transcript, None]:
    """Yield transcripts of ``sound`` as they come: partial ones are replaced by the next, final ones stay.

    Closing it closes the vendor's stream. ``ProviderError`` may come at any part.
    """
    pcm = await resample_recording(sound.pcm, sound.rate, stt.sample_rate)
    stream = cast("AsyncGenerator[Transcript, None]", stt.stream(_split_sound(pcm, stt.sample_rate)))
    async with aclosing(stream):
        async for transcript in stream:
            text = transcript.text.strip()
            if text:
                yield replace(transcript, text=text)


async def transcribe_sound(stt: STT, sound: Sound) -> list[Transcript]:
    """Return the final transcripts of ``sound``, in order."""
    async with aclosing(stream_transcripts(stt, sound)) as parts:
        return [part async for part in parts if part.final]


async def _split_sound(pcm: bytes, rate: int) -> AsyncIterator[bytes]:
    size = int(rate * PIECE_SECONDS) * 2
    for start in range(0, len(pcm), size):
        yield pcm[start : start + size]
