"""Components of the application and the keys by which handlers reach them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from aiohttp import web

from agentsd.audio.sound_file import RecordingLimits
from agentsd.control.sync.planner import Planner
from agentsd.control.writeback.writer import WriteBack
from agentsd.providers.base import Knowledge
from agentsd.providers.catalog import Catalog
from agentsd.runtime.agents.registry import Registry
from agentsd.runtime.follower.follower import Follower
from agentsd.runtime.follower.run_feed import RunFeed
from agentsd.services.ledger.ledger import Ledger
from agentsd.services.turn_records.sinks import TurnSinks
from agentsd.store.database import Database
from agentsd.supervisor import Supervisor
from agentsd.telemetry import Metrics
from agentsd.web.metrics import WebMetrics
from agentsd.web.middleware.auth import AccessPolicy
from agentsd.web.middleware.policies import Policies
from agentsd.web.middleware.webhook_signature import GitWebhook
from agentsd.web.views.abilities import AbilityCache
from agentsd.web.views.agent_cache import AgentViewCache

KEEP_ALIVE_SECONDS = 5.0
"""Silence after which a streamed chat sends a comment."""
MAX_BODY = 8 << 20
"""Bytes of a request's body, decompressed; conversations with pictures are large."""
MAX_UPLOAD = 25 << 20
"""Bytes of a recording; OpenAI's own limit."""
MAX_CALLS = 100
"""Calls at a time: fewer than one core serves in time (docs/voice.md, "Capacity")."""


@dataclass(frozen=True, slots=True)
class AppContext:
    """Components of the application, made by the composition root. The application closes none of them."""

    registry: Registry
    follower: Follower
    database: Database
    catalog: Catalog
    metrics: Metrics
    access: AccessPolicy = field(default_factory=AccessPolicy)
    files: str = "agents.d"  # folder of the manifests, as displayed
    max_body: int = MAX_BODY
    max_upload: int = MAX_UPLOAD
    keep_alive_seconds: float = KEEP_ALIVE_SECONDS
    max_calls: int = MAX_CALLS
    guards: Policies = field(default_factory=Policies)
    writeback: WriteBack | None = None  # None: this server writes no files
    recordings: RecordingLimits = field(default_factory=RecordingLimits)
    knowledge: Knowledge | None = None  # None: agents answer without their documents
    timeline: RunFeed | None = None  # None: /api/events sends events of agents only
    hook: GitWebhook | None = None  # None: no webhook
    planner: Planner | None = None  # None: no access to the files
    supervisor: Supervisor | None = None  # None: background tasks are not reported
    ledger: Ledger | None = None  # None: turns are counted nowhere


APP_CONTEXT = web.AppKey("parts", AppContext)
ABILITIES = web.AppKey("abilities", AbilityCache)
AGENT_VIEWS = web.AppKey("views", AgentViewCache)
TURN_SINKS = web.AppKey("turn_sinks", TurnSinks)
WEB_METRICS = web.AppKey("web_metrics", WebMetrics)
CLOSING = web.AppKey("closing", asyncio.Event)
"""Set when the server stops: event streams end, so that the drain need not wait for them."""
LEAVING = web.AppKey("leaving", asyncio.Event)
"""Set when the server is about to stop: it still serves, but reports that it is not ready."""
