"""GET /openapi.json and /docs. Both describe the API of this program, and nothing about agents.

So they need no token: a person cannot send one from a browser's address bar, and client generators
are run where no token is. Their content is in the public source, except for the names and fields of
plug-ins' vendors, which are not secret either.
"""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from typing import Any

from aiohttp import web

from agentsd.web.context import APP_CONTEXT
from agentsd.web.http.conditional import (
    compute_etag,
    make_cache_headers,
    make_conditional_response,
    make_static_handler,
)
from agentsd.web.openapi.docs.page import BASE_PLACEHOLDER, load_stylesheet, render_docs
from agentsd.web.openapi.document import make_document

_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:]+\](:[0-9]{1,5})?")
_DEFAULT_HOST = "127.0.0.1:8080"


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource. Both responses are made once: the catalog does not change."""
    described: list[dict[str, Any]] = []
    pages: dict[bool, str] = {}

    def describe(request: web.Request) -> dict[str, Any]:
        if not described:
            described.append(make_document(request.app[APP_CONTEXT].catalog))
        return described[0]

    async def get_docs(request: web.Request) -> web.Response:
        guarded = request.app[APP_CONTEXT].access.guarded
        if guarded not in pages:
            pages[guarded] = render_docs(describe(request)["components"]["schemas"], guarded=guarded)
        body = pages[guarded].replace(BASE_PLACEHOLDER, find_origin(request)).encode()
        headers = make_cache_headers(compute_etag(body))
        headers["Content-Type"] = "text/html; charset=utf-8"
        headers["Content-Security-Policy"] = make_content_policy()
        return make_conditional_response(request, body, headers["ETag"], headers)

    return [web.get("/openapi.json", make_static_handler(describe)), web.get("/docs", get_docs)]


def find_origin(request: web.Request) -> str:
    """Return the address that the client used, so that the examples work; only if it is a valid host."""
    host = request.headers.get("Host", "")
    return f"{request.scheme}://{host if _HOST.fullmatch(host) else _DEFAULT_HOST}"


def make_content_policy() -> str:
    """Return a policy that allows the page's own stylesheet, by its hash: no script, image, frame or form."""
    digest = base64.b64encode(sha256(load_stylesheet().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
