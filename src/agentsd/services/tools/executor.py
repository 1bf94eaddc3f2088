"""Executor of calls: arguments are checked, consent is asked, and whatever happens is a typed result."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from time import perf_counter
from typing import Any

import orjson

from agentsd.core.errors import AgentsdError
from agentsd.core.manifest.tool_schema import InvalidArguments
from agentsd.providers.base import LiveAgent
from agentsd.providers.tool import Tool, ToolDefinition, ToolOutcome, ToolResult
from agentsd.services.tools.events import ToolCall, ToolEnded
from agentsd.services.tools.turn import ToolTurn

GRACE_SECONDS = 1.0
"""Time beyond a tool's own limit, after which it is stopped from outside."""

_log = logging.getLogger(__name__)


async def execute_call(
    agent: LiveAgent, tools: Mapping[str, Tool], call: ToolCall, turn: ToolTurn
) -> ToolEnded:
    """Run one call of a model. Never raises but for a cancellation."""
    tool = tools.get(call.name)
    if tool is None:
        names = ", ".join(tools)
        return ToolEnded(call, ToolResult("unknown_tool", f"there is no such tool; there are: {names}"))
    if not tool.available:
        return ToolEnded(
            call, ToolResult("unavailable", "this tool cannot be used at the moment"), tool.definition
        )
    try:
        arguments = _parse_arguments(tool, call)
    except InvalidArguments as error:
        return ToolEnded(call, ToolResult("invalid_arguments", str(error)), tool.definition)
    if turn.read_only and not tool.definition.read_only:
        text = "not run: this is a test, and the tool may change something"
        return ToolEnded(call, ToolResult("refused", text), tool.definition)
    if tool.definition.confirm:
        refused = await _check_consent(agent, tool.definition, arguments, turn)
        if refused is not None:
            return ToolEnded(call, refused.result, tool.definition, refused.approval)
    return ToolEnded(call, await run_tool(tool, arguments, turn.variables), tool.definition)


def _parse_arguments(tool: Tool, call: ToolCall) -> dict[str, Any]:
    if call.cut:
        raise InvalidArguments("your answer was cut off before the arguments: call again, and write less")
    return tool.definition.arguments.parse(call.arguments)


async def run_tool(tool: Tool, arguments: Mapping[str, Any], variables: Mapping[str, Any]) -> ToolResult:
    """Run a tool with arguments that fit, within its time. Never raises but for a cancellation."""
    began = perf_counter()
    try:
        async with asyncio.timeout(tool.definition.timeout_seconds + GRACE_SECONDS):
            return await tool.run(arguments, variables)
    except TimeoutError:
        result = ToolResult("timeout", "the tool did not end in time")
    except Exception as error:  # a bug of a tool must not fail the turn; its text may contain a secret
        _log.error("a tool failed", extra={"tool": tool.definition.name, "error": type(error).__name__})
        result = ToolResult("failed", "the tool failed")
    return replace(result, milliseconds=(perf_counter() - began) * 1000)


@dataclass(frozen=True, slots=True)
class _MissingConsent:
    result: ToolResult
    approval: str | None = None


async def _check_consent(
    agent: LiveAgent, definition: ToolDefinition, arguments: Mapping[str, Any], turn: ToolTurn
) -> _MissingConsent | None:
    """Return why a call is not run yet; None where the user agreed to exactly this one."""
    unavailable = _MissingConsent(
        ToolResult(
            "confirmation_unavailable",
            "this needs the user's consent, which cannot be had here: do not try again, and say so",
        )
    )
    if turn.consents is None:
        return unavailable
    key = hash_call(agent, definition, arguments, turn.variables)
    try:
        if await turn.consents.redeem(key):
            return None
        approval = await turn.consents.request(key)
    except AgentsdError as error:
        _log.warning("consent cannot be looked up", extra={"error": type(error).__name__})
        return unavailable
    if approval is None:
        return unavailable
    text = (
        "the user has not agreed yet: ask whether this should be done, with what it does; "
        "if the next answer is yes, call the tool again with exactly these arguments"
    )
    return _MissingConsent(ToolResult("confirmation_required", text), approval)


def hash_call(
    agent: LiveAgent, tool: ToolDefinition, arguments: Mapping[str, Any], variables: Mapping[str, Any]
) -> bytes:
    """Return the hash of what consent is bound to: agent, tool, and all that a call sends.

    That is where the tool leads, canonical arguments, and the values of variables that it sends.
    """
    sent = {name: variables.get(name) for name in tool.variables}
    value = [str(agent.id), tool.name, tool.target, arguments, sent]
    return sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).digest()


def make_content(result: ToolResult) -> str:
    """Return what the model reads of a result: the text of one that is good, else a small object."""
    outcome: ToolOutcome = result.outcome
    if result.ok:
        return result.text
    return orjson.dumps({"error": outcome, "message": result.text}).decode()
