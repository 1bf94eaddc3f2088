"""GET /api/schema: the JSON Schema of a manifest, with the vendors that this server knows, plugins too.

The same as ``schemas/agent.schema.json``, for editors, and for pages that make their forms of it.
"""

from __future__ import annotations

from aiohttp import web

from agentsd.control.validation.schema import Schemas
from agentsd.web.context import PARTS
from agentsd.web.http.caching import made_once


def routes() -> list[web.RouteDef]:
    """This resource's routes. The reply is made once: the catalog does not change."""
    return [web.get("/api/schema", made_once(lambda request: Schemas(request.app[PARTS].catalog).agent))]
