"""Output of server-sent events."""

from __future__ import annotations

import asyncio

from aiohttp import web

from agentsd.web.http.conditional import SECURITY_HEADERS

SSE_HEADERS = {
    **SECURITY_HEADERS,
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",  # nginx would buffer events
}
WRITE_TIMEOUT_SECONDS = 60.0
"""Timeout of one write; a client that takes longer counts as disconnected."""


class ClientStalled(ConnectionError):
    """Error for a client that stopped reading."""


async def write_frame(response: web.StreamResponse, frame: bytes) -> None:
    """Send ``frame``; raise ``ConnectionError`` when the client left or stopped reading.

    Without the timeout a client that never reads would keep its lease and the vendor's stream forever.
    """
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
            await response.write(frame)
    except TimeoutError:
        raise ClientStalled from None


def encode_event(name: str, data: bytes, *, id: str | None = None) -> bytes:
    """Encode one event; ``data`` is JSON, so it contains no line break."""
    head = f"id: {id}\n" if id else ""
    return f"{head}event: {name}\ndata: ".encode() + data + b"\n\n"
