"""POST /api/agents/{agent}/tools/{tool}: runs one tool of an agent by hand, for an editor, and records it.

The status is 200 whatever the tool did: ``outcome`` contains the result. No consent is asked: whoever may
edit the agent asks for the call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from agentsd.control.status.audit import record_action
from agentsd.core.errors import AgentNotFound
from agentsd.core.manifest.tool_schema import InvalidArguments
from agentsd.core.names import slug_from_url
from agentsd.providers.base import LiveAgent
from agentsd.providers.tool import Tool, ToolOutcome, ToolResult
from agentsd.services.tools.executor import run_tool
from agentsd.web.agent_lookup import find_agent, lease_agent, require_writer
from agentsd.web.context import APP_CONTEXT
from agentsd.web.http.problem import Problem, bad_request
from agentsd.web.http.reply import make_reply
from agentsd.web.json_body import RequestModel, parse_model, read_json_object
from agentsd.web.openai.models import make_agent_headers

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
    principal = require_writer(request, entry.row.owner)
    wanted = parse_model(ToolRun, await read_json_object(request))
    async with lease_agent(request, entry) as agent:
        tool = _find_tool(agent, request.match_info["tool"])
        result = await _run_checked(tool, wanted)
        headers = make_agent_headers(agent)
    name = tool.definition.name
    await record_action(
        request.app[APP_CONTEXT].database,
        principal.actor,
        "run-tool",
        entry.row.slug,
        outcome="done" if result.ok else "failed",
        status=200,
        code=result.outcome,
        path=f"tools/{name}",
    )
    reply = ToolRunReply(name, result.outcome, result.text, round(result.milliseconds, 3))
    return make_reply(reply, headers=headers)


async def _run_checked(tool: Tool, wanted: ToolRun) -> ToolResult:
    try:
        arguments = tool.definition.arguments.check(wanted.arguments)
    except InvalidArguments as error:
        return ToolResult("invalid_arguments", str(error))
    return await run_tool(tool, arguments, wanted.variables)


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
