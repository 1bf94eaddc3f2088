"""GET /api/agents/{agent}/values: values of a manifest with its layers, and the place of each one."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from agentsd.core.errors import InvalidManifests
from agentsd.core.manifest.agent import AgentRow
from agentsd.core.manifest.layers import effective
from agentsd.core.manifest.value_origins import Origin, origins
from agentsd.core.secret import MASK
from agentsd.core.trust.rules import DestinationsOf
from agentsd.core.violations import dotted
from agentsd.web.agent_lookup import find
from agentsd.web.context import PARTS, VIEWS
from agentsd.web.http.caching import cached, etag_of
from agentsd.web.http.json import to_json
from agentsd.web.views.masking import Masker


def routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.get("/api/agents/{agent}/values", get)]


async def get(request: web.Request) -> web.Response:
    """Return ``{"items", "digest", "commit", "version"}``; no items for the built-in agent without a file.

    A manifest may have a megabyte, so it is read outside the event loop.
    """
    entry = find(request, request.match_info["agent"])
    if entry is None:
        built_in = request.app[PARTS].registry.fallback
        body = _body([], built_in.digest, None, built_in.version)
    else:
        views = request.app[VIEWS]
        body = await asyncio.to_thread(_read, entry.row, views.masker, views.destinations)
    return cached(request, body, etag_of(body))


def values_of(row: AgentRow, masker: Masker, destinations: DestinationsOf) -> list[Origin]:
    """Return every value of the effective manifest, masked.

    The list is empty where the manifest cannot be read: the condition contains the reason.
    """
    try:
        document = effective(row.path, row.data, row.layers, destinations)
    except InvalidManifests:
        return []
    masked = masker.mask(document.value)
    return list(origins(document, masked)) if masked else []


def _read(row: AgentRow, masker: Masker, destinations: DestinationsOf) -> bytes:
    return _body(values_of(row, masker, destinations), row.digest, row.commit, row.version)


def _body(found: list[Origin], digest: bytes, commit: str | None, version: int) -> bytes:
    items = [_item(one) for one in found]
    return to_json({"items": items, "digest": digest.hex(), "commit": commit, "version": version})


def _item(one: Origin) -> dict[str, Any]:
    return {
        "pointer": dotted(one.pointer),
        "value": one.value,
        "secret": one.value == MASK,
        "path": one.path,
        "line": one.line,
        "column": one.column,
    }
