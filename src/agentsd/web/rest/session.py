"""/api/session: the principal and its permissions here; and a browser's sign-in.

A browser cannot send ``Authorization`` with a page, an event stream or a WebSocket. So a person
signs in once with a token, and the browser keeps it in a cookie that no script can read and that no
other site can cause to be sent with a change (``SameSite``, and the middleware requires our own
``Origin``). The server stores nothing: every replica has the token, and a revoked one ends the
session.
"""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web

from agentsd import __version__
from agentsd.core.access import Principal
from agentsd.web.agent_lookup import get_principal
from agentsd.web.context import APP_CONTEXT, AppContext
from agentsd.web.http.conditional import JSON_TYPE
from agentsd.web.http.json import to_json
from agentsd.web.middleware.auth import SESSION_COOKIE, parse_bearer

_SESSION_PATH = "/api/session"
_COOKIE_SECONDS = 30 * 24 * 3600


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [
        web.get(_SESSION_PATH, get_session),
        web.post(_SESSION_PATH, sign_in),
        web.delete(_SESSION_PATH, sign_out),
    ]


async def get_session(request: web.Request) -> web.Response:
    """Return the principal and what may be written here."""
    return _make_reply(request)


async def sign_in(request: web.Request) -> web.Response:
    """Store the token of ``Authorization`` in the browser; the middleware validated it, if one is needed."""
    token = parse_bearer(request.headers.get("Authorization"))
    response = _make_reply(request)
    if token is not None and request.app[APP_CONTEXT].access.guarded:
        expires = get_principal(request).expires
        age = _COOKIE_SECONDS if expires is None else max(0, min(_COOKIE_SECONDS, int(expires - time.time())))
        response.set_cookie(
            SESSION_COOKIE, token, max_age=age, httponly=True, samesite="Lax", secure=_is_secure(request)
        )
    return response


async def sign_out(request: web.Request) -> web.Response:
    """Delete the session cookie."""
    response = web.Response(body=b'{"signed_in":false}', content_type=JSON_TYPE)
    response.del_cookie(SESSION_COOKIE, httponly=True, samesite="Lax", secure=_is_secure(request))
    return response


def make_session_view(parts: AppContext, principal: Principal) -> dict[str, Any]:
    """Return the facts that a page needs before it shows anything."""
    return {
        "user": principal.owner,
        "name": principal.name,
        "role": principal.role,
        "expires": principal.expires,
        "guarded": parts.access.guarded,
        "write_back": parts.writeback.mode if parts.writeback is not None else "off",
        "files": parts.files,
        "version": __version__,
    }


def _make_reply(request: web.Request) -> web.Response:
    return web.Response(
        body=to_json(make_session_view(request.app[APP_CONTEXT], get_principal(request))),
        content_type=JSON_TYPE,
    )


def _is_secure(request: web.Request) -> bool:
    """Return whether the browser used https; behind a proxy, only the page's ``Origin`` shows it."""
    return request.secure or request.headers.get("Origin", "").startswith("https://")
