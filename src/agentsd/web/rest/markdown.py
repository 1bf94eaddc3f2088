"""POST /api/markdown: Markdown as a tree of elements, from which pages build their nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from aiohttp import web
from pydantic import Field

from agentsd.core.errors import SandboxError
from agentsd.sandbox.limits import CallLimits
from agentsd.sandbox.shared import get_shared_sandbox
from agentsd.web.agent_lookup import get_principal
from agentsd.web.http.reply import make_reply
from agentsd.web.json_body import RequestModel, make_too_large, parse_model, read_json_object
from agentsd.web.views.markdown_tree import MAX_BYTES, MarkdownNode, encode_plain, encode_tree

_BODY_BYTES_MAX = 6 * MAX_BYTES + 1024  # JSON may escape a character as \\u0041
_INLINE_BYTES_MAX = 256
"""Shorter texts are parsed in a few milliseconds, even hostile ones, and need no worker."""
_LIMITS = CallLimits(memory=256 << 20, cpu_seconds=2.0, wall_seconds=5.0, output_bytes=16 << 20)


class MarkdownText(RequestModel):
    """Text in Markdown."""

    text: Annotated[
        str,
        Field(description=f"At most {MAX_BYTES >> 10} KiB.", json_schema_extra={"maxLength": MAX_BYTES}),
    ]


@dataclass(frozen=True)
class MarkdownReply:
    """Tree of a text."""

    nodes: list[MarkdownNode]


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post("/api/markdown", render_markdown)]


async def render_markdown(request: web.Request) -> web.Response:
    """Return the tree of ``text``. Each owner has one worker at a time, for any number of its pages."""
    text = parse_model(MarkdownText, await read_json_object(request, limit=_BODY_BYTES_MAX)).text
    size = len(text.encode())
    if size > MAX_BYTES:
        raise make_too_large(MAX_BYTES)
    owner = get_principal(request).owner
    return make_reply(await _encode_nodes(text, owner, inline=size <= _INLINE_BYTES_MAX))


async def _encode_nodes(text: str, owner: str, *, inline: bool) -> bytes:
    if inline:
        return encode_tree(text)
    try:
        return await get_shared_sandbox().run(encode_tree, text, limits=_LIMITS, key=owner)
    except (SandboxError, OSError):
        return encode_plain(text)
