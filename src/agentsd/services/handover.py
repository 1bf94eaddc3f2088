"""Answers that several agents give: where one hands over, the next goes on in the same answer.

A client sees one completion: one id, one role, the texts of all agents as paragraphs, the usage of all, and
in ``model`` who writes. What a later agent gets is decided by the hand-off's ``carry``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import Any

from agentsd.providers.base import LiveAgent
from agentsd.services import chat, rag
from agentsd.services.tools.carry import carry_messages
from agentsd.services.tools.events import EVENT_KEY, HandedOver, ParagraphBegan, make_event_chunk
from agentsd.services.tools.handoff import HandoffSwitch, Takeover
from agentsd.services.tools.rounds import PARAGRAPH
from agentsd.services.tools.turn import ToolTurn
from agentsd.services.tools.usage import add_usage


async def follow_answer(agent: LiveAgent, answer: dict[str, Any], tools: ToolTurn) -> dict[str, Any]:
    """Return the whole ``answer`` of ``agent``, or of those that took over. Gives their leases back."""
    switch = tools.switch
    if switch is None:
        return answer
    texts, usage, whole = [_read_text(answer)], answer.get("usage"), answer
    try:
        while (taken := switch.pop()) is not None:
            body, passages = await _prepare_next(agent, taken, switch, tools)
            agent = taken.agent
            whole = rag.add_citations(await chat.complete_chat(agent, body, tools), passages)
            texts.append(_read_text(whole))
            usage = add_usage(usage, whole.get("usage"))
    finally:
        await switch.aclose()
    return whole if whole is answer else _join_answers(answer, whole, texts, usage)


async def follow_stream(
    agent: LiveAgent, chunks: AsyncGenerator[dict[str, Any], None], tools: ToolTurn
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the chunks of ``agent``'s answer, then those of the agents that take over."""
    switch = tools.switch
    joined = _JoinedStream()
    try:
        while True:
            async with aclosing(chunks):
                async for chunk in chunks:
                    for one in joined.take(chunk):
                        yield one
            taken = switch.pop() if switch is not None else None
            if switch is None or taken is None:
                return
            joined.begin_next(switch.usage)
            body, passages = await _prepare_next(agent, taken, switch, tools)
            agent = taken.agent
            chunks = rag.cite_stream(chat.stream_chat(agent, body, tools), passages)
    finally:
        if switch is not None:
            await switch.aclose()


async def announce_handoff(
    chunks: AsyncGenerator[dict[str, Any], None], switch: HandoffSwitch
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the chunks of an answer in a call and, where it hands over, what is said to that.

    The last chunk then has the event ``HandedOver``.
    """
    spoke = False
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                spoke = spoke or bool(_get_delta(chunk).get("content"))
                yield chunk
        taken = switch.taken
        if taken is not None:
            say = taken.handoff.say
            text = f"{PARAGRAPH}{say}" if say and spoke else say
            yield make_event_chunk(HandedOver(str(taken.agent.id), taken.handoff), text)
    finally:
        await switch.aclose()


async def _prepare_next(
    agent: LiveAgent, taken: Takeover, switch: HandoffSwitch, tools: ToolTurn
) -> tuple[Mapping[str, Any], Any]:
    """Return the request for the agent that takes over from ``agent``, and its passages."""
    tools.approved = ()  # run already
    body = switch.make_body(taken.agent)
    if agent.llm is not None:
        body["messages"] = await carry_messages(
            taken.handoff.carry, agent.llm, body["messages"], switch.rounds
        )
    return await rag.add_passages(taken.agent, body, switch.knowledge)


def _join_answers(
    first: Mapping[str, Any], last: dict[str, Any], texts: list[str], usage: Mapping[str, Any] | None
) -> dict[str, Any]:
    choice = last["choices"][0]
    text = PARAGRAPH.join(filter(None, texts))
    message = {**choice["message"], "content": text or choice["message"].get("content")}
    whole = {**last, "id": first["id"], "created": first["created"]}
    whole["choices"] = [{**choice, "message": message}, *last["choices"][1:]]
    return whole if usage is None else {**whole, "usage": usage}


def _read_text(answer: Mapping[str, Any]) -> str:
    content = answer["choices"][0]["message"].get("content")
    return content if isinstance(content, str) else ""


class _JoinedStream:
    """Chunks of several agents as those of one answer."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}  # id and time of the first chunk
        self._begun = False  # the role was sent
        self._spoke = False  # an earlier agent wrote something
        self._speaks = False  # this one did
        self._usage: Mapping[str, Any] | None = None  # of the earlier ones

    def begin_next(self, usage: Mapping[str, Any] | None) -> None:
        """Begin the next agent's part; ``usage``: of the one before."""
        self._spoke, self._speaks = self._spoke or self._speaks, False
        self._usage = add_usage(self._usage, usage)

    def take(self, chunk: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield what the client gets of a chunk."""
        if not self._head:
            self._head = {key: chunk[key] for key in ("id", "created") if key in chunk}
        shown = {**chunk, **self._head}
        if self._usage is not None and shown.get("usage"):
            shown["usage"] = add_usage(self._usage, shown["usage"])
        delta = _get_delta(shown)
        if delta.get("content") and EVENT_KEY not in shown:
            if self._spoke and not self._speaks:
                yield {**shown, **make_event_chunk(ParagraphBegan(), PARAGRAPH), "usage": None}
            self._speaks = True
        if self._begun and "role" in delta:
            shown["choices"] = [_drop_role(one) for one in shown["choices"]]
        self._begun = self._begun or "role" in delta
        yield shown


def _get_delta(chunk: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = chunk.get("choices")
    first = choices[0] if choices else {}
    delta = first.get("delta")
    return delta if isinstance(delta, Mapping) else {}


def _drop_role(choice: Mapping[str, Any]) -> dict[str, Any]:
    delta = {key: value for key, value in (choice.get("delta") or {}).items() if key != "role"}
    return {**choice, "delta": delta}
