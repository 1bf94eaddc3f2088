"""Tools in a chat: the context that a request gives to a turn, and what a client sees of its calls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from aiohttp import web
from typing_extensions import TypedDict

from agentsd.providers.base import LiveAgent
from agentsd.services.chat import check_request
from agentsd.services.tools.consents import ConversationConsents
from agentsd.services.tools.events import (
    EVENT_KEY,
    HandedOver,
    ParagraphBegan,
    ToolEnded,
    ToolStarted,
    get_event,
)
from agentsd.services.tools.handoff import HandoffSwitch
from agentsd.services.tools.hidden_rounds import HiddenRoundStore
from agentsd.services.tools.turn import ToolTurn
from agentsd.web.agent_lookup import get_principal, make_scoped_leases
from agentsd.web.context import APP_CONTEXT

CONVERSATION_HEADER = "X-Conversation-Id"
_CONVERSATION = re.compile(r"[\w.:-]{1,128}", re.ASCII)
HIDDEN_ROUNDS = web.AppKey("hidden_rounds", HiddenRoundStore)


class ShownCall(TypedDict, total=False):
    """Call of a tool of the agent, for a client that asked with ``stream_options.include_tools``."""

    id: str
    name: str
    arguments: str
    status: Literal["in_progress", "completed", "failed"]
    outcome: str
    output: str
    milliseconds: float


def make_tool_turn(request: web.Request, agent: LiveAgent, body: Mapping[str, Any]) -> ToolTurn | None:
    """Return the context of a turn's tools; None for an agent without tools and hand-offs."""
    if not agent.tools and not agent.spec.handoff:
        return None
    principal = get_principal(request)
    conversation = read_conversation(request, body)
    consents = None
    if conversation is not None:
        database = request.app[APP_CONTEXT].database
        spoke = _is_user_last(body.get("messages"))
        consents = ConversationConsents(database, conversation, principal.digest, spoke=spoke)
    hidden = request.app[HIDDEN_ROUNDS].of(principal.owner, principal.digest)
    turn = ToolTurn(hidden=hidden, consents=consents)
    if agent.spec.handoff:
        knowledge = request.app[APP_CONTEXT].knowledge
        turn.switch = HandoffSwitch(make_scoped_leases(request), {}, knowledge, check=check_request)
    return turn


def read_conversation(request: web.Request, body: Mapping[str, Any]) -> str | None:
    """Return the client's id of the conversation: of the header, or ``metadata.conversation_id``."""
    metadata = body.get("metadata")
    given = request.headers.get(CONVERSATION_HEADER)
    if given is None and isinstance(metadata, Mapping):
        given = metadata.get("conversation_id")
    return given if isinstance(given, str) and _CONVERSATION.fullmatch(given) else None


def _is_user_last(messages: object) -> bool:
    last = messages[-1] if isinstance(messages, list) and messages else None
    return isinstance(last, Mapping) and last.get("role") == "user"


def wants_calls(body: Mapping[str, Any]) -> bool:
    """Return whether the client asks to see the calls of the agent's tools."""
    options = body.get("stream_options")
    return isinstance(options, Mapping) and options.get("include_tools") is True


def hide_calls(chunk: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a chunk without its event; None where there is nothing else in it."""
    if EVENT_KEY not in chunk:
        return chunk
    rest = {key: value for key, value in chunk.items() if key != EVENT_KEY}
    return rest if rest["choices"] else None


def show_calls(chunk: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a chunk with ``tool_call`` in the place of its event."""
    event = get_event(chunk)
    if event is None or isinstance(event, HandedOver | ParagraphBegan):
        return hide_calls(chunk)
    rest = {key: value for key, value in chunk.items() if key != EVENT_KEY}
    return {**rest, "tool_call": show_call(event)}


def show_call(event: ToolStarted | ToolEnded) -> ShownCall:
    """Return what a client sees of an event."""
    call: ShownCall = {"id": event.call.id, "name": event.call.name, "arguments": event.call.arguments}
    if isinstance(event, ToolStarted):
        return {**call, "status": "in_progress"}
    result = event.result
    return {
        **call,
        "status": "completed" if result.ok else "failed",
        "outcome": result.outcome,
        "output": result.text,
        "milliseconds": round(result.milliseconds, 3),
    }
