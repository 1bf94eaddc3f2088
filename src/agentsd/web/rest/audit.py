"""GET /api/audit: successful and refused writes, newest first, from Postgres.

An admin sees every audit entry; others see actions on agents of their own owner. Refused actions of
another owner's user there are visible to admins only.
"""

from __future__ import annotations

import re

from aiohttp import web

from agentsd.control.status.audit import audit_entry_view
from agentsd.core.names import slug_from_url
from agentsd.store.queries.audit import load_audit_entries
from agentsd.web.agent_lookup import get_principal
from agentsd.web.context import APP_CONTEXT
from agentsd.web.http.conditional import compute_etag, make_cached_response
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import bad_request
from agentsd.web.views.pagination import TEXT_MAX, check_names, parse_limit

LIMIT_DEFAULT = 50
LIMIT_MAX = 200
QUERY_NAMES = ("owner", "agent", "limit", "before")
_ID = re.compile(r"[0-9]{1,18}", re.ASCII)


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.get("/api/audit", get_audit)]


async def get_audit(request: web.Request) -> web.Response:
    """Return ``{"items", "next_before"}``; ``limit`` and ``before`` (an id) page. 503 without Postgres."""
    check_names([name for name, _ in request.query.items()], QUERY_NAMES)
    limit = parse_limit(request.query.get("limit"), default=LIMIT_DEFAULT, maximum=LIMIT_MAX)
    before = _parse_before(request.query.get("before"))
    asked, agent = _get_text(request, "owner"), _get_text(request, "agent")
    scope = get_principal(request).scope
    if scope is not None and asked not in (None, scope):
        entries = []  # do not reveal whether another owner exists
    else:
        async with request.app[APP_CONTEXT].database.transaction(snapshot=True) as connection:
            entries = await load_audit_entries(
                connection,
                limit=limit + 1,
                before=before,
                owner=asked if scope is None else scope,
                target=None if agent is None else slug_from_url(agent),
            )
    page = entries[:limit]
    more = len(entries) > limit
    body = to_json(
        {"items": [audit_entry_view(entry) for entry in page], "next_before": page[-1].id if more else None}
    )
    return make_cached_response(request, body, compute_etag(body))


def _get_text(request: web.Request, name: str) -> str | None:
    value = request.query.get(name)
    if value is not None and (len(value) > TEXT_MAX or not value.isprintable()):
        raise bad_request(f"{name} is longer than {TEXT_MAX} characters, or unprintable", param=name)
    return value


def _parse_before(text: str | None) -> int | None:
    if text is None:
        return None
    if not _ID.fullmatch(text):
        raise bad_request("before must be the id of an audit entry: a whole number", param="before")
    return int(text)
