"""The app: one resource per file, one middleware, no state but what ``Parts`` brings."""

from __future__ import annotations

import asyncio

from aiohttp import web

from agentsd.control.sketching import Sketchpad
from agentsd.core.agent import SECTIONS
from agentsd.services.voicebot.metrics import VoiceMetrics
from agentsd.web import (
    agents,
    audit,
    chat,
    embeddings,
    events,
    health,
    hooks,
    markdown,
    metrics,
    models,
    providers,
    realtime,
    revisions,
    schema,
    selection,
    session,
    speech,
    sync,
    testing,
    transcriptions,
    users,
    values,
    writing,
)
from agentsd.web.masking import Masker, secret_names
from agentsd.web.metrics import WebMetrics
from agentsd.web.middleware import border
from agentsd.web.openapi import handlers as openapi
from agentsd.web.parts import CLOSING, LEAVING, PARTS, VIEWS, WEB_METRICS, Parts
from agentsd.web.previewing import SKETCHPAD
from agentsd.web.rendering import Views
from agentsd.web.ui import pages as ui


def create_app(parts: Parts) -> web.Application:
    """The HTTP interface over ``parts``. Give it to ``server.start``."""
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
