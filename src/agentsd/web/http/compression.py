"""Compression of replies for clients that accept gzip: lists of agents and diffs shrink to a tenth."""

from __future__ import annotations

import asyncio
import gzip
import re

from aiohttp import web

COMPRESSED_PREFIXES = ("/api/", "/ui/", "/openapi.json", "/docs")
"""What is compressed. Replies of /v1 are small, and any delay there is heard in a call."""

COMPRESSED_BYTES_MIN = 1400
"""Bytes below which a reply is one packet anyway."""

_INLINE_BYTES_MAX = 64 << 10
"""Bytes that are compressed on the event loop, in about a millisecond; more of them in a thread."""
_LEVEL = 5
_CODING = re.compile(r"(?:^|,)\s*(gzip|\*)\s*(?:;\s*q=([\d.]+)\s*)?(?=,|$)", re.IGNORECASE)


async def compress_reply(request: web.Request, response: web.StreamResponse) -> None:
    """Compress a complete reply where the client accepts it and it is worth it.

    The ETag stays the same: it names the content, whose encoding ``Vary`` covers.
    """
    if not request.path.startswith(COMPRESSED_PREFIXES) or not isinstance(response, web.Response):
        return
    body, headers = response.body, response.headers
    if not isinstance(body, bytes) or len(body) < COMPRESSED_BYTES_MIN or _is_encoded(response):
        return
    headers["Vary"] = ", ".join(filter(None, (headers.get("Vary"), "Accept-Encoding")))
    if not accepts_gzip(request.headers.get("Accept-Encoding", "")):
        return
    if len(body) <= _INLINE_BYTES_MAX:
        packed = gzip.compress(body, _LEVEL, mtime=0)
    else:
        packed = await asyncio.to_thread(gzip.compress, body, _LEVEL, mtime=0)
    headers["Content-Encoding"] = "gzip"
    response.body = packed


def accepts_gzip(accepted: str) -> bool:
    """Return whether an ``Accept-Encoding`` allows gzip: by name, else by ``*``, and not with ``q=0``."""
    weights = {found[1].lower(): found[2] for found in _CODING.finditer(accepted)}
    weight = weights.get("gzip", weights.get("*", "0"))
    return weight is None or weight.strip("0.") != ""


def _is_encoded(response: web.Response) -> bool:
    """Return whether the handler has chosen an encoding itself, or compression would save nothing."""
    headers = response.headers
    chosen = "Content-Encoding" in headers or "Accept-Encoding" in headers.get("Vary", "")
    return chosen or response.content_type.startswith("audio/")
