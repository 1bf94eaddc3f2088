"""GET /api/agents/{agent}/values: values of a manifest with its layers, and the place of each one."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from agentsd.core.errors import InvalidManifests
from agentsd.core.manifest.agent import AgentRow
from agentsd.core.manifest.layers import merge_stored_layers
from agentsd.core.manifest.value_origins import ValueOrigin, iter_origins
from agentsd.core.masker import Masker
from agentsd.core.secret import MASK
from agentsd.core.trust.rules import DestinationsOf
from agentsd.core.violations import format_pointer
from agentsd.web.agent_lookup import find_agent
from agentsd.web.context import AGENT_VIEWS, APP_CONTEXT
from agentsd.web.http.conditional import compute_etag, make_cached_response
from agentsd.web.http.json import to_json


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.get("/api/agents/{agent}/values", get_values)]


async def get_values(request: web.Request) -> web.Response:
    """Return ``{"items", "digest", "commit", "version"}``; no items for the built-in agent without a file.

    A manifest may have a megabyte, so it is read outside the event loop.
    """
    entry = find_agent(request, request.match_info["agent"])
    if entry is None:
        built_in = request.app[APP_CONTEXT].registry.fallback
        body = _make_body([], built_in.digest, None, built_in.version)
    else:
        views = request.app[AGENT_VIEWS]
        body = await asyncio.to_thread(_read_values, entry.row, views.masker, views.destinations)
    return make_cached_response(request, body, compute_etag(body))


def list_values(row: AgentRow, masker: Masker, destinations: DestinationsOf) -> list[ValueOrigin]:
    """Return every value of the effective manifest, masked.

    The list is empty where the manifest cannot be read: the condition contains the reason.
    """
    try:
        document = merge_stored_layers(row.path, row.data, row.layers, destinations)
    except InvalidManifests:
        return []
    masked = masker.mask(document.value)
    return list(iter_origins(document, masked)) if masked else []


def _read_values(row: AgentRow, masker: Masker, destinations: DestinationsOf) -> bytes:
    return _make_body(list_values(row, masker, destinations), row.digest, row.commit, row.version)


def _make_body(found: list[ValueOrigin], digest: bytes, commit: str | None, version: int) -> bytes:
    items = [_make_item(one) for one in found]
    return to_json({"items": items, "digest": digest.hex(), "commit": commit, "version": version})


def _make_item(one: ValueOrigin) -> dict[str, Any]:
    return {
        "pointer": format_pointer(one.pointer),
        "value": one.value,
        "secret": one.value == MASK,
        "path": one.path,
        "line": one.line,
        "column": one.column,
    }
