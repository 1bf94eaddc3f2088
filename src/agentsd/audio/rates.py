"""PCM at another rate: whole recordings and streams, by ``audio.resampler``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from agentsd.audio.resampler import Resampler


async def resample_recording(pcm: bytes, source: int, target: int) -> bytes:
    """Resample a whole recording to ``target`` hertz; a long one must not delay other tasks."""
    if source == target:
        return pcm
    return await asyncio.to_thread(Resampler(source, target).take, pcm, last=True)


async def resample_stream(
    chunks: AsyncGenerator[bytes, None], source: int, target: int
) -> AsyncGenerator[bytes, None]:
    """Resample a stream to ``target`` hertz, as it comes; closing it closes ``chunks``."""
    resampler = Resampler(source, target)
    async with aclosing(chunks):
        async for chunk in chunks:
            if converted := resampler.take(chunk):
                yield converted
    if rest := resampler.take(b"", last=True):
        yield rest
