"""Application: one resource per file, one middleware, no state but that of ``AppContext``."""

from __future__ import annotations

import asyncio

from aiohttp import web

from agentsd.control.writeback.offline_preview import Sketchpad
from agentsd.core.manifest.agent import SECTIONS
from agentsd.services.voicebot.metrics import VoiceMetrics
from agentsd.web import metrics
from agentsd.web.context import CLOSING, LEAVING, PARTS, VIEWS, WEB_METRICS, Parts
from agentsd.web.metrics import WebMetrics
from agentsd.web.middleware.request import border
from agentsd.web.openai import chat_completions as chat
from agentsd.web.openai import embeddings, models, speech, transcriptions
from agentsd.web.openai.realtime import endpoint as realtime
from agentsd.web.openapi import handlers as openapi
from agentsd.web.rest import audit, events, health, markdown, providers, schema, session, sync, users
from agentsd.web.rest import git_webhook as hooks
from agentsd.web.rest.agents import probe as testing
from agentsd.web.rest.agents import read as agents
from agentsd.web.rest.agents import revisions, values
from agentsd.web.rest.agents import select as selection
from agentsd.web.rest.agents import write as writing
from agentsd.web.rest.agents.dry_run import SKETCHPAD
from agentsd.web.ui import pages as ui
from agentsd.web.views.agent_cache import Views
from agentsd.web.views.masking import Masker, secret_names


def create_app(parts: Parts) -> web.Application:
    """Create the HTTP interface over ``parts``, to be passed to ``server.start_server``."""
    web_metrics = WebMetrics(parts.metrics)
    app = web.Application(
        middlewares=[border(parts.access, web_metrics, parts.guards)],
        client_max_size=parts.max_body,
    )
    app[PARTS] = parts
    app[WEB_METRICS] = web_metrics
    app[VIEWS] = Views(_masker(parts), parts.catalog.destinations)
    app[SKETCHPAD] = Sketchpad(parts.catalog)
    app[CLOSING] = asyncio.Event()
    app[LEAVING] = asyncio.Event()
    app[realtime.VOICE_METRICS] = VoiceMetrics(parts.metrics)
    app.on_shutdown.append(_close_streams)
    revisions.install(app)
    parts.guards.install(app)
    app.add_routes(_routes(parts))
    return app


def _routes(parts: Parts) -> list[web.RouteDef]:
    return [
        *agents.routes(),
        *writing.routes(),
        *testing.routes(),
        *selection.routes(),
        *session.routes(),
        *revisions.routes(),
        *values.routes(),
        *providers.routes(),
        *schema.routes(),
        *sync.routes(),
        *audit.routes(),
        *users.routes(),
        *events.routes(),
        *models.routes(),
        *chat.routes(),
        *markdown.routes(),
        *speech.routes(),
        *transcriptions.routes(),
        *embeddings.routes(),
        *realtime.routes(),
        *hooks.routes(),
        *health.routes(),
        *metrics.routes(parts.metrics),
        *openapi.routes(),
        *ui.routes(),
    ]


def _masker(parts: Parts) -> Masker:
    catalog = parts.catalog
    return Masker(secret_names(vendor.settings for kind in SECTIONS for vendor in catalog.of(kind).values()))


async def _close_streams(app: web.Application) -> None:
    app[CLOSING].set()
