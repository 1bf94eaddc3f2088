"""GET /api/schema: the JSON Schema of a manifest, with all vendors of this server, plug-ins included.

It equals ``schemas/agent.schema.json``, for editors, and for pages that make their forms from it.
"""

from __future__ import annotations

from aiohttp import web

from agentsd.control.validation.schema import share_schemas
from agentsd.web.context import APP_CONTEXT
from agentsd.web.http.conditional import make_static_handler


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource. The response is made once: the catalog does not change."""
    return [
        web.get(
            "/api/schema",
            make_static_handler(lambda request: share_schemas(request.app[APP_CONTEXT].catalog).agent),
        )
    ]
