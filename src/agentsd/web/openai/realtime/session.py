"""Settings of a Realtime session: the fields of ``session.update`` and of ``session.*`` events.

An absent field stays as it is. Unsupported features (tools, semantic_vad, other rates) are refused
rather than silently ignored; settings that only OpenAI's own models have (voice, speed, noise
reduction, transcription model, tracing, …) are set in the manifest here, and are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentsd.audio import g711
from agentsd.services.voicebot.turns import PCM_RATE, CallPreferences
from agentsd.web.http.problem import Problem, bad_request

TURN_FIELDS = {
    "threshold": "threshold",
    "prefix_padding_ms": "prefix_padding_ms",
    "silence_duration_ms": "silence_ms",
    "interrupt_response": "interrupt",
}
"""OpenAI's names for the fields of a manifest's ``turn``."""


class RealtimeModel(BaseModel):
    """Base model that ignores unknown keys: clients send fields of newer servers."""

    model_config = ConfigDict(frozen=True, extra="ignore")


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
        """Decode a client's audio to PCM. Raise ``Problem`` for half a sample."""
        if self.law:
            return g711.decode_g711(self.law, data)
        if len(data) % 2:
            raise bad_request("16-bit audio must have an even number of bytes", param="audio")
        return data

    def encode(self, pcm: bytes) -> bytes:
        """Encode PCM in the client's format."""
        return g711.encode_g711(self.law, pcm) if self.law else pcm


class TurnDetection(RealtimeModel):
    """Turn detection of the type ``server_vad``."""

    type: Literal["server_vad"] = "server_vad"
    threshold: float | None = Field(default=None, gt=0, lt=1)
    prefix_padding_ms: int | None = Field(default=None, ge=0, le=2000)
    silence_duration_ms: int | None = Field(default=None, ge=50, le=10_000)
    create_response: bool | None = None
    interrupt_response: bool | None = None


class AudioInput(RealtimeModel):
    """Audio from the caller."""

    format: AudioFormat | None = None
    turn_detection: TurnDetection | None = None


class AudioOutput(RealtimeModel):
    """Audio to the caller."""

    format: AudioFormat | None = None


class AudioSettings(RealtimeModel):
    """Audio settings of both directions."""

    input: AudioInput | None = None
    output: AudioOutput | None = None


class SessionUpdate(RealtimeModel):
    """Field ``session`` of ``session.update``."""

    type: Literal["realtime"] = "realtime"
    model: str | None = Field(default=None, max_length=500)
    instructions: str | None = Field(default=None, max_length=200_000)
    output_modalities: list[Literal["text", "audio"]] | None = Field(default=None, min_length=1, max_length=2)
    audio: AudioSettings | None = None
    tools: list[Any] | None = Field(default=None, max_length=0)


@dataclass(frozen=True, slots=True)
class RealtimeSession:
    """Settings of one session. ``updated`` makes the next ones."""

    id: str
    aloud: bool = True
    instructions: str = ""
    input: AudioFormat = field(default_factory=AudioFormat)
    output: AudioFormat = field(default_factory=AudioFormat)
    detection: TurnDetection | None = field(default_factory=TurnDetection)

    def updated(self, update: SessionUpdate) -> RealtimeSession:
        """Return a copy with the changes of ``update``."""
        audio = update.audio or AudioSettings()
        heard, said = audio.input or AudioInput(), audio.output or AudioOutput()
        modalities = update.output_modalities
        detection = self.detection
        if "turn_detection" in heard.model_fields_set:  # null switches it off
            detection = heard.turn_detection
        return replace(
            self,
            aloud=self.aloud if modalities is None else "audio" in modalities,
            instructions=self.instructions if update.instructions is None else update.instructions,
            input=heard.format or self.input,
            output=said.format or self.output,
            detection=detection,
        )

    def preferences(self) -> CallPreferences:
        """Return the preferences for the call."""
        told = self.detection.model_dump(exclude_none=True) if self.detection else {}
        return CallPreferences(
            input_rate=self.input.hertz,
            output_rate=self.output.hertz,
            instructions=self.instructions,
            aloud=self.aloud,
            detect=self.detection is not None,
            reply=told.get("create_response", True),
            turn={ours: told[theirs] for theirs, ours in TURN_FIELDS.items() if theirs in told},
            label=self.output,
        )

    def view(self, agent: str, version: int, turn: dict[str, Any], *, voiced: bool) -> dict[str, Any]:
        """Return ``session`` of an event. ``turn``: the effective settings of manifest and session."""
        detection = None
        if self.detection is not None:
            detection = {"type": "server_vad", "create_response": self.detection.create_response is not False}
            detection |= {theirs: turn[ours] for theirs, ours in TURN_FIELDS.items()}
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": self.id,
            "model": agent,
            "output_modalities": ["audio" if self.aloud and voiced else "text"],
            "instructions": self.instructions,
            "audio": {
                "input": {"format": self.input.view(), "turn_detection": detection},
                "output": {"format": self.output.view()},
            },
            "agent": agent,
            "agent_version": version,
        }


def parse_model(shape: type[RealtimeModel], value: object, where: str) -> Any:
    """Parse ``value`` as a ``shape``. Raise ``Problem`` 400, which names the field and quotes no value."""
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        param = ".".join([where, *(str(part) for part in first["loc"])])
        raise Problem(
            400, "invalid_value", f"{param} is not a value that this server supports", param=param
        ) from None
