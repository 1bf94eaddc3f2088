"""Retrieval: passages for a question, given to the model of an agent with ``rag``, with citations.

A failed retrieval degrades the answer; it never fails the chat. Agents without ``rag`` never come
here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from typing_extensions import TypedDict

from agentsd.core.errors import AgentsdError
from agentsd.core.manifest.chunks import RANK_CONSTANT, Passage
from agentsd.providers.base import Knowledge, LiveAgent

SEARCH_TIMEOUT_SECONDS = 3.0
"""Timeout of a search: an answer without knowledge is better than none."""

QUERY_MAX = 2000
"""Maximum characters of the question used for the search."""

CONTEXT_MAX = 400
"""Maximum characters of each earlier message that a search takes into account."""

CONTEXT_MESSAGES = 2
"""Earlier messages of a search: the question before, and its answer."""

_INSTRUCTION = (
    "Passages from the documents that you may rely on follow. Where one answers the next question, use "
    "it and cite it by its number in brackets, like [1]. Where none "
    "does, say that the documents do not contain it."
)

_log = logging.getLogger(__name__)


async def add_passages(
    agent: LiveAgent, body: Mapping[str, Any], knowledge: Knowledge | None
) -> tuple[Mapping[str, Any], Sequence[Passage]]:
    """Return ``body`` with passages before its last question, and the passages.

    What precedes stays as it was in the previous request, so a vendor's cache of prefixes holds. For an
    agent without ``rag`` it is unchanged.
    """
    if agent.spec.rag is None or knowledge is None:
        return body, ()
    queries = make_queries(body.get("messages"))
    passages = await _search_passages(agent, queries, knowledge) if queries else ()
    if not passages:
        return body, ()
    return {**body, "messages": _insert_note(body["messages"], _make_instruction(passages))}, passages


def _insert_note(messages: Sequence[Any], text: str) -> list[Any]:
    at = max(index for index, message in enumerate(messages) if _is_question(message))
    return [*messages[:at], {"role": "user", "content": text}, *messages[at:]]


def make_queries(messages: object) -> tuple[str, ...]:
    """Return what to search for: the last question, and the same with what it may refer to.

    "And how much is that?" finds nothing by itself; with the question and the answer before it, it does.
    Empty where there is no question.
    """
    said = (
        [message for message in messages if isinstance(message, Mapping)]
        if isinstance(messages, list)
        else []
    )
    asked = [index for index, message in enumerate(said) if _is_question(message)]
    question = _read_text(said[asked[-1]], QUERY_MAX) if asked else ""
    if not question:
        return ()
    if len(asked) < 2:
        return (question,)
    before = said[asked[-2] : asked[-1]]
    context = [_read_text(one, CONTEXT_MAX) for one in before if one.get("role") in ("user", "assistant")]
    return (question, " ".join([*context[:CONTEXT_MESSAGES], question])[-QUERY_MAX:])


def _is_question(message: object) -> bool:
    return isinstance(message, Mapping) and message.get("role") == "user"


def _read_text(message: Mapping[str, Any], most: int) -> str:
    return _extract_text(message.get("content"))[:most].strip()


async def _search_passages(
    agent: LiveAgent, queries: Sequence[str], knowledge: Knowledge
) -> Sequence[Passage]:
    try:
        async with asyncio.timeout(SEARCH_TIMEOUT_SECONDS):
            found = await asyncio.gather(*(knowledge.search(agent, query) for query in queries))
    except (AgentsdError, TimeoutError) as error:
        _log.warning(
            "answering without knowledge", extra={"agent": agent.slug, "error": type(error).__name__}
        )
        return ()
    return (
        found[0] if len(found) == 1 else fuse_passages(found)[: agent.spec.rag.top_k if agent.spec.rag else 0]
    )


def fuse_passages(rankings: Sequence[Sequence[Passage]]) -> list[Passage]:
    """Return the passages of several rankings as one, by reciprocal rank; the last ranking wins a tie.

    Cormack, Clarke and Buettcher, 2009: https://doi.org/10.1145/1571941.1572114
    """
    scores: dict[tuple[str, int], float] = {}
    known: dict[tuple[str, int], Passage] = {}
    for ranking in reversed(rankings):
        for rank, passage in enumerate(ranking, 1):
            place = passage.path, passage.ordinal
            known.setdefault(place, passage)
            scores[place] = scores.get(place, 0.0) + 1 / (RANK_CONSTANT + rank)
    return sorted(
        (replace(known[place], score=score) for place, score in scores.items()), key=lambda one: -one.score
    )


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


class Citation(TypedDict):
    """Passage that the answer may quote."""

    number: int
    source: str
    heading: str
    chunk: int
    text: str


def make_citations(passages: Sequence[Passage]) -> list[Citation]:
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


def cite_stream(
    chunks: AsyncGenerator[dict[str, Any], None], passages: Sequence[Passage]
) -> AsyncGenerator[dict[str, Any], None]:
    """Return ``chunks`` with the citations in the first one; unchanged where nothing was found."""
    return _add_citations(chunks, passages) if passages else chunks


async def _add_citations(
    chunks: AsyncGenerator[dict[str, Any], None], passages: Sequence[Passage]
) -> AsyncGenerator[dict[str, Any], None]:
    async with aclosing(chunks):
        async for chunk in chunks:
            if chunk.get("choices"):
                yield add_citations(chunk, passages)
                passages = ()
            else:
                yield chunk
