"""POST /mcp: streamable HTTP of the Model Context Protocol, stateless.

The middleware has checked ``Host``, ``Origin`` and token as for every request; a foreign ``Origin`` is
a 403, as the protocol's specification asks. One message is one request and one JSON reply: there is no
session, and no stream for a GET (405, as the specification allows). The SDK is imported at the first
request, in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Any

from aiohttp import web

from agentsd.web.http.json import to_json
from agentsd.web.http.problem import MCP_PATH, Problem, bad_request
from agentsd.web.json_body import read_json_object
from agentsd.web.rest.agents.write import BODY_BYTES_MAX

METHOD_CHARACTERS_MAX, ID_CHARACTERS_MAX = 100, 200
INSTALL = "pip install '.[mcp]'"

_Answer = Callable[[web.Request, bytes], Awaitable[web.Response]]


class McpServer:
    """The SDK's server, loaded when the first message comes."""

    def __init__(self) -> None:
        self._answer: _Answer | None = None

    async def answer(self, request: web.Request, body: bytes) -> web.Response:
        """Return the response to one message. Raise ``Problem`` 501 where the SDK is not installed."""
        if self._answer is None:
            self._answer = await asyncio.to_thread(_load_answer)
        return await self._answer(request, body)


def _load_answer() -> _Answer:
    if find_spec("mcp") is None:
        hint = f"in a clone of agentsd: {INSTALL}"
        raise Problem(501, "mcp_missing", "this server has no MCP library", hint=hint)
    from agentsd.web.mcp.server import make_answer

    return make_answer()


MCP_SERVER = web.AppKey("mcp_server", McpServer)


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post(MCP_PATH, answer_mcp)]


async def answer_mcp(request: web.Request) -> web.Response:
    """Return the response to one message."""
    message = await read_json_object(request, limit=BODY_BYTES_MAX)
    _check_envelope(message)
    return await request.app[MCP_SERVER].answer(request, to_json(message))


def _check_envelope(message: dict[str, Any]) -> None:
    """Refuse what is not a request or notification of JSON-RPC 2.0. Raise ``Problem`` 400."""
    method, sent_id = message.get("method"), message.get("id", "")
    if message.get("jsonrpc") != "2.0" or not isinstance(method, str) or len(method) > METHOD_CHARACTERS_MAX:
        hint = 'send {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}; clients of MCP do'
        raise bad_request("the body is not a message of JSON-RPC 2.0", hint=hint)
    if not isinstance(sent_id, (str, int)) or isinstance(sent_id, bool):
        raise bad_request("id must be a text or a whole number", param="id")
    if isinstance(sent_id, str) and len(sent_id) > ID_CHARACTERS_MAX:
        raise bad_request(f"id is longer than {ID_CHARACTERS_MAX} characters", param="id")
    if not isinstance(message.get("params", {}), dict):
        raise bad_request("params must be an object", param="params")
