"""PCM at another rate: whole recordings and streams, by ``services.resample``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing


async def at_rate(pcm: bytes, source: int, target: int) -> bytes:
    """A whole recording at ``target`` hertz; a long one must not hold up the others."""
    if source == target:
        return pcm
    from agentsd.services.resample import Resampler

    def convert() -> bytes:
        resampler = Resampler(source, target)
        return resampler.feed(pcm) + resampler.flush()

    return await asyncio.to_thread(convert)


async def resampled(
    chunks: AsyncGenerator[bytes, None], source: int, target: int
) -> AsyncGenerator[bytes, None]:
    """A stream at ``target`` hertz, as it comes; closing it closes ``chunks``."""
    from agentsd.services.resample import Resampler

    resampler = Resampler(source, target)
    async with aclosing(chunks):
        async for chunk in chunks:
            if converted := resampler.feed(chunk):
                yield converted
    if rest := resampler.flush():
        yield rest
