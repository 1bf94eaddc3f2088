"""Settings of a Realtime session, as a value, and as ``session`` in events.

``session`` of an event is what runs: settings that only OpenAI's own models have (voice, speed, noise
reduction, transcription model, tracing) stay as the manifest has them, and are shown so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from agentsd.audio import g711, turn_model
from agentsd.core.manifest.turn import Waits
from agentsd.core.manifest.variables import Value
from agentsd.services.voicebot.serving_agent import ServingAgent
from agentsd.services.voicebot.turns import PCM_RATE, CallPreferences
from agentsd.web.openai.realtime.fields import RealtimeModel
from agentsd.web.openai.realtime.tools import Tool, make_tool_options

TURN_FIELDS = {
    "threshold": "threshold",
    "prefix_padding_ms": "prefix_padding_ms",
    "silence_duration_ms": "silence_ms",
    "interrupt_response": "interrupt",
}
"""OpenAI's names for the fields of a manifest's ``turn``."""

EAGERNESS_MS: Mapping[str, int] = {"low": 1000, "high": 300}
"""Silence that stands for the eagerness of ``semantic_vad``; for other values the manifest's."""

EAGERNESS_WAITS: Mapping[str, Waits] = {
    "low": Waits(sure=400, unsure=5000),
    "high": Waits(sure=200, unsure=1000),
}
"""The same, where an end-of-turn model is installed."""

TURN_REPORTS = "agentsd.turn"
"""Name in ``include`` by which a client asks for ``agentsd.turn.done``."""

HIDDEN_TOOLS = "agentsd.hidden_tools"
"""Name in ``include`` by which a client asks not to see calls of tools that this server runs."""

INCLUDABLE = (TURN_REPORTS, HIDDEN_TOOLS)
"""Names of ``include`` that this server knows."""

SessionKind = Literal["realtime", "transcription"]


class AudioFormat(RealtimeModel):
    """Audio format. Rates other than 24,000 are an extension."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: int | None = Field(default=None, ge=8000, le=48_000)

    @property
    def law(self) -> g711.Law | None:
        """Return the companding law of G.711, or None for PCM."""
        laws: dict[str, g711.Law] = {"audio/pcmu": "u", "audio/pcma": "a"}
        return laws.get(self.type)

    @property
    def hertz(self) -> int:
        """Return the sample rate in samples per second."""
        return g711.RATE if self.law else self.rate or PCM_RATE

    def view(self) -> dict[str, Any]:
        """Return the format as in events."""
        return {"type": self.type} if self.law else {"type": self.type, "rate": self.hertz}

    def decode(self, data: bytes) -> bytes:
        """Decode a client's audio to PCM: an even number of bytes, where it is PCM already."""
        return g711.decode_g711(self.law, data) if self.law else data

    def encode(self, pcm: bytes) -> bytes:
        """Encode PCM in the client's format."""
        return g711.encode_g711(self.law, pcm) if self.law else pcm


class TurnDetection(RealtimeModel):
    """Turn detection. ``semantic_vad`` is mapped to ``smart`` or, without its model, to silence.

    Its ``eagerness`` is mapped to how long. A client that names no type gets the manifest's.
    """

    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: float | None = Field(default=None, gt=0, lt=1)
    prefix_padding_ms: int | None = Field(default=None, ge=0, le=2000)
    silence_duration_ms: int | None = Field(default=None, ge=50, le=10_000)
    create_response: bool | None = None
    interrupt_response: bool | None = None
    idle_timeout_ms: int | None = Field(default=None, ge=1000, le=600_000)
    eagerness: Literal["low", "medium", "high", "auto"] | None = None

    def override(self) -> dict[str, Any]:
        """Return the fields of a manifest's ``turn`` that it replaces."""
        given = self.model_dump(exclude_none=True)
        turn = {ours: given[theirs] for theirs, ours in TURN_FIELDS.items() if theirs in given}
        if "type" in self.model_fields_set:
            turn["detection"] = self._choose_detection()
        eagerness = self.eagerness or ""
        if self.type == "semantic_vad" and eagerness in EAGERNESS_MS:
            waits = {"silence_ms": EAGERNESS_MS[eagerness], "wait_ms": EAGERNESS_WAITS[eagerness]}
            return {**waits, **turn}
        return turn

    def _choose_detection(self) -> str:
        smart = self.type == "semantic_vad" and turn_model.find_turn_model() is not None
        return "smart" if smart else "silence"


