"""GET /api/schema: the JSON Schema of a manifest, with the vendors that this server knows, plugins too.

The same as ``schemas/agent.schema.json``, for editors, and for pages that make their forms of it.
"""

from __future__ import annotations

from aiohttp import web

from agentsd.control.schemas import Schemas
from agentsd.web.encoding import to_json
from agentsd.web.parts import PARTS
from agentsd.web.replies import cached, etag_of


def routes() -> list[web.RouteDef]:
    """This resource's routes. The reply is made once: the catalog does not change."""
    kept: list[tuple[bytes, str]] = []

    async def get(request: web.Request) -> web.Response:
        if not kept:
            body = to_json(Schemas(request.app[PARTS].catalog).agent)
            kept.append((body, etag_of(body)))
        return cached(request, *kept[0])

    return [web.get("/api/schema", get)]
