"""Replies as frozen values: what is encoded is also what the OpenAPI document describes.

The classes are beside the routes, as ``@dataclass(frozen=True)`` without slots, which orjson encodes
fastest; a shape with members that may be absent is a ``TypedDict``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from agentsd.web.http.conditional import compute_etag, make_cached_response, make_json_headers
from agentsd.web.http.json import to_json

Count = Annotated[int, Field(ge=0)]
Hex = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Place = Annotated[int, Field(ge=1)]
"""Line or column, from 1."""


def make_reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return ``value`` as JSON; bytes are JSON already."""
    body = value if isinstance(value, bytes) else to_json(value)
    known = make_json_headers()
    if headers is not None:
        known.update(headers)
    return web.Response(body=body, status=status, headers=known)


def make_cached_reply(request: web.Request, value: Any, *, link: str | None = None) -> web.Response:
    """Return ``value`` as JSON with an ETag of its bytes, or 304 if the client has it already."""
    body = value if isinstance(value, bytes) else to_json(value)
    return make_cached_response(request, body, compute_etag(body), link=link)
