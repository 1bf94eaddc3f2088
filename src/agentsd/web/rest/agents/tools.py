"""POST /api/agents/{agent}/tools/{tool}: runs one tool of an agent by hand, for an editor, and records it.

The status is 200 whatever the tool did: ``outcome`` contains the result. No consent is asked: whoever may
edit the agent asks for the call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from agentsd.control.status.audit import ActionOutcome, record_action
from agentsd.core.errors import AgentNotFound
from agentsd.core.manifest.tool_schema import InvalidArguments
from agentsd.core.names import slug_from_url
from agentsd.providers.base import LiveAgent
from agentsd.providers.tool import Tool, ToolOutcome, ToolResult
from agentsd.services.tools.executor import run_tool
from agentsd.services.variables import bind_agent
from agentsd.web.agent_lookup import find_agent, get_principal, lease_agent, require_writer
from agentsd.web.context import APP_CONTEXT
from agentsd.web.http.problem import Problem, bad_request
from agentsd.web.http.reply import make_reply
from agentsd.web.json_body import RequestModel, parse_model, read_json_object
from agentsd.web.openai.models import make_agent_headers

NAME_MAX = 64
"""Characters of a tool's name that are recorded."""
TOOL_PATH = "/api/agents/{agent}/tools/{tool}"


class ToolRun(RequestModel):
    """Call of a tool."""

    arguments: Annotated[dict[str, Any], Field(description="Checked by the tool's schema.")] = {}  # noqa: RUF012
    variables: Annotated[
        dict[str, Any], Field(description="Values of the manifest's variables, by name.")
    ] = {}  # noqa: RUF012


@dataclass(frozen=True)
class ToolRunReply:
    """Result of a call."""

    name: str
    outcome: Annotated[ToolOutcome, Field(description="`ok`, or how it failed.")]
    output: Annotated[str, Field(description="What a model would read.")]
    milliseconds: float


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post(TOOL_PATH, run_agent_tool)]


async def run_agent_tool(request: web.Request) -> web.Response:
    """Run the tool of the version that is served now."""
    entry = find_agent(request, request.match_info["agent"])
    if entry is None:  # the built-in agent has no tools
        raise AgentNotFound(request.match_info["agent"])
    try:
        require_writer(request, entry.row.owner)
    except Problem as problem:
        await _record(request, entry.row.slug, "refused", problem.status, problem.code)
        raise
    wanted = parse_model(ToolRun, await read_json_object(request))
    async with lease_agent(request, entry) as agent:
        tool = _find_tool(agent, request.match_info["tool"])
        result = await _run_checked(tool, wanted, bind_agent(agent, {"variables": wanted.variables}))
        headers = make_agent_headers(agent)
    await _record(request, entry.row.slug, "done" if result.ok else "failed", 200, result.outcome)
    name = tool.definition.name
    reply = ToolRunReply(name, result.outcome, result.text, round(result.milliseconds, 3))
    return make_reply(reply, headers=headers)


async def _record(request: web.Request, slug: str, outcome: ActionOutcome, status: int, code: str) -> None:
    """Record who ran, or was refused to run, which tool of which agent; no argument and no result."""
    name = request.match_info["tool"][:NAME_MAX]
    await record_action(
        request.app[APP_CONTEXT].database,
        get_principal(request).actor,
        "run-tool",
        slug,
        outcome=outcome,
        status=status,
        code=code,
        path=f"tools/{name}",
    )


async def _run_checked(tool: Tool, wanted: ToolRun, agent: LiveAgent) -> ToolResult:
    try:
        arguments = tool.definition.arguments.check(wanted.arguments)
    except InvalidArguments as error:
        return ToolResult("invalid_arguments", str(error))
    return await run_tool(tool, arguments, agent.values)


def _find_tool(agent: LiveAgent, name: str) -> Tool:
    """Return the tool of this name. Raise ``Problem`` 404, and 400 for one that the client runs."""
    for tool in agent.tools:
        if tool.definition.name != name:
            continue
        if not tool.definition.runs_here:
            raise bad_request("the client runs this tool", hint="only your application has it", param="tool")
        return tool
    names = ", ".join(tool.definition.name for tool in agent.tools)
    hint = f"tools of the served version: {names or 'none'}"
    raise Problem(404, "tool_not_found", f"{slug_from_url(agent.slug)} has no such tool", hint=hint)
