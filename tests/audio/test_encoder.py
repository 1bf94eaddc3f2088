"""Speech in every format: playable from the first bytes on, whole, and without further threads."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from agentsd.audio.decoder import decode_file
from agentsd.audio.encoder import FORMATS, encode_stream, make_encoder
from tests.services.speech import spoken
from tests.services.test_sound import loudness

ENCODED = [name for name, form in FORMATS.items() if form.codec]


async def in_chunks(pcm: bytes, size: int) -> AsyncGenerator[bytes, None]:
    """As a voice sends it."""
    for at in range(0, len(pcm), size):
        yield pcm[at : at + size]


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("name", [*ENCODED, "wav"])
async def test_what_is_spoken_is_heard(name: str, rate: int) -> None:
    """At any rate of a voice; an encoder may add a few milliseconds of silence."""
    pcm = spoken(rate)
    data = b"".join([part async for part in encode_stream(in_chunks(pcm, 4_410), FORMATS[name], rate)])
    heard = decode_file(data, rate, 60)
    assert len(heard) / 2 / rate == pytest.approx(len(pcm) / 2 / rate, abs=0.2)
    assert loudness(heard) == pytest.approx(loudness(pcm), rel=0.3)


@pytest.mark.parametrize("name", ENCODED)
async def test_the_first_bytes_come_with_the_first_sound(name: str) -> None:
    """Twenty milliseconds of sound are enough; a second of it has come out, but for some 100 ms."""
    chunks = encode_stream(in_chunks(spoken(24_000), 960), FORMATS[name], 24_000)
    assert await anext(chunks)
    await chunks.aclose()
    encoder = make_encoder(FORMATS[name], 24_000)
    begun = encoder.encode(spoken(24_000)[:48_000])
    assert len(decode_file(begun, 24_000, 60)) > 48_000 * 0.8


@pytest.mark.parametrize("name", ENCODED)
async def test_silence_is_a_file_too(name: str) -> None:
    """A voice without a sound makes a container without one, not an error."""
    assert (
        b"".join([part async for part in encode_stream(in_chunks(b"", 2), FORMATS[name], 24_000)])
        or name == "aac"
    )


async def test_listeners_who_leave_leave_no_memory() -> None:
    """An encoder is given up at once, not when the garbage collector comes: 40 of FLAC would be 130 MB."""
    gc.collect()
    gc.disable()
    try:
        before = 0
        for number in range(50):
            chunks = encode_stream(in_chunks(spoken(24_000)[:4_800], 960), FORMATS["flac"], 24_000)
            assert await anext(chunks)
            await chunks.aclose()
            await asyncio.get_running_loop().run_in_executor(None, int)
            if number == 9:
                before = resident()
        assert resident() - before < 50 << 20
    finally:
        gc.enable()


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_encoders_start_no_threads() -> None:
    """Hundreds of listeners at once must not make thousands of idle threads."""
    threads = Path("/proc/self/task")
    encoders = [make_encoder(FORMATS[name], 24_000) for name in ENCODED]
    encoders[0].encode(spoken(24_000)[:4_800])  # numpy has threads of its own
    before = len(list(threads.iterdir()))
    for encoder in encoders:
        encoder.encode(spoken(24_000)[:4_800])
    assert len(list(threads.iterdir())) == before
