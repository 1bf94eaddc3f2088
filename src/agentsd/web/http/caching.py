"""Replies that can be revalidated (strong ETags, ``If-None-Match``, 304), and the headers of every reply."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import CIMultiDict

from agentsd.web.http.json import to_json

JSON = "application/json"
REVALIDATE = "private, no-cache"
VARY = "Authorization, Cookie"
"""Who asks is told by a header or by a browser's session; which agent is current, by a cookie, too."""
SECURITY = {
    "Server": "agentsd",  # rather than the versions of our libraries
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Of every reply, unless it says otherwise itself."""


def secure(response: web.StreamResponse) -> None:
    """Add the headers of every reply to one that has not begun; one with a ``Server`` has them already."""
    headers = response.headers
    if "Server" in headers or response.prepared:
        return
    for name, value in SECURITY.items():
        if name not in headers:
            headers[name] = value


def headers_of(etag: str, *, link: str | None = None) -> CIMultiDict[str]:
    """All headers of a JSON reply that may be kept and revalidated. ``etag`` is quoted."""
    headers = CIMultiDict(SECURITY)
    headers.update({"Content-Type": JSON, "ETag": etag, "Vary": VARY, "Cache-Control": REVALIDATE})
    if link is not None:
        headers["Link"] = link
    return headers


def cached(request: web.Request, body: bytes, etag: str, *, link: str | None = None) -> web.Response:
    """``body`` as JSON with its quoted ``etag``, or 304 if the client has it already."""
    return revalidated(request, body, etag, headers_of(etag, link=link))


def made_once(value_of: Callable[[web.Request], Any]) -> Handler:
    """A handler whose JSON is made at the first request, and kept: it is the same for all that follow."""
    kept: list[tuple[bytes, str]] = []

    async def get(request: web.Request) -> web.Response:
        if not kept:
            body = to_json(value_of(request))
            kept.append((body, etag_of(body)))
        return cached(request, *kept[0])

    return get


def revalidated(request: web.Request, body: bytes, etag: str, headers: CIMultiDict[str]) -> web.Response:
    """The same with ready-made headers, which are copied."""
    if "If-None-Match" in request.headers and matches(request, etag):
        response = web.Response(status=304, headers=headers)
        del response.headers["Content-Type"]
        return response
    return web.Response(body=body, headers=headers)


def matches(request: web.Request, etag: str) -> bool:
    """Weak comparison with every tag of ``If-None-Match``, as RFC 9110 has it; ``*`` is any."""
    if request.headers["If-None-Match"] == etag:
        return True
    opaque = etag.strip('"')
    return any(tag.value in ("*", opaque) for tag in request.if_none_match or ())


def etag_of(body: bytes) -> str:
    """A strong ETag of the bytes themselves."""
    return f'"{sha256(body).hexdigest()[:32]}"'
