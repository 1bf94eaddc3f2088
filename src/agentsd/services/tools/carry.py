"""Messages that an agent which takes over gets: the history, a summary, or the last question."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from agentsd.core.errors import AgentsdError
from agentsd.core.manifest.handoff import Carry
from agentsd.providers.base import LLM

SUMMARY_TIMEOUT_SECONDS = 8.0
"""Timeout of a summary; without one the last messages are carried."""

SUMMARY_TOKENS_MAX = 400
SUMMARY_CHARACTERS_MAX = 4000
"""Bounds of a summary."""

LAST_MESSAGES = 6
"""Messages that are carried where there is no summary."""

_ASK = (
    "A colleague takes over this conversation and sees none of it. Write down for them, in at most 150 "
    "words, what the user wants, what was found out, and what was promised. Write the notes only."
)
_NOTES = "Notes of the agent that talked to me before you:"

_log = logging.getLogger(__name__)

Message = Mapping[str, Any]


async def carry_messages(
    carry: Carry, llm: LLM, said: Sequence[Message], rounds: Sequence[Message]
) -> list[Message]:
    """Return the messages that the other agent gets: never empty, the last one not the first agent's words.

    ``said``: the client's messages; ``rounds``: calls of tools since, with their results. ``llm``: of the
    agent that hands over, which writes the summary.
    """
    if carry == "history":
        return [*said, *rounds]
    system = [one for one in said if one.get("role") in ("system", "developer")]
    question = [one for one in said if one.get("role") == "user"][-1:]
    if carry == "nothing":
        return [*system, *question]
    notes = await summarise_conversation(llm, [*said, *rounds])
    if notes is None:
        return [*system, *_find_last(said)]
    return [*system, make_notes(notes), *question]


def make_notes(notes: str) -> dict[str, Any]:
    """Return a summary as the message of a conversation."""
    return {"role": "user", "content": f"{_NOTES}\n{notes}"}


async def summarise_conversation(llm: LLM, messages: Sequence[Message]) -> str | None:
    """Return what the model writes down of a conversation; None where it does not, in time."""
    request = {"messages": [*messages, {"role": "user", "content": _ASK}], "max_tokens": SUMMARY_TOKENS_MAX}
    try:
        async with asyncio.timeout(SUMMARY_TIMEOUT_SECONDS):
            answer = await llm.complete(request)
        content = answer["choices"][0]["message"].get("content")
    except (AgentsdError, TimeoutError, LookupError) as error:
        _log.warning("a hand-off has no summary", extra={"error": type(error).__name__})
        return None
    text = content.strip()[:SUMMARY_CHARACTERS_MAX] if isinstance(content, str) else ""
    return text or None


def _find_last(said: Sequence[Message]) -> list[Message]:
    """Return the last messages, from one of the user's on: results of tools need their calls."""
    spoken = [one for one in said if one.get("role") in ("user", "assistant") and not one.get("tool_calls")]
    last = spoken[-LAST_MESSAGES:]
    first = next((index for index, one in enumerate(last) if one.get("role") == "user"), 0)
    return list(last[first:])
