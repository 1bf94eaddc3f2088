"""Items of the calls that this server runs, as OpenAI shows those of its own: ``mcp_call``. Pure.

https://platform.openai.com/docs/api-reference/responses-streaming/response/mcp_call
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from agentsd.core.manifest.tool_schema import repair_arguments
from agentsd.providers.tool import ToolResult
from agentsd.services.tools.events import ToolCall, ToolEnded
from agentsd.services.tools.executor import make_content

APPROVAL_PREFIX = "mcpr_"
"""Prefix of the ids of requests for consent; a call that was agreed to has the request's id."""
SERVER_LABEL = "agentsd"
"""Label of the server whose tools these are: this one."""


class ToolItem:
    """Call of a tool of the agent."""

    kind = "mcp_call"

    def __init__(self, call: ToolCall, index: int) -> None:
        self.id = f"mcp_{uuid4().hex}"
        self.index = index
        self.call = call
        self.result: ToolResult | None = None

    def place(self) -> dict[str, Any]:
        """Return where an event belongs."""
        return {"item_id": self.id, "output_index": self.index}

    def begin(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the events of the beginning: their types and members."""
        item = {**self.value(), "arguments": ""}
        yield "response.output_item.added", {"output_index": self.index, "item": item}
        yield "response.mcp_call.in_progress", self.place()
        arguments = self.call.arguments
        yield "response.mcp_call_arguments.delta", {**self.place(), "delta": arguments}
        yield "response.mcp_call_arguments.done", {**self.place(), "arguments": arguments}

    def end(self, result: ToolResult) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Take the result; yield the events of the end."""
        self.result = result
        yield f"response.mcp_call.{'completed' if result.ok else 'failed'}", self.place()
        yield "response.output_item.done", {"output_index": self.index, "item": self.value()}

    def value(self, *, empty: bool = False) -> dict[str, Any]:
        """Return the item."""
        result = self.result
        status = "in_progress" if result is None else "completed" if result.ok else "failed"
        return {
            "id": self.id,
            "type": self.kind,
            "status": status,
            "server_label": SERVER_LABEL,
            "name": self.call.name,
            "arguments": self.call.arguments,
            "output": result.text if result and result.ok else None,
            "error": f"{result.outcome}: {result.text}" if result and not result.ok else None,
            "approval_request_id": self.call.id if self.call.id.startswith(APPROVAL_PREFIX) else None,
        }

    def messages(self) -> list[dict[str, Any]]:
        """Return the call and its result as messages of a chat completion."""
        if self.result is None:
            return []
        return make_call_messages(self.call, make_content(self.result))


class ApprovalItem:
    """Request for the user's consent to a call."""

    kind = "mcp_approval_request"

    def __init__(self, ended: ToolEnded, index: int) -> None:
        self.id = str(ended.approval)
        self.index = index
        self.call = ended.call

    def value(self, *, empty: bool = False) -> dict[str, Any]:
        """Return the item."""
        return {
            "id": self.id,
            "type": self.kind,
            "server_label": SERVER_LABEL,
            "name": self.call.name,
            "arguments": self.call.arguments,
        }

    def messages(self) -> list[dict[str, Any]]:
        """Return nothing: the call was not made."""
        return []


def make_call_messages(call: ToolCall, content: str) -> list[dict[str, Any]]:
    """Return a call that was run here, with its result, as messages of a chat completion."""
    function = {"name": call.name, "arguments": repair_arguments(call.arguments)}
    made = [{"id": call.id, "type": "function", "function": function}]
    return [
        {"role": "assistant", "content": None, "tool_calls": made},
        {"role": "tool", "tool_call_id": call.id, "content": content},
    ]
