"""Turn: what is heard, and the answer to it, on the one version of the one agent that it leased."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentsd.core.errors import AgentsdError
from agentsd.core.manifest.agent import Turn as TurnSettings
from agentsd.services.voicebot.answer import Answer
from agentsd.services.voicebot.conversation import ConversationItem
from agentsd.services.voicebot.events import CancelReason
from agentsd.services.voicebot.utterance import Utterance

PCM_RATE = 24_000
"""Default sample rate of a session: the Realtime API's own."""


class CallRefused(AgentsdError):
    """Error of a request that does not fit the call's state.

    ``code`` is the Realtime API's, where it has one.
    """

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


@dataclass(frozen=True, slots=True)
class CallPreferences:
    """Settings of a call that differ from the manifest. A turn runs on those of its start."""

    input_rate: int = PCM_RATE
    output_rate: int = PCM_RATE
    instructions: str = ""  # sent to the model after the agent's own prompt
    aloud: bool = True  # answer with sound, where the agent has a voice
    detect: bool = True  # detect speech; otherwise the client calls ``commit``
    reply: bool = True  # answer automatically when the caller has finished
    turn: Mapping[str, Any] = field(default_factory=dict)  # fields of the manifest's ``turn``
    label: object = None  # the embedder's own value, returned with every answer
    options: Mapping[str, Any] = field(default_factory=dict)  # fields of a chat completion: tools, limits, …

    def turn_over(self, manifest: TurnSettings) -> TurnSettings:
        """Return the manifest's settings overridden by this call's."""
        return manifest.model_copy(update=dict(self.turn))


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """Options of one answer. None: as the call's preferences."""

    instructions: str | None = None
    aloud: bool | None = None
    output_rate: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  # replace those of the preferences
    context: tuple[ConversationItem, ...] | None = None  # answered in place of the conversation
    prompt: str = ""  # last message to the model, for this answer only
    kept: bool = True  # False: an answer beside the conversation, which neither waits nor is interrupted
    label: object = None  # the embedder's own value, returned with the answer


@dataclass(slots=True, eq=False)
class CallTurn:
    """Turn in progress. Its task is the only one that runs it."""

    ref: str
    preferences: CallPreferences
    utterance: Utterance | None = None
    greets: bool = False
    replies: bool = False  # whether it is answered
    ask: AnswerRequest = field(default_factory=AnswerRequest)
    earlier: tuple[CallTurn, ...] = ()  # turns to transcribe before this one answers
    heard: asyncio.Event = field(default_factory=asyncio.Event)  # set when the transcription has ended
    asked_at: float | None = None
    stopped: CancelReason | None = None  # cancelled before its answer began
    answer: Answer | None = None
    task: asyncio.Task[None] | None = None

    @property
    def listening(self) -> bool:
        """Return whether the caller still speaks."""
        return self.utterance is not None and not self.utterance.ended.is_set()

    @property
    def pending(self) -> bool:
        """Return whether an answer is asked for that has not ended."""
        return self.replies and self.stopped is None and (self.answer is None or self.answer.open)

    def stop(self, reason: CancelReason) -> bool:
        """Interrupt the answer, now or as soon as it begins. Return False if there is none."""
        if not self.pending:
            return False
        if self.answer is not None:
            return self.answer.interrupt(reason)
        if self.utterance is not None:
            self.replies = False  # the transcript stays; the newer speech is answered instead
        else:
            self.stopped = reason
        return True
