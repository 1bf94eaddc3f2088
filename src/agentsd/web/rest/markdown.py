"""POST /api/markdown: Markdown as a tree of elements, from which pages build their nodes."""

from __future__ import annotations

from aiohttp import web

from agentsd.core.errors import SandboxError
from agentsd.sandbox.limits import Limits
from agentsd.sandbox.shared import shared_sandbox
from agentsd.web.agent_lookup import principal_of
from agentsd.web.http.caching import JSON
from agentsd.web.http.problem import bad_request
from agentsd.web.json_body import json_object, too_large
from agentsd.web.views.markdown_tree import MAX_BYTES, plain_reply, reply

_BODY_BYTES = 6 * MAX_BYTES + 1024  # as JSON a character may be written \\u0041
_INLINE_BYTES = 256
"""What is parsed in a few milliseconds, hostile as it may be, is not worth a worker."""
_LIMITS = Limits(memory=256 << 20, cpu_seconds=2.0, wall_seconds=5.0, output_bytes=16 << 20)


def routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post("/api/markdown", markdown)]


async def markdown(request: web.Request) -> web.Response:
    """Return the tree of ``text``. Each owner has one worker at a time, for any number of its pages."""
    body = await json_object(request, limit=_BODY_BYTES)
    text = body.get("text")
    if not isinstance(text, str):
        raise bad_request("text must be a string", param="text")
    size = len(text.encode())
    if size > MAX_BYTES:
        raise too_large(MAX_BYTES)
    owner = principal_of(request).owner
    return web.Response(body=await _reply(text, owner, inline=size <= _INLINE_BYTES), content_type=JSON)


async def _reply(text: str, owner: str, *, inline: bool) -> bytes:
    if inline:
        return reply(text)
    try:
        return await shared_sandbox().run(reply, text, limits=_LIMITS, key=owner)
    except (SandboxError, OSError):
        return plain_reply(text)
