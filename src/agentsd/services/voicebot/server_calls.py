"""Calls of one answer that this server runs: items of the conversation, which its next turns see, and events.

A call that goes on after its answer ends later; its result is in the conversation then, and is not spoken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from agentsd.providers.tool import ToolDefinition, ToolResult
from agentsd.services.tools.events import ToolCall, ToolEnded, ToolEvent, ToolStarted
from agentsd.services.tools.turn import ToolTurn
from agentsd.services.voicebot.answer_gate import AnswerGate
from agentsd.services.voicebot.conversation import Conversation, ConversationItem, make_id
from agentsd.services.voicebot.events import ApprovalRequested, CallEvent, ServerCallBegan, ServerCallEnded

NOT_MADE = ToolResult("cancelled", "the call was not made")


class ServerCalls:
    """Calls of one answer. ``anchor`` is the item that they come after: the one before the answer's words."""

    def __init__(self, answer: str, conversation: Conversation, tools: ToolTurn, gate: AnswerGate) -> None:
        self.anchor: str | None = None
        self.tools = tools
        self.kept: list[asyncio.Future[ToolEnded]] = []  # calls that go on after the answer
        self._answer = answer
        self._conversation = conversation
        self._gate = gate
        self._open: list[tuple[ToolCall, ConversationItem]] = []

    def begin(self) -> None:
        """Take over calls that go on when the answer is interrupted."""
        self.tools.keep = self._keep

    def take(self, event: ToolEvent | None) -> Iterator[CallEvent]:
        """Yield the events that one of the rounds causes. Hand-offs are no calls to anybody outside."""
        if isinstance(event, ToolStarted) and not (event.definition and event.definition.kind == "handoff"):
            yield self._add(event.call)
        elif isinstance(event, ToolEnded):
            yield from self._end(event.call, event.result, event.approval)

    def settle(self) -> None:
        """End the calls of an answer whose rounds were closed; those that go on stay open."""
        for event in self.tools.events:
            if isinstance(event, ToolEnded):
                self._push_end(event.call, event.result)
        for call, _ in tuple(self._open):
            if not any(one.call is call for one in self.tools.left):
                self._push_end(call, NOT_MADE)
        self.tools.keep = None  # the two would refer to each other

    def _add(self, call: ToolCall) -> ServerCallBegan:
        given = call.id and not self._conversation.is_taken(call.id)
        item = ConversationItem(
            make_id("item"),
            "assistant",
            call.arguments or "{}",
            "server_call",
            call_id=call.id if given else make_id("call"),
            name=call.name,
        )
        previous = self._conversation.add(item, self.anchor, first=self.anchor is None)
        self.anchor = item.id
        self._open.append((call, item))
        return ServerCallBegan(self._answer, item.id, previous, item.call_id, item.name, item.text)

    def _end(self, call: ToolCall, result: ToolResult, approval: str | None = None) -> Iterator[CallEvent]:
        found = next((one for one in self._open if one[0] is call), None)
        if found is None:
            return
        self._open.remove(found)
        item = found[1]
        item.result = result
        self._conversation.shrink()
        yield ServerCallEnded(self._answer, item.id, result)
        if approval is not None:
            yield self._ask(item, approval)

    def _ask(self, made: ConversationItem, approval: str) -> ApprovalRequested:
        """Add the request for consent to a call that was not made."""
        item = ConversationItem(
            approval, "assistant", made.text, "approval_request", call_id=made.id, name=made.name
        )
        previous = self._conversation.add(item, made.id)
        if self.anchor == made.id:
            self.anchor = item.id
        return ApprovalRequested(self._answer, item.id, previous, item.name, item.text)

    def _push_end(self, call: ToolCall, result: ToolResult) -> None:
        for event in self._end(call, result):
            self._gate.push(event)

    def _keep(self, task: asyncio.Future[ToolEnded], _: ToolDefinition) -> None:
        self.kept.append(task)
        task.add_done_callback(self._take_late)

    def _take_late(self, task: asyncio.Future[ToolEnded]) -> None:
        self.kept.remove(task)
        if not task.cancelled():
            self._push_end(task.result().call, task.result().result)
