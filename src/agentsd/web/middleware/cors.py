"""Cross-origin requests: disabled except for the origins in AGENTSD_CORS_ORIGINS.

Tokens are sent in ``Authorization``, which needs no credentials mode; so cookies are never allowed,
and a page of a listed origin has exactly the rights of its visitor's token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

from agentsd.core.trust.rules import NO_ORIGIN, normalise_origin

ALLOWED_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
EXPOSED_HEADERS = (
    "ETag, Link, Location, RateLimit, RateLimit-Policy, Retry-After, X-Agent, X-Agent-Version, X-Request-ID, "
    "x-should-retry"
)
PREFLIGHT_SECONDS = 600
_HEADER_NAMES_MAX = 2000
_HEADER_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+( *, *[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")


@dataclass(frozen=True, slots=True)
class CorsPolicy:
    """Origins whose pages may read responses; falsy where there is none."""

    origins: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> CorsPolicy:
        """Parse origins such as ``https://ui.example.org``. Raise ``ValueError``, for ``*`` too."""
        found = {entry: normalise_origin(entry) for entry in entries}
        for entry, normal in found.items():
            if normal == NO_ORIGIN or normal != entry.lower().rstrip("/"):
                raise ValueError(f"{entry!r} is not an origin such as https://ui.example.org:8443")
        return cls(frozenset(found.values()))

    def __bool__(self) -> bool:
        return bool(self.origins)

    def allows(self, given: str | None) -> bool:
        """Return whether ``given``, an ``Origin`` header, is listed."""
        return given is not None and given.lower() in self.origins

    def preflight(self, request: web.Request) -> web.Response | None:
        """Return the response to a preflight request; None for other requests and origins not listed."""
        headers = request.headers
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in headers:
            return None
        if not self.allows(headers.get("Origin")):
            return None
        answer = {
            "Access-Control-Allow-Methods": ALLOWED_METHODS,
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
            "Vary": "Access-Control-Request-Headers",
        }
        wanted = headers.get("Access-Control-Request-Headers", "")
        if len(wanted) <= _HEADER_NAMES_MAX and _HEADER_NAMES.fullmatch(wanted):
            answer["Access-Control-Allow-Headers"] = wanted
        return web.Response(status=204, headers=answer)

    def decorate(self, request: web.Request, response: web.StreamResponse) -> None:
        """Allow a listed page to read the response; add ``Vary`` for the origin."""
        headers = response.headers
        vary = headers.get("Vary")
        headers["Vary"] = f"{vary}, Origin" if vary else "Origin"
        given = request.headers.get("Origin")
        if given is not None and given.lower() in self.origins:
            headers["Access-Control-Allow-Origin"] = given
            headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"
