"""Cross-origin requests: off, but for the origins that AGENTSD_CORS_ORIGINS lists.

Tokens travel in ``Authorization``, which needs no credentials mode; so cookies are never allowed, and a
page of a listed origin has exactly what its visitor's token gives it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

from agentsd.core.trust.rules import NOWHERE, origin

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
EXPOSED = "ETag, Link, Location, RateLimit, RateLimit-Policy, Retry-After, X-Agent, X-Agent-Version"
PREFLIGHT_SECONDS = 600
_NAMES_MAX = 2000
_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+( *, *[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")


@dataclass(frozen=True, slots=True)
class Cors:
    """The origins whose pages may read replies; false where there is none."""

    origins: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Cors:
        """Of origins such as ``https://ui.example.org``. Raises ``ValueError``, for ``*`` too."""
        found = {entry: origin(entry) for entry in entries}
        for entry, normal in found.items():
            if normal == NOWHERE or normal != entry.lower().rstrip("/"):
                raise ValueError(f"{entry!r} is no origin such as https://ui.example.org:8443")
        return cls(frozenset(found.values()))

    def __bool__(self) -> bool:
        return bool(self.origins)

    def allows(self, given: str | None) -> bool:
        """Whether ``given``, an ``Origin`` header, is listed."""
        return given is not None and given.lower() in self.origins

    def preflight(self, request: web.Request) -> web.Response | None:
        """The answer to a browser that asks before it sends; None: it is no such question, or not for us."""
        headers = request.headers
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in headers:
            return None
        if not self.allows(headers.get("Origin")):
            return None
        answer = {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
            "Vary": "Access-Control-Request-Headers",
        }
        wanted = headers.get("Access-Control-Request-Headers", "")
        if len(wanted) <= _NAMES_MAX and _NAMES.fullmatch(wanted):
            answer["Access-Control-Allow-Headers"] = wanted
        return web.Response(status=204, headers=answer)

    def decorate(self, request: web.Request, response: web.StreamResponse) -> None:
        """Let a listed page read the reply; tell caches that it depends on the origin."""
        headers = response.headers
        vary = headers.get("Vary")
        headers["Vary"] = f"{vary}, Origin" if vary else "Origin"
        given = request.headers.get("Origin")
        if given is not None and given.lower() in self.origins:
            headers["Access-Control-Allow-Origin"] = given
            headers["Access-Control-Expose-Headers"] = EXPOSED
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"
