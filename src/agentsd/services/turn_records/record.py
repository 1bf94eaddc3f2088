"""Turn of a conversation as a frozen value: what a ledger, a trace or a bench needs of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from agentsd.providers.meter import Consumption, Meter, MeteredClient

Channel = Literal["chat", "responses", "completions", "speech", "transcription", "embeddings", "call"]
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
    answers_discarded: int = 0  # begun before the caller had finished, and thrown away
    tokens_discarded: int = 0  # of those, estimated
    characters_discarded: int = 0  # of those, given to the voice


@dataclass(frozen=True, slots=True)
class TurnFailure:
    """Failure of a vendor, in words of fixed lists."""

    kind: str  # the section: llm
    provider: str
    reason: str  # of ``services.failures.TEXTS``
    code: str | None = None  # OpenAI's, where one fits


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
    failure: TurnFailure | None = None  # of the vendor that the turn failed by
    token: str = ""  # who asked: ``acme/kiosk``
    metered: tuple[tuple[MeteredClient, Consumption], ...] = ()  # what each vendor counted, or was sent
    taken_over: TurnAgent | None = None  # agent that ended the turn, where that is another one


def sum_usage(
    meter: Meter, kind: str = "llm", *, characters: int | None = None, seconds: float | None = None
) -> TurnUsage:
    """Return the usage of a turn, with the tokens of ``kind``.

    ``characters`` and ``seconds``: as the turn itself measured them; None: as the vendors were sent them.
    """
    read = written = cached = spoken = 0
    heard = 0.0
    for client, used in meter.used.items():
        if client.kind == kind:
            read, written = read + used.tokens_in, written + used.tokens_out
            cached += used.tokens_cached
        spoken, heard = spoken + used.characters, heard + used.seconds
    return TurnUsage(
        read,
        written,
        cached,
        spoken if characters is None else characters,
        heard if seconds is None else seconds,
    )
