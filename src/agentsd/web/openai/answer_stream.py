"""Sending of a streamed answer as server-sent events, for every interface that has one.

An error before the first chunk is raised, and so an HTTP status; a later one is the last frame. When
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
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import Problem, from_error, make_internal_error
from agentsd.web.http.sse import SSE_HEADERS, write_frame
from agentsd.web.middleware.request import log_unexpected_error
from agentsd.web.openai.models import make_agent_headers


class AnswerFrames(Protocol):
    """Frames of one interface. Empty bytes are not sent."""

    def begin(self) -> bytes:
        """Return what precedes the first chunk."""

    def take(self, chunk: Mapping[str, Any]) -> bytes:
        """Return the frames of one chunk of a chat completion."""

    def end(self) -> bytes:
        """Return the last frames of an answer that is complete."""

    def fail(self, problem: Problem) -> bytes:
        """Return the last frame of an answer that failed."""


@dataclass(frozen=True, slots=True)
class CompletionFrames:
    """Frames of ``data`` alone, ``[DONE]`` last; after an error there is no ``[DONE]``."""

    convert: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda chunk: chunk

    def begin(self) -> bytes:
        """Return nothing: the first chunk is the beginning."""
        return b""

    def take(self, chunk: Mapping[str, Any]) -> bytes:
        """Return the chunk as one frame."""
        return _encode_data(self.convert(chunk))

    def end(self) -> bytes:
        """Return the mark of the end."""
        return b"data: [DONE]\n\n"

    def fail(self, problem: Problem) -> bytes:
        """Return the error as one frame."""
        return _encode_data(problem.as_openai())


async def send_answer(
    request: web.Request, agent: LiveAgent, answer: AsyncGenerator[dict[str, Any], None], frames: AnswerFrames
) -> web.StreamResponse:
    """Send ``answer`` as it comes. Raises the errors that come before its first chunk."""
    async with aclosing(answer) as chunks:
        first = await anext(chunks, None)
        response = web.StreamResponse(headers={**SSE_HEADERS, **make_agent_headers(agent)})
        await response.prepare(request)
        await _write(response, frames.begin())
        try:
            if first is not None:
                await _write(response, frames.take(first))
            async for chunk in chunks:
                await _write(response, frames.take(chunk))
            last = frames.end()
        except AgentsdError as error:
            last = frames.fail(from_error(error))
        except ConnectionError:
            raise  # the client disconnected
        except Exception as error:
            log_unexpected_error(error)
            last = frames.fail(make_internal_error())
        await _write(response, last)
        await response.write_eof()
        return response


async def _write(response: web.StreamResponse, frames: bytes) -> None:
    if frames:
        await write_frame(response, frames)


def _encode_data(value: Mapping[str, Any]) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"
