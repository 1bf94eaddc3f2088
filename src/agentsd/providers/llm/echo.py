"""Built-in LLM that needs no key and no network: it repeats the last message, word by word.

It lets a newcomer's first chat work offline, and lets tests of everything around an LLM run without
one. The same request always gets the same answer.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from agentsd.providers.schema import ProviderSettings
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.vendor import Vendor

_PLACEHOLDER = re.compile(r"\{(message|system)\}")
_WORD = re.compile(r"\s*\S+|\s+$")
_MODEL = "echo"

ANSWER_MAX = 1 << 20
"""Characters. `{message}` may occur ten thousand times in a reply."""

PIECES_MAX = 5000
"""Chunks of a stream, for each choice. In a longer answer, a chunk has several words."""


class EchoSettings(ProviderSettings):
    """Settings of ``echo.local``."""

    provider: Literal["echo.local"]
    reply: Annotated[
        str,
        Field(
            description=(
                "The answer. `{message}` stands for the last user message, `{system}` for the system prompt."
            ),
            examples=["You said: {message}"],
        ),
    ] = "{message}"
    delay_seconds: Annotated[
        float,
        Field(ge=0, le=60, description="Pause before each streamed word, in seconds.", examples=[0.05]),
    ] = 0.0


class Echo:
    """Client that answers without asking a server."""

    may_be_empty = True  # it repeats what the user wrote, if only nothing

    def __init__(self, settings: EchoSettings) -> None:
        self._reply = settings.reply
        self._delay = settings.delay_seconds

    async def complete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return one whole ``chat.completion`` object."""
        text = self._answer(request)
        message = {"role": "assistant", "content": text}
        choices = [
            {"index": index, "message": message, "finish_reason": "stop"}
            for index in range(_count_choices(request))
        ]
        return {
            "object": "chat.completion",
            "model": _MODEL,
            "choices": choices,
            "usage": _count_usage(request, text),
        }

    async def stream(self, request: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield ``chat.completion.chunk`` objects: role, words, end, and usage if requested."""
        text = self._answer(request)
        indices = range(_count_choices(request))
        for index in indices:
            yield _make_chunk(index, {"role": "assistant", "content": ""})
        words = _WORD.findall(text)
        step = len(words) // PIECES_MAX + 1
        for start in range(0, len(words), step):
            await _pause_stream(self._delay)
            for index in indices:
                yield _make_chunk(index, {"content": "".join(words[start : start + step])})
        for index in indices:
            yield _make_chunk(index, {}, finish_reason="stop")
        if (request.get("stream_options") or {}).get("include_usage"):
            yield {
                "object": "chat.completion.chunk",
                "model": _MODEL,
                "choices": [],
                "usage": _count_usage(request, text),
            }

    async def aclose(self) -> None:
        """Release nothing."""

    def _answer(self, request: Mapping[str, Any]) -> str:
        messages = request["messages"]
        words = {"message": _find_last_text(messages, "user"), "system": _find_first_text(messages, "system")}
        parts, room = [], ANSWER_MAX
        for number, part in enumerate(_PLACEHOLDER.split(self._reply)):  # texts and names of places in turn
            parts.append((words[part] if number % 2 else part)[:room])
            room -= len(parts[-1])
            if room <= 0:
                break
        return "".join(parts)


async def _pause_stream(seconds: float) -> None:
    """Pause, and let other tasks run even without a delay: nothing else in this module waits."""
    import asyncio

    await asyncio.sleep(seconds)


def _find_last_text(messages: list[Any], role: str) -> str:
    return _find_first_text(list(reversed(messages)), role)


def _find_first_text(messages: list[Any], role: str) -> str:
    for message in messages:
        if isinstance(message, Mapping) and message.get("role") == role:
            return _extract_text(message.get("content"))
    return ""


def _extract_text(content: Any) -> str:
    """Return a message's text: a string, or the text parts of a list."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, Mapping))


def _make_chunk(index: int, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
    return {"object": "chat.completion.chunk", "model": _MODEL, "choices": [choice]}


def _count_choices(request: Mapping[str, Any]) -> int:
    count = request.get("n")
    return min(max(count, 1), 16) if isinstance(count, int) else 1


def _count_usage(request: Mapping[str, Any], text: str) -> dict[str, int]:
    """Return the usage; words are counted as tokens."""
    asked = sum(
        len(_extract_text(message.get("content")).split())
        for message in request["messages"]
        if isinstance(message, Mapping)
    )
    said = len(text.split()) * _count_choices(request)
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def build_client(settings: EchoSettings, sessions: HttpSessions) -> Echo:
    """Return the client for ``settings``; it opens no session."""
    return Echo(settings)


VENDOR = Vendor(EchoSettings, build_client)
