"""Components of the application and the keys by which handlers reach them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from aiohttp import web

from agentsd.control.sync.planner import Planner
from agentsd.control.writeback.writer import WriteBack
from agentsd.providers.base import Knowledge
from agentsd.providers.catalog import Catalog
from agentsd.runtime.agents.registry import Registry
from agentsd.runtime.follower.follower import Follower
from agentsd.runtime.follower.run_feed import RunFeed
from agentsd.store.database import Database
from agentsd.supervisor import Supervisor
from agentsd.telemetry import Metrics
from agentsd.web.metrics import WebMetrics
from agentsd.web.middleware.auth import AccessPolicy
from agentsd.web.middleware.policies import Policies
from agentsd.web.middleware.webhook_signature import GitWebhook
from agentsd.web.views.agent_cache import AgentViewCache

MAX_BODY = 8 << 20
"""Bytes of a request's body, decompressed; conversations with pictures are large."""


@dataclass(frozen=True, slots=True)
class AppContext:
    """Components of the application, made by the composition root. The application closes none of them."""

    registry: Registry
    follower: Follower
    database: Database
    catalog: Catalog
    metrics: Metrics
    access: AccessPolicy = field(default_factory=AccessPolicy)
    files: str = "agents.d"  # where the manifests live, as people are told
    max_body: int = MAX_BODY
    guards: Policies = field(default_factory=Policies)
    writeback: WriteBack | None = None  # None: this server writes no files
    knowledge: Knowledge | None = None  # None: agents answer without their documents
    timeline: RunFeed | None = None  # None: /api/events tells of agents alone
    hook: GitWebhook | None = None  # None: forges have nothing to call here
    planner: Planner | None = None  # None: this server sees no files
    supervisor: Supervisor | None = None  # None: nobody reports on background tasks


APP_CONTEXT = web.AppKey("parts", AppContext)
AGENT_VIEWS = web.AppKey("views", AgentViewCache)
WEB_METRICS = web.AppKey("web_metrics", WebMetrics)
CLOSING = web.AppKey("closing", asyncio.Event)
"""Set when the server stops: event streams end, so that it need not wait for them."""
LEAVING = web.AppKey("leaving", asyncio.Event)
"""Set when the server is about to stop: it serves, and asks not to be sent any more."""