@dataclass(frozen=True, slots=True)
class RealtimeSession:
    """Settings of one session."""

    id: str
    kind: SessionKind = "realtime"
    aloud: bool = True
    instructions: str = ""
    input: AudioFormat = field(default_factory=AudioFormat)
    output: AudioFormat = field(default_factory=AudioFormat)
    detection: TurnDetection | None = field(default_factory=TurnDetection)
    tools: tuple[Tool, ...] = ()
    tool_choice: Any = "auto"
    parallel_tool_calls: bool | None = None
    max_output_tokens: int | None = None  # None: as many as the model allows
    temperature: float | None = None
    reasoning: Mapping[str, Any] | None = None
    lead_ms: int | None = None  # None: as the manifest has it
    include: tuple[str, ...] = ()  # of ``INCLUDABLE``
    variables: Mapping[str, Value] = field(default_factory=dict, repr=False)  # shown in no event

    def options(self) -> dict[str, Any]:
        """Return the fields of a chat completion for every answer."""
        tools = make_tool_options(self.tools, self.tool_choice, parallel=self.parallel_tool_calls)
        options = {
            "max_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "reasoning_effort": (self.reasoning or {}).get("effort"),
            **tools,
        }
        return {key: value for key, value in options.items() if value is not None}

    def preferences(self) -> CallPreferences:
        """Return the preferences for the call."""
        detection = self.detection
        paced = {} if self.lead_ms is None else {"lead_ms": self.lead_ms}
        return CallPreferences(
            input_rate=self.input.hertz,
            output_rate=self.output.hertz,
            instructions=self.instructions,
            aloud=self.aloud,
            detect=detection is not None,
            reply=self.kind == "realtime" and (detection is None or detection.create_response is not False),
            turn={**(detection.override() if detection else {}), **paced},
            label=self.output,
            options=self.options(),
            variables=self.variables,
        )

    def view(self, serving: ServingAgent, turn: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``session`` of an event. ``turn``: the effective settings of manifest and session."""
        agent = {"agent": serving.agent, "agent_version": serving.version}
        heard = self._view_input(serving, turn)
        if self.kind == "transcription":
            kind = {"type": self.kind, "object": "realtime.transcription_session", "id": self.id}
            return {**kind, "audio": {"input": heard}, "include": self._view_include(), **agent}
        shown = {
            "type": self.kind,
            "object": "realtime.session",
            "id": self.id,
            "model": serving.agent,
            "output_modalities": ["audio" if self.aloud and serving.voiced else "text"],
            "instructions": self.instructions,
            "audio": {
                "input": heard,
                "output": {"format": self.output.view(), "voice": None, "speed": 1.0, **_view_lead(turn)},
            },
            "tools": list(self.tools),
            "tool_choice": self.tool_choice,
            "max_output_tokens": self.max_output_tokens or "inf",
            "truncation": "auto",
            "prompt": None,
            "tracing": None,
            "include": self._view_include(),
            **agent,
        }
        extra = {
            "temperature": self.temperature,
            "reasoning": self.reasoning,
            "parallel_tool_calls": self.parallel_tool_calls,
        }
        return shown | {key: value for key, value in extra.items() if value is not None}

    def _view_include(self) -> list[str] | None:
        return list(self.include) or None

    def _view_input(self, serving: ServingAgent, turn: Mapping[str, Any]) -> dict[str, Any]:
        transcription = None
        if serving.listens_by is not None:
            transcription = {"model": serving.listens_by, "language": serving.language, "prompt": None}
        return {
            "format": self.input.view(),
            "transcription": transcription,
            "noise_reduction": None,
            "turn_detection": self._view_detection(turn),
        }

    def _view_detection(self, turn: Mapping[str, Any]) -> dict[str, Any] | None:
        if self.detection is None:
            return None
        shown = {theirs: turn[ours] for theirs, ours in TURN_FIELDS.items()}
        interrupt = shown["interrupt_response"]
        smart = turn["detection"] == "smart"
        named = {"eagerness": self.detection.eagerness or "auto", "wait_ms": turn["wait_ms"]}
        return {
            "type": "semantic_vad" if smart else "server_vad",
            **(named if smart else {}),
            **shown,
            "interrupt_response": interrupt["enabled"] if isinstance(interrupt, Mapping) else interrupt,
            "create_response": self.preferences().reply,
            "idle_timeout_ms": self.detection.idle_timeout_ms,
        }


def _view_lead(turn: Mapping[str, Any]) -> dict[str, int]:
    """Return how far sound is sent ahead, where it is paced: an extension."""
    return {} if turn["lead_ms"] is None else {"lead_ms": turn["lead_ms"]}
