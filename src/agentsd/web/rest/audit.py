"""GET /api/audit: successful and refused writes, newest first, from Postgres.

An admin sees every audit entry; others see actions on agents of their own owner. Refused actions of
another owner's user there are visible to admins only.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from agentsd.control.status.audit import AuditEntryJson, audit_entry_to_json
from agentsd.core.names import slug_from_url
from agentsd.store.queries.audit import load_audit_entries
from agentsd.web.agent_lookup import get_principal
from agentsd.web.context import APP_CONTEXT
from agentsd.web.http.problem import bad_request
from agentsd.web.http.reply import make_cached_reply
from agentsd.web.views.pagination import (
    TEXT_MAX,
    NextCursor,
    encode_place,
    make_next_link,
    parse_page_query,
)

LIMIT_DEFAULT = 50
LIMIT_MAX = 200


@dataclass(frozen=True)
class AuditEntryPage:
    """Page of audit entries, newest first."""

    items: list[AuditEntryJson]
    next_cursor: NextCursor


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.get("/api/audit", get_audit)]


async def get_audit(request: web.Request) -> web.Response:
    """Return a page of audit entries. 503 without Postgres."""
    query = parse_page_query(
        request.query, "entry", "owner", "agent", default=LIMIT_DEFAULT, maximum=LIMIT_MAX
    )
    before, asked, agent = query.number, _get_text(request, "owner"), _get_text(request, "agent")
    scope = get_principal(request).scope
    if scope is not None and asked not in (None, scope):
        entries = []  # do not reveal whether another owner exists
    else:
        async with request.app[APP_CONTEXT].database.transaction(snapshot=True) as connection:
            entries = await load_audit_entries(
                connection,
                limit=query.limit + 1,
                before=before,
                owner=asked if scope is None else scope,
                target=None if agent is None else slug_from_url(agent),
            )
    shown = entries[: query.limit]
    cursor = encode_place("entry", shown[-1].id) if len(entries) > len(shown) else None
    page = AuditEntryPage([audit_entry_to_json(entry) for entry in shown], cursor)
    return make_cached_reply(request, page, link=make_next_link(request.path, request.query, cursor))


def _get_text(request: web.Request, name: str) -> str | None:
    value = request.query.get(name)
    if value is not None and (len(value) > TEXT_MAX or not value.isprintable()):
        raise bad_request(f"{name} is longer than {TEXT_MAX} characters, or unprintable", param=name)
    return value
