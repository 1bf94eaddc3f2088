"""Events of a call, as values. ``Call.events()`` yields them in order.

``item`` names a contribution (the caller's utterance, the agent's answer), ``answer`` one response
of the agent. Times are in milliseconds of sound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from agentsd.core.errors import AgentsdError
from agentsd.providers.tool import ToolResult
from agentsd.services.turn_records.record import TurnRecord
from agentsd.services.voicebot.playback import Playback

AnswerStatus = Literal["completed", "cancelled", "failed", "incomplete"]
CancelReason = Literal["turn_detected", "client_cancelled", "max_output_tokens", "content_filter"]
"""Why an answer was cancelled, or is incomplete."""

EndReason = Literal[
    "answered",
    "interrupted",  # by the caller
    "cancelled",  # by the client
    "failed",
    "unheard",  # no words were recognised
    "ignored",  # words that the manifest ignores while the agent speaks
    "echo",  # the agent's own voice
    "unanswered",  # the client did not want an answer, or newer speech is answered instead
    "dropped",  # cleared by the client, or the call is over
]
"""Why a turn ended."""

DiscardReason = Literal[
    "resumed",  # the caller went on
    "changed",  # the conversation is another than the one that was answered
    "failed",  # a vendor failed while it was prepared
    "unwanted",  # nothing is to be answered
]
"""Why a prepared answer was thrown away."""

CallEndReason = Literal["error", "idle"]
"""Why the agent ended a call: as ``on_error.then`` or ``idle.then`` says."""


@dataclass(frozen=True, slots=True)
class AgentServes:
    """Change to another agent, or another version of it, from the turn that begins now."""

    agent: str  # slug
    version: int


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """Beginning of the caller's speech."""

    item: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """End of the caller's speech, also where it lasted too long."""

    item: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class UtteranceCommitted:
    """New item of the conversation from the caller's speech; its transcript is to come."""

    item: str
    previous: str | None


@dataclass(frozen=True, slots=True)
class UtteranceCleared:
    """Discarding of what the caller was saying."""


@dataclass(frozen=True, slots=True)
class TranscriptDelta:
    """Next part of a transcript."""

    item: str
    delta: str


@dataclass(frozen=True, slots=True)
class TranscriptCompleted:
    """Whole transcript; empty where no words were recognised."""

    item: str
    text: str
    seconds: float  # of audio


@dataclass(frozen=True, slots=True)
class TranscriptFailed:
    """Failure of a transcript, which will not come."""

    item: str
    error: AgentsdError


@dataclass(frozen=True, slots=True)
class AnswerBegan:
    """Beginning of an answer; ``aloud`` with sound, otherwise in writing."""

    answer: str
    item: str
    previous: str | None
    agent: str
    version: int
    aloud: bool
    label: object  # ``Preferences.label`` of the turn
    ask: object = None  # ``AnswerRequest.label``
    kept: bool = True  # part of the conversation


@dataclass(frozen=True, slots=True)
class AnswerText:
    """Next part of the answer's text."""

    answer: str
    delta: str


@dataclass(frozen=True, slots=True)
class AnswerSound:
    """Next part of the answer's sound: PCM at the call's output rate."""

    answer: str
    pcm: bytes
    ms: float
    playback: Playback = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ToolCallBegan:
    """Beginning of a call of a client's tool, in an answer."""

    answer: str
    item: str
    previous: str | None
    call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """Next part of the arguments of a call."""

    answer: str
    item: str
    delta: str


@dataclass(frozen=True, slots=True)
class ToolCallEnded:
    """End of a call; not ``whole`` where the answer ended before."""

    answer: str
    item: str
    arguments: str
    whole: bool


@dataclass(frozen=True, slots=True)
class ServerCallBegan:
    """Beginning of a call of a tool that this server runs, in an answer."""

    answer: str
    item: str
    previous: str | None
    call_id: str  # of a call that the user agreed to: the request's id
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ServerCallEnded:
    """End of such a call. It may come after the end of its answer, which was interrupted."""

    answer: str
    item: str
    result: ToolResult


@dataclass(frozen=True, slots=True)
class ApprovalRequested:
    """Request for the user's consent to such a call."""

    answer: str
    item: str
    previous: str | None
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class AnswerEnded:
    """End of an answer. ``text`` is what the conversation keeps: the text as far as it was heard."""

    answer: str
    item: str
    status: AnswerStatus
    reason: CancelReason | None
    text: str
    heard_ms: int | None  # of an answer that was interrupted while it was spoken
    usage: Mapping[str, Any] | None  # as the LLM's vendor sends it
    citations: Sequence[Mapping[str, Any]]  # passages that the LLM received
    error: AgentsdError | None


@dataclass(frozen=True, slots=True)
class AnswerDiscarded:
    """Answer to ``item`` that was prepared before its end was certain, and that nobody heard."""

    item: str
    reason: DiscardReason
    text: str
    tokens: int  # as the vendor counts, or estimated
    characters: int  # given to the voice
    sound_ms: int


@dataclass(frozen=True, slots=True)
class AnswerTruncated:
    """Cut of a whole answer while it was still playing: ``text`` of it is kept."""

    item: str
    heard_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class TurnFailed:
    """Failure of a turn before it could answer. The call goes on."""

    error: AgentsdError
    ask: object = None  # ``AnswerRequest.label``


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """End of a turn, with its reason. Each turn has one, after all its other events."""

    record: TurnRecord
    item: str | None = None  # the caller's, where the turn was spoken
    answer: str | None = None
    ask: object = None  # ``AnswerRequest.label``


@dataclass(frozen=True, slots=True)
class CallEnded:
    """End of the call by the agent; the last event."""

    reason: CallEndReason


@dataclass(frozen=True, slots=True)
class EmbedderNote:
    """Note of the embedder's own, in its place among the other events."""

    value: Mapping[str, Any]
    size: int = 0  # bytes of its texts


CallEvent = (
    AgentServes
    | SpeechBegan
    | SpeechEnded
    | UtteranceCommitted
    | UtteranceCleared
    | TranscriptDelta
    | TranscriptCompleted
    | TranscriptFailed
    | AnswerBegan
    | AnswerText
    | AnswerSound
    | ToolCallBegan
    | ToolCallDelta
    | ToolCallEnded
    | ServerCallBegan
    | ServerCallEnded
    | ApprovalRequested
    | AnswerEnded
    | AnswerDiscarded
    | AnswerTruncated
    | TurnFailed
    | TurnEnded
    | CallEnded
    | EmbedderNote
)
