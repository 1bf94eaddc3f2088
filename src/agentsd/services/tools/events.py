"""Events of the calls of a turn. They travel in the stream of an answer, as chunks without choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentsd.core.manifest.handoff import Handoff
from agentsd.providers.tool import ToolDefinition, ToolResult

EVENT_KEY = "tool_event"
"""Key of a chunk that carries an event."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Call that a model asked for, and that this server runs."""

    id: str
    name: str
    arguments: str = field(repr=False)  # as the model wrote them
    cut: bool = False  # the answer ended before its arguments came


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """Beginning of a call. ``definition`` is None for a tool that does not exist."""

    call: ToolCall
    definition: ToolDefinition | None


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """End of a call. ``approval``: id under which the user may agree, where consent is missing."""

    call: ToolCall
    result: ToolResult
    definition: ToolDefinition | None = None
    approval: str | None = None


@dataclass(frozen=True, slots=True)
class ParagraphBegan:
    """Beginning of a later round's text, after an earlier one.

    Its chunk has one choice with the blank line between the two, for clients that see one text.
    """


@dataclass(frozen=True, slots=True)
class HandedOver:
    """End of an answer in a call after which the agent ``ref`` goes on.

    Its chunk has one choice with what the first agent says to that.
    """

    ref: str
    handoff: Handoff


ToolEvent = HandedOver | ToolStarted | ToolEnded | ParagraphBegan


def make_event_chunk(event: ToolEvent, text: str = "") -> dict[str, Any]:
    """Return the chunk of ``event``, with ``text`` for clients that see no events."""
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": None}] if text else []
    return {"object": "chat.completion.chunk", "choices": choices, EVENT_KEY: event}


def get_event(chunk: Mapping[str, Any]) -> ToolEvent | None:
    """Return the event of a chunk; None for a part of the answer."""
    event: ToolEvent | None = chunk.get(EVENT_KEY)
    return event
