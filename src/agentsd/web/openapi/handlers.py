"""GET /openapi.json and /docs. Both tell what this program's interface is, and nothing of agents.

So they need no token: a person cannot send one from a browser's address bar, and client generators
are run where no token is. Everything in them is in the public source but for the names and fields of
plug-ins' vendors, which are no secret either.
"""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from typing import Any

from aiohttp import web

from agentsd.web.context import PARTS
from agentsd.web.http.caching import etag_of, headers_of, made_once, revalidated
from agentsd.web.openapi.docs.page import BASE, page, style
from agentsd.web.openapi.document import document

_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:]+\](:[0-9]{1,5})?")
_USUAL = "127.0.0.1:8080"


def routes() -> list[web.RouteDef]:
    """This resource's routes. Both replies are made once: the catalog does not change."""
    described: list[dict[str, Any]] = []
    pages: dict[bool, str] = {}

    def describe(request: web.Request) -> dict[str, Any]:
        if not described:
            described.append(document(request.app[PARTS].catalog))
        return described[0]

    async def get_docs(request: web.Request) -> web.Response:
        guarded = request.app[PARTS].access.guarded
        if guarded not in pages:
            pages[guarded] = page(describe(request)["components"]["schemas"], guarded=guarded)
        body = pages[guarded].replace(BASE, origin_of(request)).encode()
        headers = headers_of(etag_of(body))
        headers["Content-Type"] = "text/html; charset=utf-8"
        headers["Content-Security-Policy"] = policy()
        return revalidated(request, body, headers["ETag"], headers)

    return [web.get("/openapi.json", made_once(describe)), web.get("/docs", get_docs)]


def origin_of(request: web.Request) -> str:
    """Where the client found this server, so that the examples work; only what is written like a host."""
    host = request.headers.get("Host", "")
    return f"{request.scheme}://{host if _HOST.fullmatch(host) else _USUAL}"


def policy() -> str:
    """The page's own stylesheet, by its hash, and nothing else: no script, no picture, no frame, no form."""
    digest = base64.b64encode(sha256(style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
