"""Rounds of a turn: the model asks for tools, they are run, and it is asked again with their results.

Every interface that chats comes through here. A client sees the texts of all rounds and its own calls;
calls that this server runs are events beside them (``services.tools.events``). A round's tools run at the
same time, and only after the whole answer of the model has come: what a vendor's retry or fallback asks
again was not run before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from time import perf_counter
from typing import Any, cast

from agentsd.core.errors import AgentsdError
from agentsd.providers.base import LLM, LiveAgent, ProviderEmpty
from agentsd.providers.tool import ToolDefinition, ToolOutcome, ToolResult
from agentsd.services.tools.events import (
    ParagraphBegan,
    ToolCall,
    ToolEnded,
    ToolEvent,
    ToolStarted,
    make_event_chunk,
)
from agentsd.services.tools.executor import execute_call, make_content
from agentsd.services.tools.handoff import drop_handoff_calls
from agentsd.services.tools.hidden_rounds import HiddenRound
from agentsd.services.tools.offer import ToolOffer, make_offer, relax_choice
from agentsd.services.tools.round_calls import RoundAnswer
from agentsd.services.tools.turn import ToolTurn
from agentsd.services.tools.usage import add_usage

CALLS_PER_ROUND_MAX = 16
"""Calls of one round that are run; further ones are refused."""
PARAGRAPH = "\n\n"
"""What stands between the texts of two rounds."""

_log = logging.getLogger(__name__)


def open_rounds(
    agent: LiveAgent, llm: LLM, request: Mapping[str, Any], turn: ToolTurn | None
) -> ToolRounds | None:
    """Return the rounds of a turn on an agent with tools; None where none is available now.

    ``request``: for the vendor. Raises ``InvalidChat``.
    """
    turn = turn or ToolTurn()
    handoffs = turn.switch.make_tools(agent) if turn.switch is not None else ()
    offer = make_offer((*agent.tools, *handoffs), request)
    if offer is None:
        return None
    turn.variables = agent.values
    return ToolRounds(agent, llm, offer, request, turn)


class ToolRounds:
    """Rounds of one turn on one agent: ``stream`` or ``complete`` it, once."""

    def __init__(
        self, agent: LiveAgent, llm: LLM, offer: ToolOffer, request: Mapping[str, Any], turn: ToolTurn
    ) -> None:
        self._agent = agent
        self._llm = llm
        self._offer = offer
        self._turn = turn
        messages = request["messages"]
        said = turn.hidden.restore(messages) if turn.hidden is not None else messages
        self._said: Sequence[Any] = said
        self._request = {**request, "tools": list(offer.functions)}
        self._hidden: list[dict[str, Any]] = []  # messages of the rounds so far
        self._left = agent.spec.tool_rounds
        self._usage: Mapping[str, Any] | None = None

    async def stream(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the chunks of the whole turn, and its events."""
        await self._begin_consents()
        async with aclosing(self._run_approved()) as events:
            async for event in events:
                yield make_event_chunk(event)
        begun = spoke = False  # the role was sent; there was a text
        while True:
            one = RoundAnswer(self._offer.client, rename=self._turn.hidden is not None)
            async with aclosing(self._stream_round(one, begun=begun, spoke=spoke)) as chunks:
                async for chunk in chunks:
                    begun = True
                    yield chunk
            spoke = spoke or bool(one.text)
            ended = self._check_end(one)
            async with aclosing(self._settle_round(one, ended=ended)) as events:
                async for event in events:
                    yield make_event_chunk(event)
            if self._hand_over():
                return
            if ended:
                break
        yield self._make_last_chunk(one, begun=begun)
        if self._usage is not None:
            yield {"object": "chat.completion.chunk", "choices": [], "usage": self._usage}

    async def complete(self) -> dict[str, Any]:
        """Return the whole answer; the events are in the turn."""
        await self._begin_consents()
        async with aclosing(self._run_approved()) as events:
            async for _ in events:
                continue
        texts: list[str] = []
        while True:
            answer = await self._llm.complete(self._make_request())
            self._usage = add_usage(self._usage, answer.get("usage"))
            choice = answer["choices"][0]
            one = RoundAnswer(self._offer.client, rename=self._turn.hidden is not None)
            calls = one.take_message(choice)
            texts += [one.text] if one.text else []
            ended = self._check_end(one)
            async with aclosing(self._settle_round(one, ended=ended)) as events:
                async for _ in events:
                    continue
            if self._hand_over() or ended:
                return self._make_whole(answer, one, calls, texts)

    def _hand_over(self) -> bool:
        """Return whether another agent takes over after this round; leave it what it needs."""
        switch = self._turn.switch
        if switch is None or switch.taken is None:
            return False
        tools = self._offer.server.values()
        names = frozenset(one.definition.name for one in tools if one.definition.kind == "handoff")
        switch.rounds, switch.usage = drop_handoff_calls(self._hidden, names), self._usage
        return True

    async def _begin_consents(self) -> None:
        """Let what the user was asked in the turn before be done in this one."""
        asks = any(tool.definition.confirm for tool in self._offer.server.values())
        if asks and self._turn.consents is not None and not self._turn.consents_begun:
            self._turn.consents_begun = True  # an agent that takes over goes on with the same turn
            try:
                await self._turn.consents.begin_turn()
            except AgentsdError as error:  # then nothing is granted
                _log.warning("consent cannot be looked up", extra={"error": type(error).__name__})

    # One round

    def _make_request(self) -> dict[str, Any]:
        """Return the request of the next round; in the last one the model has to answer."""
        request = {**self._request, "messages": [*self._said, *self._hidden]}
        if not self._left:
            request["tool_choice"] = "none"
        elif self._hidden and "tool_choice" in request:
            request["tool_choice"] = relax_choice(request["tool_choice"])
        return request

    async def _stream_round(
        self, one: RoundAnswer, *, begun: bool, spoke: bool
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield what the client sees of one round as it comes."""
        upstream = cast("AsyncGenerator[dict[str, Any], None]", self._llm.stream(self._make_request()))
        usage: Mapping[str, Any] | None = None
        async with aclosing(upstream):
            async for chunk in upstream:
                usage = chunk.get("usage") or usage  # some vendors send the sum so far with each chunk
                choices = chunk.get("choices")
                shown = one.take_choice(choices[0], begun=begun) if choices else None
                if shown is None:
                    continue
                if spoke and one.text:
                    spoke = False
                    yield make_event_chunk(self._note(ParagraphBegan()), PARAGRAPH)
                begun = True
                yield {**{key: part for key, part in chunk.items() if key != "usage"}, "choices": [shown]}
        self._usage = add_usage(self._usage, usage)

    def _check_end(self, one: RoundAnswer) -> bool:
        """Return whether the turn ends with this round: without calls of this server, or for the client's."""
        if not one.held or self._is_mixed(one):
            return True
        if self._left:
            return False
        if one.text:  # it was not to call, and did; what it wrote is the answer
            return True
        hint = "raise tool_rounds in the manifest, or describe in the tools when to use them"
        raise ProviderEmpty(f"the model only called tools, {self._agent.spec.tool_rounds} times", hint=hint)

    @staticmethod
    def _is_mixed(one: RoundAnswer) -> bool:
        """Return whether the client has to run something, too."""
        return bool(one.client_ids or one.late)

    async def _settle_round(self, one: RoundAnswer, *, ended: bool) -> AsyncGenerator[ToolEvent, None]:
        """Run the calls of a round; keep them and their results for the next one, or for the next request."""
        mixed = self._is_mixed(one)
        calls: list[ToolCall] = [call.as_call(cut=one.cut) for call in one.held] if mixed or not ended else []
        results: dict[int, ToolEnded] = {}  # by identity: a vendor may repeat an id
        self._left -= 1
        if self._turn.switch is not None:
            self._turn.switch.begin_round(blocked=mixed)
        async with aclosing(self._run_calls(calls)) as events:
            async for event in events:
                if isinstance(event, ToolEnded):
                    results[id(event.call)] = event
                yield event
        message, answers = one.make_message(), [_make_answer(results[id(call)]) for call in calls]
        if mixed:
            self._hide_round(one, message["tool_calls"], answers)
        elif calls:
            self._hidden += [message, *answers]

    def _hide_round(self, one: RoundAnswer, calls: Sequence[Any], answers: Sequence[Any]) -> None:
        """Keep what the client does not see until it sends the results of its own calls."""
        if self._turn.hidden is None or not (self._hidden or calls or one.renamed):
            return
        kept = HiddenRound(tuple(self._hidden), tuple(calls), tuple(answers), one.renamed)
        for name in (*one.client_ids, *(str(call["id"]) for call in one.late)):
            self._turn.hidden.keep(name, kept)

    async def _run_approved(self) -> AsyncGenerator[ToolEvent, None]:
        """Run the calls that the user agreed to, before the model is asked."""
        if not self._turn.approved:
            return
        one = RoundAnswer(frozenset())
        calls = [
            {"index": at, "id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
            for at, call in enumerate(self._turn.approved)
        ]
        one.take_choice({"delta": {"tool_calls": calls}}, begun=True)
        self._left += 1
        async with aclosing(self._settle_round(one, ended=False)) as events:
            async for event in events:
                yield event

    async def _run_calls(self, calls: Sequence[ToolCall]) -> AsyncGenerator[ToolEvent, None]:
        """Yield the beginnings of ``calls``, then each end as it comes."""
        tools = self._offer.server
        for call in calls:
            yield self._note(ToolStarted(call, tools[call.name].definition if call.name in tools else None))
        for call in calls[CALLS_PER_ROUND_MAX:]:
            text = f"more than {CALLS_PER_ROUND_MAX} calls at a time: this one was not made"
            yield self._note(ToolEnded(call, ToolResult("too_many_calls", text)))
        taken = calls[:CALLS_PER_ROUND_MAX]
        alone = self._request.get("parallel_tool_calls") is False
        for some in [[call] for call in taken] if alone else [taken]:
            async with aclosing(self._run_together(some)) as ends:
                async for ended in ends:
                    yield ended

    async def _run_together(self, calls: Sequence[ToolCall]) -> AsyncGenerator[ToolEvent, None]:
        """Yield the end of each of ``calls`` as it comes."""
        if len(calls) == 1 and not self._turn.keep:
            yield self._note(await self._execute(calls[0]))
            return
        began = perf_counter()
        left: dict[asyncio.Future[ToolEnded], ToolCall] = {
            asyncio.ensure_future(self._execute(call)): call for call in calls
        }
        try:
            while left:
                done, _ = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in left if task in done]:
                    del left[task]
                    yield self._note(task.result())
        finally:
            await self._leave_calls(left, began)

    async def _execute(self, call: ToolCall) -> ToolEnded:
        definition = self._find_definition(call)
        if call in self._turn.approved and not (definition and definition.confirm):
            return ToolEnded(call, ToolResult("refused", "nobody was asked about this call"), definition)
        return await execute_call(self._agent, self._offer.server, call, self._turn)

    async def _leave_calls(self, left: Mapping[asyncio.Future[ToolEnded], ToolCall], began: float) -> None:
        """Cancel the calls of an interrupted turn, but those that are to finish; note how each ends."""
        stopped = []
        for task, call in left.items():
            definition = self._find_definition(call)
            if self._turn.keep is not None and definition and definition.on_interrupt == "finish":
                self._turn.left.append(_make_unended(call, definition, "unfinished", began))
                self._turn.keep(task, definition)
            else:
                task.cancel()  # without effect on one that has ended
                stopped.append(task)
        if stopped:
            await asyncio.wait(stopped)
        for task in stopped:
            call = left[task]
            if task.cancelled():
                self._note(_make_unended(call, self._find_definition(call), "cancelled", began))
            else:
                self._note(task.result())

    def _find_definition(self, call: ToolCall) -> ToolDefinition | None:
        tool = self._offer.server.get(call.name)
        return tool.definition if tool else None

    def _note(self, event: ToolEvent) -> ToolEvent:
        self._turn.events.append(event)
        return event

    # The end

    def _find_reason(self, one: RoundAnswer) -> str:
        if self._is_mixed(one) and not one.cut:
            return "tool_calls"
        return "stop" if one.finish in (None, "tool_calls") else one.finish

    def _make_last_chunk(self, one: RoundAnswer, *, begun: bool) -> dict[str, Any]:
        delta: dict[str, Any] = {} if begun else {"role": "assistant"}
        if late := one.late:
            delta["tool_calls"] = late
        choice = {"index": 0, "delta": delta, "finish_reason": self._find_reason(one)}
        return {"object": "chat.completion.chunk", "choices": [choice]}

    def _make_whole(
        self, answer: dict[str, Any], one: RoundAnswer, calls: list[dict[str, Any]], texts: Sequence[str]
    ) -> dict[str, Any]:
        choice = answer["choices"][0]
        message = {key: value for key, value in choice["message"].items() if key != "tool_calls"}
        if texts and not isinstance(message.get("content"), list):  # the last round may have no text
            message["content"] = PARAGRAPH.join(texts)
        if calls:
            message["tool_calls"] = calls
        whole = {
            **answer,
            "choices": [{**choice, "message": message, "finish_reason": self._find_reason(one)}],
        }
        return whole if self._usage is None else {**whole, "usage": self._usage}


def _make_unended(
    call: ToolCall, definition: ToolDefinition | None, outcome: ToolOutcome, began: float
) -> ToolEnded:
    """Return the end of a call without its result; ``began``: of ``perf_counter``."""
    text = "the tool was stopped before it ended: whether it did its work is not known"
    return ToolEnded(call, ToolResult(outcome, text, (perf_counter() - began) * 1000), definition)


def _make_answer(ended: ToolEnded) -> dict[str, Any]:
    """Return the message of the role ``tool`` with a result, which is data."""
    return {"role": "tool", "tool_call_id": ended.call.id, "content": make_content(ended.result)}
