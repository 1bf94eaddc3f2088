"""Turn of a request: one is one turn, whose record goes to the process's sinks when it ends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from types import MappingProxyType
from typing import Any

from aiohttp import web

from agentsd.providers.base import LiveAgent
from agentsd.providers.resilience.attempts import Attempts, open_attempts
from agentsd.services.failures import describe_failure
from agentsd.services.turn_records.record import Channel, TurnAgent, TurnRecord, TurnTimes, sum_usage
from agentsd.services.voicebot.conversation import make_id
from agentsd.web.context import TURN_SINKS
from agentsd.web.middleware.auth import PRINCIPAL

CONVERSATION_HEADER = "X-Conversation-Id"
_CONVERSATION = re.compile(r"[\w.:-]{1,128}", re.ASCII)


class ChatTurn:
    """Turn of a request that is under way."""

    __slots__ = (
        "_agent", "_attempts", "_began", "_channel", "_conversation", "_first", "_sound", "_token", "error",
    )  # fmt: skip

    def __init__(
        self, agent: LiveAgent, channel: Channel, conversation: str, attempts: Attempts, token: str = ""
    ) -> None:
        self.error: BaseException | None = None
        self._agent = agent
        self._channel = channel
        self._conversation = conversation
        self._attempts = attempts
        self._token = token
        self._began = perf_counter()
        self._first: float | None = None
        self._sound: float | None = None

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
        agent, error = self._agent, self.error
        left = isinstance(error, (asyncio.CancelledError, ConnectionError))
        return TurnRecord(
            self._conversation,
            self._channel,
            TurnAgent(agent.id, agent.slug, agent.owner, agent.version, agent.commit),
            TurnTimes(self._began, self._began, None, self._first, self._sound, perf_counter()),
            "answered" if error is None else "cancelled" if left else "failed",
            sum_usage(self._attempts.meter, "embedding" if self._channel == "embeddings" else "llm"),
            self._attempts.answered,
            tuple(self._attempts.failed),
            error=None if error is None or left else type(error).__name__,
            failure=None if error is None else describe_failure(error),
            token=self._token,
            metered=tuple(self._attempts.meter.used.items()),
        )


@contextmanager
def record_turn(
    request: web.Request, agent: LiveAgent, channel: Channel, body: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[ChatTurn]:
    """Record what happens within the context as one turn."""
    with open_attempts() as attempts:
        token = request[PRINCIPAL].actor
        turn = ChatTurn(agent, channel, find_conversation(request, body), attempts, token)
        try:
            yield turn
        except BaseException as error:
            turn.error = error
            raise
        finally:
            request.app[TURN_SINKS].put(turn.make_record())
            turn.error = None  # it refers to its frames


def find_conversation(request: web.Request, body: Mapping[str, Any]) -> str:
    """Return the client's id of the conversation (header or ``metadata.conversation_id``), or a new one."""
    metadata = body.get("metadata")
    given = request.headers.get(CONVERSATION_HEADER)
    if given is None and isinstance(metadata, Mapping):
        given = metadata.get("conversation_id")
    return given if isinstance(given, str) and _CONVERSATION.fullmatch(given) else make_id("conv")
