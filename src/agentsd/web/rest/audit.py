"""GET /api/audit: successful and refused writes, newest first, from Postgres.

An admin sees every audit entry; others see actions on agents of their own owner. Refused actions of
another owner's user there are visible to admins only.
"""

from __future__ import annotations

import re

from aiohttp import web

from agentsd.control.status.audit import deed_view
from agentsd.core.names import from_url
from agentsd.store.queries.audit import load_deeds
from agentsd.web.agent_lookup import principal_of
from agentsd.web.context import PARTS
from agentsd.web.http.caching import cached, etag_of
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import bad_request
from agentsd.web.views.pagination import TEXT_MAX, check_names, parse_limit

LIMIT_DEFAULT = 50
LIMIT_MAX = 200
QUERY = ("owner", "agent", "limit", "before")
_ID = re.compile(r"[0-9]{1,18}", re.ASCII)


def routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.get("/api/audit", get)]


async def get(request: web.Request) -> web.Response:
    """Return ``{"items", "next_before"}``; ``limit`` and ``before`` (an id) page. 503 without Postgres."""
    check_names([name for name, _ in request.query.items()], QUERY)
    limit = parse_limit(request.query.get("limit"), default=LIMIT_DEFAULT, maximum=LIMIT_MAX)
    before = _before(request.query.get("before"))
    asked, agent = _text(request, "owner"), _text(request, "agent")
    scope = principal_of(request).scope
    if scope is not None and asked not in (None, scope):
        deeds = []  # of another owner there is nothing to be known, not even that it exists
    else:
        async with request.app[PARTS].database.transaction(snapshot=True) as connection:
            deeds = await load_deeds(
                connection,
                limit=limit + 1,
                before=before,
                owner=asked if scope is None else scope,
                target=None if agent is None else from_url(agent),
            )
    page = deeds[:limit]
    more = len(deeds) > limit
    body = to_json(
        {"items": [deed_view(deed) for deed in page], "next_before": page[-1].id if more else None}
    )
    return cached(request, body, etag_of(body))


def _text(request: web.Request, name: str) -> str | None:
    value = request.query.get(name)
    if value is not None and (len(value) > TEXT_MAX or not value.isprintable()):
        raise bad_request(f"{name} is longer than {TEXT_MAX} characters, or unprintable", param=name)
    return value


def _before(text: str | None) -> int | None:
    if text is None:
        return None
    if not _ID.fullmatch(text):
        raise bad_request("before must be a deed's id: a whole number", param="before")
    return int(text)
