"""Turn of a conversation as a frozen value: what a ledger, a trace or a bench needs of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

Channel = Literal["chat", "responses", "completions", "call"]
"""Interface through which a conversation is held."""


@dataclass(frozen=True, slots=True)
class TurnAgent:
    """Agent that a turn was leased on."""

    id: UUID
    slug: str
    owner: str
    version: int
    commit: str | None


@dataclass(frozen=True, slots=True)
class TurnTimes:
    """Moments of a turn, in seconds of one monotonic clock. None: it did not come to that."""

    began: float
    speech_ended: float | None = None  # or the request came
    transcribed: float | None = None
    first_token: float | None = None
    first_sound: float | None = None
    ended: float = 0.0
    last_sound: float | None = None  # of the caller's voice: ``speech_ended`` is later by the wait


@dataclass(frozen=True, slots=True)
class TurnUsage:
    """Consumption of a turn. Tokens are those that the vendor counted; 0 where it sent none."""

    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    characters_spoken: int = 0
    seconds_heard: float = 0.0


@dataclass(frozen=True, slots=True)
class ToolUse:
    """Call of a tool in a turn."""

    name: str
    outcome: str  # ``providers.tool.ToolOutcome``
    milliseconds: float


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """Turn that has ended. It contains no text of the conversation."""

    conversation: str
    channel: Channel
    agent: TurnAgent | None  # None: none could be leased
    times: TurnTimes
    reason: str  # why it ended: ``voicebot.events.EndReason``
    usage: TurnUsage = TurnUsage()
    providers: Mapping[str, str] = field(default_factory=dict)  # {"llm": "groq.com"}: those that answered
    fallbacks: tuple[tuple[str, str], ...] = ()  # (kind, provider) that were asked and failed
    tools: tuple[ToolUse, ...] = ()  # called, in the order of their ends
    interrupted: bool = False
    error: str | None = None  # class of the error


def read_token_usage(usage: Mapping[str, Any] | None) -> tuple[int, int, int]:
    """Return the tokens in, out and cached of a chat completion's ``usage``; odd values count as 0."""
    if not isinstance(usage, Mapping):
        return 0, 0, 0
    details = usage.get("prompt_tokens_details")
    cached = _read_count(details, "cached_tokens") if isinstance(details, Mapping) else 0
    return _read_count(usage, "prompt_tokens"), _read_count(usage, "completion_tokens"), cached


def _read_count(values: Mapping[str, Any], key: str) -> int:
    value = values.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
