"""Application: one resource per file, one middleware, no state but that of ``AppContext``."""

from __future__ import annotations

import asyncio

from aiohttp import web

from agentsd.control.writeback.offline_preview import OfflinePreviewFactory
from agentsd.services.tools.hidden_rounds import HiddenRoundStore
from agentsd.services.turn_records.sinks import TurnSinks
from agentsd.services.voicebot.metrics import VoiceMetrics
from agentsd.web import metrics
from agentsd.web.context import (
    ABILITIES,
    AGENT_VIEWS,
    APP_CONTEXT,
    CLOSING,
    LEAVING,
    TURN_SINKS,
    WEB_METRICS,
    AppContext,
)
from agentsd.web.http.request_id import add_request_id
from agentsd.web.mcp import endpoint as mcp
from agentsd.web.metrics import WebMetrics
from agentsd.web.middleware.request import request_middleware
from agentsd.web.openai import chat_completions as chat
from agentsd.web.openai import completions, embeddings, models, speech, transcriptions
from agentsd.web.openai.chat_tools import HIDDEN_ROUNDS
from agentsd.web.openai.realtime import endpoint as realtime
from agentsd.web.openai.responses import endpoint as responses
from agentsd.web.openai.responses.store import ResponseStore
from agentsd.web.openapi import handlers as openapi
from agentsd.web.rest import audit, events, health, markdown, providers, schema, session, sync, usage, users
from agentsd.web.rest import git_webhook as hooks
from agentsd.web.rest.agents import activity, files, revisions, values
from agentsd.web.rest.agents import probe as testing
from agentsd.web.rest.agents import read as agents
from agentsd.web.rest.agents import select as selection
from agentsd.web.rest.agents import tools as agent_tools
from agentsd.web.rest.agents import write as writing
from agentsd.web.rest.agents.dry_run import OFFLINE_PREVIEW
from agentsd.web.ui import pages as ui
from agentsd.web.views.abilities import AbilityCache
from agentsd.web.views.agent_cache import AgentViewCache
from agentsd.web.views.run_changes import RunChangesCache
from agentsd.web.views.statuses import AgentStatuses


def create_app(parts: AppContext) -> web.Application:
    """Create the HTTP interface over ``parts``, to be passed to ``server.start_server``."""
    web_metrics = WebMetrics(parts.metrics)
    app = web.Application(
        middlewares=[request_middleware(parts.access, web_metrics, parts.guards)],
        client_max_size=parts.max_body,
    )
    app[APP_CONTEXT] = parts
    app[WEB_METRICS] = web_metrics
    app[TURN_SINKS] = TurnSinks(parts.metrics)
    if parts.ledger is not None:
        app[TURN_SINKS].count("ledger", parts.ledger.count)
    app[ABILITIES] = AbilityCache(parts.catalog.make_masker(), parts.catalog.destinations)
    app[AGENT_VIEWS] = AgentViewCache(
        parts.catalog.make_masker(),
        parts.catalog.destinations,
        parts.catalog.list_missing,
        AgentStatuses(parts.ledger.health if parts.ledger else None, parts.timeline),
    )
    app[sync.RUN_CHANGES] = RunChangesCache()
    app[OFFLINE_PREVIEW] = OfflinePreviewFactory(parts.catalog)
    app[responses.RESPONSES] = ResponseStore()
    app[HIDDEN_ROUNDS] = HiddenRoundStore()
    app[mcp.MCP_SERVER] = mcp.McpServer()
    app[CLOSING] = asyncio.Event()
    app[LEAVING] = asyncio.Event()
    app[realtime.VOICE_METRICS] = VoiceMetrics(parts.metrics)
    app.on_response_prepare.append(add_request_id)
    app.on_shutdown.append(_close_streams)
    app.on_cleanup.append(_close_sinks)
    revisions.install_semaphore(app)
    parts.guards.install(app)
    app.add_routes(_make_routes(parts))
    return app


def _make_routes(parts: AppContext) -> list[web.RouteDef]:
    return [
        *agents.make_routes(),
        *writing.make_routes(),
        *testing.make_routes(),
        *agent_tools.make_routes(),
        *selection.make_routes(),
        *session.make_routes(),
        *revisions.make_routes(),
        *values.make_routes(),
        *files.make_routes(),
        *activity.make_routes(),
        *providers.make_routes(),
        *schema.make_routes(),
        *sync.make_routes(),
        *audit.make_routes(),
        *usage.make_routes(),
        *users.make_routes(),
        *events.make_routes(),
        *models.make_routes(),
        *chat.make_routes(),
        *completions.make_routes(),
        *responses.make_routes(),
        *markdown.make_routes(),
        *speech.make_routes(),
        *transcriptions.make_routes(),
        *embeddings.make_routes(),
        *realtime.make_routes(),
        *mcp.make_routes(),
        *hooks.make_routes(),
        *health.make_routes(),
        *metrics.make_routes(parts.metrics),
        *openapi.make_routes(),
        *ui.make_routes(),
    ]


async def _close_sinks(app: web.Application) -> None:
    await app[TURN_SINKS].aclose()


async def _close_streams(app: web.Application) -> None:
    app[CLOSING].set()
