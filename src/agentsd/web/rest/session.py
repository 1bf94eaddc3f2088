"""/api/session: the principal and its permissions here; and a browser's sign-in.

A browser cannot send ``Authorization`` with a page, an event stream or a WebSocket. So a person
signs in once with a token, and the browser keeps it in a cookie that no script can read and that no
other site can cause to be sent with a change (``SameSite``, and the middleware requires our own
``Origin``). The server stores nothing: every replica has the token, and a revoked one ends the
session.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from agentsd import __version__
from agentsd.control.writeback.delivery import WriteMode
from agentsd.core.manifest.user import Role
from agentsd.web.agent_lookup import get_principal
from agentsd.web.context import APP_CONTEXT
from agentsd.web.http.reply import make_reply
from agentsd.web.middleware.auth import SESSION_COOKIE, parse_bearer

_SESSION_PATH = "/api/session"
_COOKIE_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True)
class SessionReply:
    """Principal, and the facts that a page needs before it shows anything."""

    user: str
    name: str
    role: Role
    expires: Annotated[float | None, Field(description="Seconds since 1970; null: never.")]
    guarded: Annotated[bool, Field(description="Whether a token is needed.")]
    write_back: Annotated[WriteMode, Field(description="How the API writes; `off`: it does not.")]
    files: Annotated[str, Field(description="The folder of manifests.")]
    version: Annotated[str, Field(description="The version of the program.")]


@dataclass(frozen=True)
class SignedOutReply:
    """The token is deleted from the browser."""

    signed_in: Literal[False] = False


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [
        web.get(_SESSION_PATH, get_session),
        web.post(_SESSION_PATH, sign_in),
        web.delete(_SESSION_PATH, sign_out),
    ]


async def get_session(request: web.Request) -> web.Response:
    """Return the principal and what may be written here."""
    return make_reply(make_session_reply(request))


async def sign_in(request: web.Request) -> web.Response:
    """Store the token of ``Authorization`` in the browser; the middleware validated it, if one is needed."""
    token = parse_bearer(request.headers.get("Authorization"))
    response = make_reply(make_session_reply(request))
    if token is not None and request.app[APP_CONTEXT].access.guarded:
        expires = get_principal(request).expires
        age = _COOKIE_SECONDS if expires is None else max(0, min(_COOKIE_SECONDS, int(expires - time.time())))
        response.set_cookie(
            SESSION_COOKIE, token, max_age=age, httponly=True, samesite="Lax", secure=_is_secure(request)
        )
    return response


async def sign_out(request: web.Request) -> web.Response:
    """Delete the session cookie."""
    response = make_reply(SignedOutReply())
    response.del_cookie(SESSION_COOKIE, httponly=True, samesite="Lax", secure=_is_secure(request))
    return response


def make_session_reply(request: web.Request) -> SessionReply:
    """Return the principal of the request, and what may be written here."""
    parts, principal = request.app[APP_CONTEXT], get_principal(request)
    return SessionReply(
        user=principal.owner,
        name=principal.name,
        role=principal.role,
        expires=principal.expires,
        guarded=parts.access.guarded,
        write_back=parts.writeback.mode if parts.writeback is not None else "off",
        files=parts.files,
        version=__version__,
    )


def _is_secure(request: web.Request) -> bool:
    """Return whether the browser used https; behind a proxy, only the page's ``Origin`` shows it."""
    return request.secure or request.headers.get("Origin", "").startswith("https://")
