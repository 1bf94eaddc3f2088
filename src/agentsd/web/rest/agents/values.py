"""GET /api/agents/{agent}/values: what a manifest says with its layers, and where each value stands."""

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
    """This resource's routes."""
    return [web.get("/api/agents/{agent}/values", get)]


async def get(request: web.Request) -> web.Response:
    """``{"items", "digest", "commit", "version"}``; of the built-in agent, which no file describes, no items.

    A manifest may have a megabyte, so it is read beside the loop.
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
    """Every value of the effective manifest, masked. None where it cannot be read: the condition says why."""
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
