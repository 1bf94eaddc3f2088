"""GET /healthz (the process answers) and /readyz (it has agents to serve, with or without Postgres)."""

from __future__ import annotations

import math
from typing import Annotated, Literal, NotRequired

from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict

from agentsd.core.access import NOBODY, Principal
from agentsd.web.agent_lookup import get_principal
from agentsd.web.context import APP_CONTEXT, LEAVING, AppContext
from agentsd.web.http.reply import Count, make_reply

StoreState = Literal["ok", "read-only", "away"]

STORE_AWAY_SECONDS = 15.0
"""Seconds without contact after which the store counts as away."""


class AliveReply(TypedDict):
    """The process answers."""

    status: Literal["ok"]


class RuntimeState(TypedDict):
    """State of the runtime. A probe without a token gets no count of agents."""

    version: Count
    age_seconds: Annotated[float | None, Field(ge=0, description="Since Postgres last answered.")]
    from_disk: Annotated[
        bool, Field(description="An earlier run's snapshot is served, as old as `age_seconds`.")
    ]
    store: Annotated[StoreState, Field(description="`read-only`: it answers, and accepts no edit for now.")]
    failing_tasks: Annotated[
        list[str],
        Field(description="Background tasks that were restarted and have not run steadily since."),
    ]
    agents: NotRequired[Count]
    degraded: NotRequired[Count]


class ReadinessReply(RuntimeState):
    """Readiness, with the state of the runtime."""

    status: Literal["ready", "loading", "stopping"]


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.get("/healthz", get_liveness), web.get("/readyz", get_readiness)]


async def get_liveness(request: web.Request) -> web.Response:
    """Return 200, always."""
    return make_reply(AliveReply(status="ok"))


async def get_readiness(request: web.Request) -> web.Response:
    """Return 503 before the first load and while the server is leaving, else 200, also without Postgres."""
    parts = request.app[APP_CONTEXT]
    status: Literal["ready", "loading", "stopping"] = "ready" if parts.follower.ready.is_set() else "loading"
    if request.app[LEAVING].is_set():
        status = "stopping"
    body: ReadinessReply = {"status": status, **make_runtime_state(parts, get_principal(request))}
    return make_reply(body, 200 if status == "ready" else 503)


def make_runtime_state(parts: AppContext, principal: Principal) -> RuntimeState:
    """Return the state of the runtime without a query to Postgres.

    Only agents visible to the principal are counted.
    """
    snapshot, scope, age = parts.registry.snapshot, principal.scope, parts.follower.age()
    state: RuntimeState = {
        "version": snapshot.version,
        "age_seconds": round(age, 3) if age < math.inf else None,
        "from_disk": parts.follower.recalled is not None,
        "store": get_store_state(parts),
        "failing_tasks": [one.task for one in parts.supervisor.failing()] if parts.supervisor else [],
    }
    if principal is not NOBODY:
        state["agents"] = len(snapshot.entries if scope is None else snapshot.slugs(scope))
        state["degraded"] = len(parts.registry.problems(owner=scope))
    return state


def get_store_state(parts: AppContext) -> StoreState:
    """Return ``ok``, ``read-only`` (Postgres answers but accepts no edit for now) or ``away``."""
    if parts.follower.problem or parts.follower.age() > STORE_AWAY_SECONDS:
        return "away"
    return "read-only" if parts.database.read_only else "ok"
