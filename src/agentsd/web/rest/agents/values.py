"""GET /api/agents/{agent}/values: values of a manifest with its layers, and the place of each one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

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
from agentsd.web.http.reply import Count, Place, make_cached_reply
from agentsd.web.views.agent import Digest
from agentsd.web.views.pagination import NextCursor, encode_place, make_next_link, parse_page_query


@dataclass(frozen=True)
class ValueReply:
    """Value that contains no other, and its place."""

    pointer: Annotated[str, Field(description="The field's pointer in the manifest.", examples=["llm.model"])]
    value: Annotated[Any, Field(description="`**********` for a secret.")]
    secret: Annotated[bool, Field(description="Whether the value is masked.")]
    path: Annotated[str, Field(description="The file, in the folder of manifests.")]
    line: Place
    column: Place

    @classmethod
    def of(cls, one: ValueOrigin) -> ValueReply:
        """Return the reply for one value."""
        pointer = format_pointer(one.pointer)
        return cls(pointer, one.value, one.value == MASK, one.path, one.line, one.column)


@dataclass(frozen=True)
class ValuePage:
    """Page of an agent's values, in the order of its manifest."""

    items: list[ValueReply]
    next_cursor: NextCursor
    digest: Digest
    commit: str | None
    version: Count


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.get("/api/agents/{agent}/values", get_values)]


async def get_values(request: web.Request) -> web.Response:
    """Return a page of values; none for the built-in agent without a file.

    A manifest may have a megabyte, so it is read outside the event loop.
    """
    query = parse_page_query(request.query, "value")
    start, end = query.number or 0, (query.number or 0) + query.limit
    entry = find_agent(request, request.match_info["agent"])
    found: list[ValueOrigin] = []
    if entry is not None:
        views = request.app[AGENT_VIEWS]
        found = await asyncio.to_thread(list_values, entry.row, views.masker, views.destinations)
    shown = entry.row if entry is not None else request.app[APP_CONTEXT].registry.fallback
    commit = entry.row.commit if entry is not None else None
    cursor = encode_place("value", end) if end < len(found) else None
    items = [ValueReply.of(one) for one in found[start:end]]
    page = ValuePage(items, cursor, shown.digest.hex(), commit, shown.version)
    return make_cached_reply(request, page, link=make_next_link(request.path, request.query, cursor))


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
