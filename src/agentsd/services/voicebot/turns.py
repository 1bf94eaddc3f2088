"""Turn: what is heard, and the answer to it, on the one version of the one agent that it leased."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Literal

from agentsd.core.errors import AgentsdError
from agentsd.core.manifest.turn import Interrupt
from agentsd.core.manifest.turn import Turn as TurnSettings
from agentsd.core.manifest.variables import Value
from agentsd.providers.base import LiveAgent
from agentsd.providers.resilience.attempts import Attempts
from agentsd.services.tools.events import ToolCall
from agentsd.services.turn_records.record import TurnAgent
from agentsd.services.voicebot.answer import Answer
from agentsd.services.voicebot.conversation import ConversationItem
from agentsd.services.voicebot.events import CallEvent
from agentsd.services.voicebot.prepared_answer import PreparedAnswer
from agentsd.services.voicebot.turn_state import Phase, TurnState
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
    variables: Mapping[str, Value] = field(default_factory=dict, repr=False)  # values that the client brought
    _merged: list[tuple[TurnSettings, TurnSettings]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )  # the newest result of ``turn_over``, which is asked for at every frame

    def turn_over(self, manifest: TurnSettings) -> TurnSettings:
        """Return the manifest's settings overridden by this call's."""
        if not self._merged or self._merged[0][0] is not manifest:
            self._merged[:] = [(manifest, self._merge(manifest))]
        return self._merged[0][1]

    def _merge(self, manifest: TurnSettings) -> TurnSettings:
        fields = dict(self.turn)
        enabled = fields.get("interrupt")
        if isinstance(enabled, bool):  # a client switches it; how it is confirmed stays the manifest's
            known = manifest.interruption
            fields["interrupt"] = known.model_copy(update={"enabled": enabled})
        return manifest.model_copy(update=fields)


@dataclass(slots=True)
class CallSetup:
    """Choices of a call's client for its next turn."""

    ref: str  # the agent
    preferences: CallPreferences


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
    approved: tuple[ToolCall, ...] = ()  # calls that the client agreed to: made before the model is asked


@dataclass(frozen=True, slots=True)
class Debt:
    """Answer that a caller is still owed, because speech cut it off.

    ``answer``: it was not heard; ``resume``: it was cut while it was spoken.
    """

    kind: Literal["answer", "resume"]
    cut: Answer | None = None


@dataclass(slots=True, eq=False)
class CallTurn:
    """Turn in progress. Its task is the only one that runs it; ``state`` is changed by the runner only."""

    ref: str
    preferences: CallPreferences
    state: TurnState = field(default_factory=TurnState)
    utterance: Utterance | None = None
    greets: bool = False
    handovers: int = 0  # hand-offs since the caller spoke
    breaks_silence: bool = False  # it says what the manifest has for silence of both
    ask: AnswerRequest = field(default_factory=AnswerRequest)
    earlier: tuple[CallTurn, ...] = ()  # turns to transcribe before this one answers
    heard: asyncio.Event = field(default_factory=asyncio.Event)  # set when the transcription has ended
    began: float = 0.0
    asked_at: float | None = None
    voiced_at: float | None = None  # the last sound of the caller's voice
    transcribed_at: float | None = None
    contested: bool = False  # it began while the agent answered
    hidden: list[CallEvent] = field(default_factory=list)  # events until its speech is confirmed
    speech_ms: int = 0
    words: int = 0  # recognised so far that are not ignored
    resembles: bool = False  # its sound is like the agent's
    compare_ms: int = 0  # length of speech at which that is looked at again
    partials: bool = False  # the STT reports words while they are spoken
    likely_over: bool = False  # the caller is silent, and has likely finished
    so_far: str | None = None  # transcript of everything up to the present pause, once it is known
    prepared: PreparedAnswer | None = None
    discarded: list[PreparedAnswer] = field(default_factory=list)
    answer: Answer | None = None
    error: AgentsdError | None = None
    agent: TurnAgent | None = None
    attempts: Attempts = field(default_factory=Attempts)
    live: LiveAgent | None = None  # for as long as it is leased
    context: Context | None = None  # of its task, for tasks beside it
    task: asyncio.Task[None] | None = None

    @property
    def listening(self) -> bool:
        """Return whether the caller still speaks."""
        return self.state.phase is Phase.LISTENING

    @property
    def pending(self) -> bool:
        """Return whether an answer is asked for that has not ended."""
        if self.state.phase is Phase.ANSWERING:
            return self.answer is None or self.answer.open
        return self.state.phase is not Phase.ENDED and self.state.wants


CERTAIN_MS = 1000
"""Speech that interrupts though no word of it was recognised: recognisers may be slow."""


def is_certain(turn: CallTurn, interrupt: Interrupt) -> bool:
    """Return whether the speech of ``turn`` is long enough, and has enough words, to interrupt."""
    if turn.speech_ms < interrupt.min_ms:
        return False
    worded = turn.words >= interrupt.min_words or not turn.partials
    return worded or turn.speech_ms >= CERTAIN_MS
