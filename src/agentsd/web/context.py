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
from agentsd.runtime.follower.run_feed import Timeline
from agentsd.store.database import Database
from agentsd.supervisor import Supervisor
from agentsd.telemetry import Metrics
from agentsd.web.metrics import WebMetrics
from agentsd.web.middleware.auth import Access
from agentsd.web.middleware.policies import Guards
from agentsd.web.middleware.webhook_signature import Hook
from agentsd.web.views.agent_cache import Views

MAX_BODY = 8 << 20
"""Bytes of a request's body, decompressed; conversations with pictures are large."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Components of the application, made by the composition root. The application closes none of them."""

    registry: Registry
    follower: Follower
    database: Database
    catalog: Catalog
    metrics: Metrics
    access: Access = field(default_factory=Access)
    files: str = "agents.d"  # where the manifests live, as people are told
    max_body: int = MAX_BODY
    guards: Guards = field(default_factory=Guards)
    writeback: WriteBack | None = None  # None: this server writes no files
    knowledge: Knowledge | None = None  # None: agents answer without their documents
    timeline: Timeline | None = None  # None: /api/events tells of agents alone
    hook: Hook | None = None  # None: forges have nothing to call here
    planner: Planner | None = None  # None: this server sees no files
    supervisor: Supervisor | None = None  # None: nobody reports on background tasks


PARTS = web.AppKey("parts", Parts)
VIEWS = web.AppKey("views", Views)
WEB_METRICS = web.AppKey("web_metrics", WebMetrics)
CLOSING = web.AppKey("closing", asyncio.Event)
"""Set when the server stops: event streams end, so that it need not wait for them."""
LEAVING = web.AppKey("leaving", asyncio.Event)
"""Set when the server is about to stop: it serves, and asks not to be sent any more."""
