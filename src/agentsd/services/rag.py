"""Retrieval: passages for a question, given to the model of an agent with ``rag``, with citations.

A failed retrieval degrades the answer; it never fails the chat. Agents without ``rag`` never come
here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast

from agentsd.core.errors import AgentsdError
from agentsd.core.manifest.chunks import Passage
from agentsd.providers.base import Knowledge, LiveAgent

SEARCH_TIMEOUT_SECONDS = 3.0
"""Timeout of a search: an answer without knowledge is better than none."""

QUERY_MAX = 2000
"""Maximum characters of the question used for the search."""

_INSTRUCTION = (
    "Passages from the documents that you may rely on follow. Where one answers the question, use it and "
    "cite it by its number in brackets, like [1]. Where none does, say that the documents do not contain it."
)

_log = logging.getLogger(__name__)


async def add_passages(
    agent: LiveAgent, body: Mapping[str, Any], knowledge: Knowledge | None
) -> tuple[Mapping[str, Any], Sequence[Passage]]:
    """Return ``body`` with passages before its messages, and the passages.

    For an agent without ``rag`` it is unchanged.
    """
    query = extract_question(body.get("messages"))
    if agent.spec.rag is None or knowledge is None or not query:
        return body, ()
    passages = await _search_passages(agent, query, knowledge)
    if not passages:
        return body, ()
    note = {"role": "system", "content": _make_instruction(passages)}
    return {**body, "messages": [note, *body["messages"]]}, passages


async def _search_passages(agent: LiveAgent, query: str, knowledge: Knowledge) -> Sequence[Passage]:
    try:
        async with asyncio.timeout(SEARCH_TIMEOUT_SECONDS):
            return await knowledge.search(agent, query)
    except (AgentsdError, TimeoutError) as error:
        _log.warning(
            "answering without knowledge", extra={"agent": agent.slug, "error": type(error).__name__}
        )
        return ()


def extract_question(messages: object) -> str:
    """Return the text of the last user message; empty where there is none."""
    for message in reversed(messages) if isinstance(messages, list) else ():
        if isinstance(message, Mapping) and message.get("role") == "user":
            return _extract_text(message.get("content"))[:QUERY_MAX].strip()
    return ""


def _extract_text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return " ".join(str(part.get("text", "")) for part in parts if isinstance(part, Mapping))


def _make_instruction(passages: Sequence[Passage]) -> str:
    quoted = (
        f"[{number}] {passage.path}{f' › {passage.heading}' if passage.heading else ''}\n{passage.text}"
        for number, passage in enumerate(passages, 1)
    )
    return "\n\n".join([_INSTRUCTION, *quoted])


def make_citations(passages: Sequence[Passage]) -> list[dict[str, Any]]:
    """Return a reply's list of citations: number, source, heading, place and text of each passage."""
    return [
        {
            "number": number,
            "source": passage.path,
            "heading": passage.heading,
            "chunk": passage.ordinal,
            "text": passage.text,
        }
        for number, passage in enumerate(passages, 1)
    ]


def add_citations(answer: dict[str, Any], passages: Sequence[Passage]) -> dict[str, Any]:
    """Return ``answer`` with its citations; unchanged where nothing was found."""
    return {**answer, "citations": make_citations(passages)} if passages else answer


async def add_stream_citations(
    chunks: AsyncIterator[dict[str, Any]], passages: Sequence[Passage]
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield ``chunks`` with the citations in the first one."""
    upstream = cast("AsyncGenerator[dict[str, Any], None]", chunks)
    async with aclosing(upstream):
        async for chunk in upstream:
            yield add_citations(chunk, passages)
            passages = ()
