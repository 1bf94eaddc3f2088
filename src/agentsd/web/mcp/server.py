"""The official SDK's server over our tools; ``endpoint`` imports it, and with it ``mcp``, when it is needed.

Every request gets a session manager of its own, so nothing of one client outlives its request: no
session, no task, no stream. What the SDK keeps between requests is the table of tools alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web
from mcp import MCPError
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from agentsd import __version__
from agentsd.supervisor import ENDING_ERRORS
from agentsd.web.agent_lookup import get_principal
from agentsd.web.context import APP_CONTEXT
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import Problem
from agentsd.web.json_body import parse_model
from agentsd.web.mcp.asgi import AsgiReply, make_receive, make_scope
from agentsd.web.mcp.tools import TOOLS, McpTool, make_role_problem
from agentsd.web.middleware.request import make_problem

RESULT_BYTES_MAX = 1 << 20
"""Bytes of a result: more would not fit into an assistant's context either."""

REQUEST_KEY = "agentsd.request"
"""Key of the aiohttp request in the ASGI scope."""

INSTRUCTIONS = (
    "Agents for chat and calls, kept as YAML in git. Read an agent before you propose an edit, and pass its "
    "digest along. An edit is a commit, or waits on a branch for review; show its diff to the user."
)

_RANKS = {"viewer": 0, "editor": 1, "admin": 2}
_BY_NAME = {tool.name: tool for tool in TOOLS}

_Context = ServerRequestContext[Any, Any]


def make_answer() -> Callable[[web.Request, bytes], Awaitable[web.Response]]:
    """Return the function that answers one message, which has passed the checks of ``endpoint``."""
    server = _make_server()

    async def answer(request: web.Request, body: bytes) -> web.Response:
        manager = StreamableHTTPSessionManager(
            server, json_response=True, stateless=True, max_request_body_size=len(body) + 1
        )
        reply = AsgiReply()
        async with manager.run():
            scope = make_scope(request) | {REQUEST_KEY: request}
            await manager.handle_request(scope, make_receive(body), reply.send)
        return reply.make_response()

    return answer


def _make_server() -> Server[Any]:
    """Return the server of all tools, which is the same for all clients."""
    server: Server[Any] = Server(
        "agentsd",
        version=__version__,
        title="agentsd",
        instructions=INSTRUCTIONS,
        on_list_tools=_list_tools,
        on_call_tool=_call_tool,
        get_tool_input_schema=_find_schema,
    )
    server.middleware.clear()  # of OpenTelemetry: spans are not the SDK's to make
    return server


def _find_schema(name: str) -> dict[str, Any] | None:
    tool = _BY_NAME.get(name)
    return tool.input_schema if tool is not None else None


async def _list_tools(context: _Context, _: PaginatedRequestParams | None) -> ListToolsResult:
    """Return the tools that the caller's role may call."""
    role = get_principal(_get_request(context)).role
    return ListToolsResult(tools=[_describe_tool(one) for one in TOOLS if _RANKS[role] >= _RANKS[one.role]])


def _describe_tool(tool: McpTool) -> Tool:
    return Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema,
        annotations=ToolAnnotations(
            read_only_hint=not tool.writes,
            destructive_hint=False,  # every edit is a commit, which can be reverted
            idempotent_hint=not tool.reaches_vendors,
            open_world_hint=tool.reaches_vendors,
        ),
    )


async def _call_tool(context: _Context, params: CallToolRequestParams) -> CallToolResult:
    """Run one tool; what goes wrong in it is a result that the model can read."""
    tool = _BY_NAME.get(params.name)
    if tool is None:
        raise MCPError(INVALID_PARAMS, "there is no such tool", {"known": list(_BY_NAME)})
    request = _get_request(context)
    try:
        return _make_result(await _run_tool(request, tool, params.arguments or {}))
    except ENDING_ERRORS:
        raise
    except BaseException as error:  # a plug-in's SystemExit, a panic in native code
        problem = make_problem(error, request)
    return _make_failure(problem)


async def _run_tool(request: web.Request, tool: McpTool, arguments: dict[str, Any]) -> Any:
    principal = get_principal(request)
    if _RANKS[principal.role] < _RANKS[tool.role]:
        raise make_role_problem(tool.role)
    wanted = parse_model(tool.arguments, arguments, status=422)
    budgets = request.app[APP_CONTEXT].guards.budgets
    if budgets is None or not tool.expensive:
        return await tool.run(request, wanted)
    with budgets.hold_work(principal):
        return await tool.run(request, wanted)


def _make_result(value: Any) -> CallToolResult:
    data = value if isinstance(value, bytes) else to_json(value)
    if len(data) > RESULT_BYTES_MAX:
        hint = "ask for less: a smaller page, or one agent"
        raise Problem(
            413, "result_too_large", f"the result is larger than {RESULT_BYTES_MAX} bytes", hint=hint
        )
    return CallToolResult(
        content=[TextContent(type="text", text=data.decode())], structured_content=orjson.loads(data)
    )


def _make_failure(problem: Problem) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(type="text", text=problem.text)],
        structured_content={"problem": problem.as_problem()},
        is_error=True,
    )


def _get_request(context: _Context) -> web.Request:
    request: web.Request = context.request.scope[REQUEST_KEY]  # type: ignore[union-attr]
    return request
