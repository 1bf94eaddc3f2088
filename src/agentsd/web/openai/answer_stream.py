"""Sending of a streamed answer as server-sent events, for every interface that has one.

An error before anything was sent is raised, and so an HTTP status; a later one is the last frame. When
the client leaves, aiohttp cancels the handler, which closes the vendor's stream.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from agentsd.core.errors import AgentsdError
from agentsd.providers.base import LiveAgent
from agentsd.web.context import APP_CONTEXT
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import Problem, from_error, make_internal_error
from agentsd.web.http.request_id import get_request_id
from agentsd.web.http.sse import SSE_HEADERS, KeptStream
from agentsd.web.middleware.request import log_unexpected_error
from agentsd.web.openai.chat_turn import ChatTurn
from agentsd.web.openai.models import make_agent_headers


class AnswerFrames(Protocol):
    """Frames of one interface. Empty bytes are not sent."""

    def begin(self) -> bytes:
        """Return what precedes the first chunk."""

    def take(self, chunk: Mapping[str, Any]) -> bytes:
        """Return the frames of one chunk of a chat completion."""

    def end(self) -> bytes:
        """Return the last frames of an answer that is complete."""

    def fail(self, problem: Problem, request_id: str) -> bytes:
        """Return the last frame of an answer that failed."""


@dataclass(frozen=True, slots=True)
class CompletionFrames:
    """Frames of ``data`` alone, ``[DONE]`` last; after an error there is no ``[DONE]``."""

    convert: Callable[[Mapping[str, Any]], Mapping[str, Any] | None] = lambda chunk: chunk
    """Returns what a client gets of a chunk; None for nothing."""
    last: bytes = b"data: [DONE]\n\n"

    def begin(self) -> bytes:
        """Return nothing: the first chunk is the beginning."""
        return b""

    def take(self, chunk: Mapping[str, Any]) -> bytes:
        """Return the chunk as one frame."""
        shown = self.convert(chunk)
        return b"" if shown is None else _encode_data(shown)

    def end(self) -> bytes:
        """Return the mark of the end."""
        return self.last

    def fail(self, problem: Problem, request_id: str) -> bytes:
        """Return the error as one frame."""
        return _encode_data(problem.as_frame(request_id))


async def send_answer(
    request: web.Request,
    agent: LiveAgent,
    answer: AsyncGenerator[dict[str, Any], None],
    frames: AnswerFrames,
    turn: ChatTurn | None = None,
) -> web.StreamResponse:
    """Send ``answer`` as it comes, noted in ``turn``. Raises errors that come before anything was sent."""
    response = web.StreamResponse(headers={**SSE_HEADERS, **make_agent_headers(agent)})
    async with (
        aclosing(answer) as chunks,
        KeptStream(request, response, request.app[APP_CONTEXT].keep_alive_seconds) as out,
    ):
        opening: bytes | None = None
        try:
            async for chunk in chunks:
                if turn is not None:
                    turn.take(chunk)
                opening, head = b"", frames.begin() if opening is None else b""
                if frame := head + frames.take(chunk):
                    if turn is not None and turn.switch is not None and not response.prepared:
                        response.headers.update(make_agent_headers(turn.serving))
                    await out.write(frame)
            last = frames.end()
        except ConnectionError:
            raise  # the client disconnected
        except Exception as error:
            if not out.begun:
                raise
            if turn is not None:
                turn.error = error
            last = frames.fail(_make_problem(error), get_request_id(request))
        await out.end((frames.begin() if opening is None else b"") + last)
    return response


def _make_problem(error: Exception) -> Problem:
    if isinstance(error, AgentsdError):
        return from_error(error)
    log_unexpected_error(error)
    return make_internal_error()


def _encode_data(value: Mapping[str, Any]) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"
