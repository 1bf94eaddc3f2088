"""GET /api/agents/{agent}/activity: turns, failures and times of an agent, for a range of time.

What Postgres has of all replicas, and what this one has not written yet: less than a minute.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from aiohttp import web

from agentsd.core.errors import StoreError
from agentsd.core.ledger.status import AgentStatus
from agentsd.store.ledger.activity import ActivityRow, load_activity
from agentsd.web.agent_lookup import find_agent
from agentsd.web.context import AGENT_VIEWS, APP_CONTEXT, AppContext
from agentsd.web.http.reply import make_reply
from agentsd.web.views.activity import RANGES, SPANS, find_start, make_activity_reply
from agentsd.web.views.pagination import check_names, parse_choice
from agentsd.web.views.statuses import StatusReply


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.get("/api/agents/{agent}/activity", get_activity)]


async def get_activity(request: web.Request) -> web.Response:
    """Return the activity of one agent; of its whole past, whichever owner it had."""
    check_names([name for name, _ in request.query.items()], ("range",))
    name = parse_choice(request.query, "range", RANGES) or "24h"
    parts, now = request.app[APP_CONTEXT], datetime.now(UTC)
    entry = find_agent(request, request.match_info["agent"])
    agent = entry.row.id if entry is not None else parts.registry.fallback.id
    slug = entry.row.slug if entry is not None else parts.registry.fallback.slug
    status = request.app[AGENT_VIEWS].statuses.of(entry) if entry is not None else AgentStatus("Ready")
    rows, complete = await _load_rows(parts, agent, find_start(SPANS[name], now))
    test = parts.ledger.health.find(agent).test if parts.ledger is not None else None
    return make_reply(
        make_activity_reply(name, now, rows, StatusReply.of(status), test, slug, complete=complete)
    )


async def _load_rows(parts: AppContext, agent: UUID, since: datetime) -> tuple[list[ActivityRow], bool]:
    """Return the minutes of an agent, and whether those of all replicas are among them."""
    own = parts.ledger.activity.read(agent) if parts.ledger is not None else []
    try:
        async with parts.database.transaction(snapshot=True) as connection:
            return [*await load_activity(connection, agent, since), *own], True
    except StoreError:
        return own, False
