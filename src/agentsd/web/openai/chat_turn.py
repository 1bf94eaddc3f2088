"""Turn of a request: one is one turn, whose record goes to the process's sinks when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from types import MappingProxyType
from typing import Any

from aiohttp import web

from agentsd.core.manifest.chunks import Passage
from agentsd.providers.base import LiveAgent
from agentsd.providers.resilience.attempts import Attempts, open_attempts
from agentsd.services import chat, rag
from agentsd.services.failures import describe_failure
from agentsd.services.handover import follow_answer, follow_stream
from agentsd.services.tools.handoff import HandoffSwitch
from agentsd.services.tools.turn import ToolTurn
from agentsd.services.turn_records.record import Channel, TurnAgent, TurnRecord, TurnTimes, sum_usage
from agentsd.services.voicebot.conversation import make_id
from agentsd.web.context import TURN_SINKS
from agentsd.web.middleware.auth import PRINCIPAL
from agentsd.web.openai.chat_tools import make_tool_turn, read_conversation


class ChatTurn:
    """Turn of a request that is under way."""

    __slots__ = (
        "_agent", "_attempts", "_began", "_channel", "_conversation", "_first", "_sound", "_token", "error",
        "tools",
    )  # fmt: skip

    def __init__(
        self,
        agent: LiveAgent,
        channel: Channel,
        conversation: str,
        attempts: Attempts,
        tools: ToolTurn | None = None,
        token: str = "",
    ) -> None:
        self.error: BaseException | None = None
        self.tools = tools  # None: the agent has none
        self._agent = agent
        self._channel = channel
        self._conversation = conversation
        self._attempts = attempts
        self._token = token
        self._began = perf_counter()
        self._first: float | None = None
        self._sound: float | None = None

    @property
    def switch(self) -> HandoffSwitch | None:
        """Return the hand-offs of the turn; None for an agent that has none."""
        return self.tools.switch if self.tools is not None else None

    @property
    def serving(self) -> LiveAgent:
        """Return the agent that answers now."""
        switch = self.switch
        return self._agent if switch is None or switch.serving is None else switch.serving

    def set_request(self, body: Mapping[str, Any]) -> None:
        """Note what the client asks, for an agent that takes over."""
        if self.switch is not None:
            self.switch.body = body

    def take(self, answer: Mapping[str, Any]) -> None:
        """Note a chunk of the answer, or all of it."""
        if self._first is None:
            self._first = perf_counter()

    def take_sound(self) -> None:
        """Note that sound of the answer came."""
        if self._sound is None:
            self._sound = perf_counter()

    def make_record(self) -> TurnRecord:
        """Return the record of the turn, which ends now."""
        agent, error, serving = self._agent, self.error, self.serving
        left = isinstance(error, (asyncio.CancelledError, ConnectionError))
        return TurnRecord(
            self._conversation,
            self._channel,
            make_turn_agent(agent),
            TurnTimes(self._began, self._began, None, self._first, self._sound, perf_counter()),
            "answered" if error is None else "cancelled" if left else "failed",
            sum_usage(self._attempts.meter, "embedding" if self._channel == "embeddings" else "llm"),
            self._attempts.answered,
            tuple(self._attempts.failed),
            self.tools.uses if self.tools else (),
            error=None if error is None or left else type(error).__name__,
            failure=None if error is None else describe_failure(error),
            token=self._token,
            metered=tuple(self._attempts.meter.used.items()),
            taken_over=None if serving is agent else make_turn_agent(serving),
        )


def make_turn_agent(agent: LiveAgent) -> TurnAgent:
    """Return what a record has of an agent."""
    return TurnAgent(agent.id, agent.slug, agent.owner, agent.version, agent.commit)


def stream_answer(
    turn: ChatTurn, agent: LiveAgent, body: Mapping[str, Any], passages: Sequence[Passage] = ()
) -> AsyncGenerator[dict[str, Any], None]:
    """Return the chunks of the answer to ``body``, of all agents that give it; errors as of a chat."""
    chunks = rag.cite_stream(chat.stream_chat(agent, body, turn.tools), passages)
    if turn.tools is None or turn.switch is None:
        return chunks
    return follow_stream(agent, chunks, turn.tools)


async def complete_answer(
    turn: ChatTurn, agent: LiveAgent, body: Mapping[str, Any], passages: Sequence[Passage] = ()
) -> dict[str, Any]:
    """Return the whole answer to ``body``, of all agents that give it."""
    try:
        whole = rag.add_citations(await chat.complete_chat(agent, body, turn.tools), passages)
        if turn.tools is not None and turn.switch is not None:
            whole = await follow_answer(agent, whole, turn.tools)
    finally:
        if turn.switch is not None:
            await turn.switch.aclose()
    turn.take(whole)
    return whole


@contextmanager
def record_turn(
    request: web.Request, agent: LiveAgent, channel: Channel, body: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[ChatTurn]:
    """Record what happens within the context as one turn."""
    with open_attempts() as attempts:
        tools, token = make_tool_turn(request, agent, body), request[PRINCIPAL].actor
        turn = ChatTurn(agent, channel, find_conversation(request, body), attempts, tools, token)
        try:
            yield turn
        except BaseException as error:
            turn.error = error
            raise
        finally:
            request.app[TURN_SINKS].put(turn.make_record())
            turn.error = None  # it refers to its frames


def find_conversation(request: web.Request, body: Mapping[str, Any]) -> str:
    """Return the client's id of the conversation, or a new one."""
    return read_conversation(request, body) or make_id("conv")
