"""Conditional responses (strong ETags, ``If-None-Match``, 304) and the headers of every response."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import CIMultiDict

from agentsd.web.http.json import to_json

JSON_TYPE = "application/json"
CACHE_CONTROL = "private, no-cache"
VARY = "Authorization, Cookie"
"""The principal comes from a header or a session cookie; the current agent from a cookie, too."""
SECURITY_HEADERS = {
    "Server": "agentsd",  # without versions of libraries
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Headers of every response that does not set them itself."""
_CODING = re.compile(r"(?:--?|;)(?:gzip|br|zstd|deflate)$")
_JSON_HEADERS = CIMultiDict({**SECURITY_HEADERS, "Content-Type": JSON_TYPE})


def add_security_headers(response: web.StreamResponse) -> None:
    """Add the common headers to a response that has not begun; skip one that has a ``Server`` header."""
    headers = response.headers
    if "Server" in headers or response.prepared:
        return
    for name, value in SECURITY_HEADERS.items():
        if name not in headers:
            headers[name] = value


def make_json_headers() -> CIMultiDict[str]:
    """Return all headers of a JSON response that must not be stored."""
    return _JSON_HEADERS.copy()


def make_cache_headers(etag: str, *, link: str | None = None) -> CIMultiDict[str]:
    """Return all headers of a JSON response that may be stored and revalidated. ``etag`` is quoted."""
    headers = CIMultiDict(SECURITY_HEADERS)
    headers.update({"Content-Type": JSON_TYPE, "ETag": etag, "Vary": VARY, "Cache-Control": CACHE_CONTROL})
    if link is not None:
        headers["Link"] = link
    return headers


def make_cached_response(
    request: web.Request, body: bytes, etag: str, *, link: str | None = None
) -> web.Response:
    """Return ``body`` as JSON with its quoted ``etag``, or 304 if the client has it already."""
    return make_conditional_response(request, body, etag, make_cache_headers(etag, link=link))


def make_static_handler(value_of: Callable[[web.Request], Any]) -> Handler:
    """Return a handler that makes its JSON at the first request and keeps it for all later ones."""
    kept: list[tuple[bytes, str]] = []

    async def get(request: web.Request) -> web.Response:
        if not kept:
            body = to_json(value_of(request))
            kept.append((body, compute_etag(body)))
        return make_cached_response(request, *kept[0])

    return get


def make_conditional_response(
    request: web.Request, body: bytes, etag: str, headers: CIMultiDict[str]
) -> web.Response:
    """Return ``body`` with ready-made headers, which are copied, or 304 if the client has it already."""
    if "If-None-Match" in request.headers and matches_etag(request, etag):
        response = web.Response(status=304, headers=headers)
        del response.headers["Content-Type"]
        return response
    return web.Response(body=body, headers=headers)


def matches_etag(request: web.Request, etag: str) -> bool:
    """Compare ``etag`` weakly with every tag of ``If-None-Match`` (RFC 9110); ``*`` matches any."""
    if request.headers["If-None-Match"] == etag:
        return True
    opaque = etag.strip('"')
    return any(strip_coding(tag.value) in ("*", opaque) for tag in request.if_none_match or ())


def strip_coding(tag: str) -> str:
    """Return an opaque tag without the ending that a proxy which compresses adds: ``-gzip``, ``;br``."""
    return _CODING.sub("", tag)


def compute_etag(body: bytes) -> str:
    """Return a strong ETag of the bytes themselves."""
    return f'"{sha256(body).hexdigest()[:32]}"'
