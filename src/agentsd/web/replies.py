"""Replies that can be revalidated: strong ETags, ``If-None-Match``, 304."""

from __future__ import annotations

from hashlib import sha256

from aiohttp import web

JSON = "application/json"
_REVALIDATE = "private, no-cache"


def cached(
    request: web.Request, body: bytes, etag: str, *, vary: str = "Authorization", link: str | None = None
) -> web.Response:
    """``body`` as JSON with its quoted ``etag``, or 304 if the client has it already."""
    headers = {"Content-Type": JSON, "ETag": etag, "Vary": vary, "Cache-Control": _REVALIDATE}
    if link is not None:
        headers["Link"] = link
    if "If-None-Match" in request.headers and matches(request, etag):
        del headers["Content-Type"]
        return web.Response(status=304, headers=headers)
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
