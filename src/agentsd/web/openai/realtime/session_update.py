"""Partial application of ``session.update``: what is right is applied, each other field is refused by name.

Fields of the beta interface (``input_audio_format``, flat ``turn_detection``, ``modalities``, …) are those of
the present one by other names, and are read as such from every client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field

from agentsd.core.errors import VariableRefused
from agentsd.core.manifest.turn import LEAD_MS_MAX, LEAD_MS_MIN
from agentsd.core.manifest.variables import check_values
from agentsd.services.voicebot.serving_agent import ServingAgent
from agentsd.web.http.problem import Problem, from_error
from agentsd.web.openai.realtime.fields import (
    RealtimeModel,
    read_model,
    refuse_unknown,
    refuse_value,
)
from agentsd.web.openai.realtime.override_filter import FIELD_PARTS, is_refused, is_repeated, make_refusal
from agentsd.web.openai.realtime.session import INCLUDABLE, AudioFormat, RealtimeSession, TurnDetection
from agentsd.web.openai.realtime.tools import is_choosable, read_tool_choice, read_tools

INSTRUCTIONS_MAX = 200_000
"""Maximum characters of a session's instructions."""

MODEL_NAME_MAX = 500
OUTPUT_TOKENS_MAX = 1_000_000

BETA_FIELDS: Mapping[str, str] = {
    "modalities": "output_modalities",
    "voice": "audio.output.voice",
    "speed": "audio.output.speed",
    "input_audio_format": "audio.input.format",
    "output_audio_format": "audio.output.format",
    "input_audio_transcription": "audio.input.transcription",
    "input_audio_noise_reduction": "audio.input.noise_reduction",
    "turn_detection": "audio.input.turn_detection",
    "max_response_output_tokens": "max_output_tokens",
}
"""Fields of the beta interface, and where they are now."""

BETA_FORMATS: Mapping[str, str] = {
    "pcm16": "audio/pcm",
    "g711_ulaw": "audio/pcmu",
    "g711_alaw": "audio/pcma",
}

READ_ONLY = frozenset({"id", "object", "expires_at", "agent", "agent_version", "client_secret"})
"""Fields that clients send back as they got them. They change nothing."""

SHOWN_AS_IS = frozenset(
    {"audio.output.voice", "audio.output.speed", "audio.input.noise_reduction", "tracing"}
)
"""Settings of OpenAI's own models: not an error, since many clients always send them; the session in the
reply shows what runs."""

TRANSCRIPTION_FIELDS = frozenset(
    {
        "type", "include", "audio.input.format", "audio.input.transcription", "audio.input.noise_reduction",
        "audio.input.turn_detection",
    }
)  # fmt: skip


_FIRST = frozenset({"type", "model"})
"""Fields that decide what the others may be."""

_ORDER = {"type": 0, "tool_choice": 2}
"""Order of application: the kind of session decides what else is right, a choice is one of the tools."""


class Transcription(RealtimeModel):
    """Field ``audio.input.transcription``."""

    model: str | None = Field(default=None, max_length=MODEL_NAME_MAX)
    language: str | None = None
    prompt: str | None = None
    delay: Any = None


class Reasoning(RealtimeModel):
    """Field ``reasoning``."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None


@dataclass(frozen=True, slots=True)
class UpdatedField:
    """Field of an update: where it is now, and the name by which the client sent it."""

    path: str
    param: str
    value: Any


class SessionEditor:
    """Editor of one session by one update. ``begun``: the call has begun, so its kind is settled.

    ``serving`` is the agent that serves once ``begin`` has been heeded: it decides what clients may change.
    """

    def __init__(self, session: RealtimeSession, serving: ServingAgent, *, begun: bool) -> None:
        self.session = session
        self._serving = serving
        self.refused: list[Problem] = []
        self.applied = 0
        self.model: str | None = None
        self.transcriber: str | None = None  # model of a transcription session
        self._begun = begun
        self._rest: list[UpdatedField] = []

    def begin(self, update: object, where: str = "session") -> None:
        """Read which agent is to serve, and what kind of session it is; the caller then switches."""
        if not isinstance(update, Mapping):
            self.refused.append(refuse_value(where, f"{where} must be an object"))
            return
        fields = list(_list_fields(update, where))
        fields.sort(key=lambda field: _ORDER.get(field.path, 1))
        self._rest = [field for field in fields if field.path not in _FIRST]
        for field in fields:
            if field.path in _FIRST:
                self._edit_field(field)

    def finish(self) -> None:
        """Apply what else can be applied, and collect a problem for each other field."""
        for field in self._rest:
            self._edit_field(field)

    def _edit_field(self, field: UpdatedField) -> None:
        if self.session.kind == "transcription" and field.path not in TRANSCRIPTION_FIELDS:
            if field.value is not None and field.path not in READ_ONLY:
                detail = f"{field.param} has no meaning in a transcription session"
                self.refused.append(refuse_value(field.param, detail))
            return
        if self._is_settled_by_manifest(field):
            return
        if field.path in SHOWN_AS_IS or field.path in READ_ONLY:
            self.applied += field.path in SHOWN_AS_IS
            return
        edit = _EDITS.get(field.path)
        if edit is None:
            where, _, key = field.param.rpartition(".")
            known = field.path in ("audio", "audio.input", "audio.output")
            self.refused.append(refuse_value(field.param) if known else refuse_unknown(where, key))
            return
        before = len(self.refused)
        try:
            edit(self, field)
        except Problem as problem:
            self.refused.append(problem)
        self.applied += len(self.refused) == before and field.path != "type"

    def _is_settled_by_manifest(self, field: UpdatedField) -> bool:
        """Return whether clients may not change a field: refused, or accepted where it changes nothing."""
        policy = self._serving.policy
        if is_refused(policy, self._serving.turn, field.path, field.value):
            self.refused.append(make_refusal(field.param, FIELD_PARTS[field.path]))
            return True
        settled = is_repeated(policy, field.path)
        self.applied += settled
        return settled

    def _set(self, **changes: Any) -> None:
        self.session = replace(self.session, **changes)
        self.applied += 1

    # Fields

    def _edit_type(self, field: UpdatedField) -> None:
        if field.value == self.session.kind or field.value is None:
            return
        if field.value not in ("realtime", "transcription"):
            raise refuse_value(field.param, hint="known: realtime, transcription")
        if self._begun or field.value == "realtime":
            raise refuse_value(field.param, "the type of a session cannot change")
        self._set(kind="transcription")

    def _edit_model(self, field: UpdatedField) -> None:
        if field.value is not None:
            self.model = _read_text(field, MODEL_NAME_MAX)

    def _edit_instructions(self, field: UpdatedField) -> None:
        if field.value is not None:
            self._set(instructions=_read_text(field, INSTRUCTIONS_MAX))

    def _edit_modalities(self, field: UpdatedField) -> None:
        if field.value is not None:
            self._set(aloud=read_modalities(field.value, field.param))

    def _edit_tools(self, field: UpdatedField) -> None:
        tools = read_tools(field.value or [], field.param, self.refused)
        if tools is not None:
            self._set(tools=tools)
            if not is_choosable(self.session.tool_choice, tools):
                self._set(tool_choice="auto")

    def _edit_tool_choice(self, field: UpdatedField) -> None:
        if field.value is not None:
            choice = read_tool_choice(field.value, field.param)
            if not is_choosable(choice, self.session.tools):
                raise refuse_value(field.param, "tool_choice names a function that is not among the tools")
            self._set(tool_choice=choice)

    def _edit_max_output_tokens(self, field: UpdatedField) -> None:
        self._set(max_output_tokens=read_max_tokens(field.value, field.param))

    def _edit_temperature(self, field: UpdatedField) -> None:
        self._set(temperature=read_temperature(field.value, field.param))

    def _edit_parallel(self, field: UpdatedField) -> None:
        if not isinstance(field.value, bool | None):
            raise refuse_value(field.param)
        self._set(parallel_tool_calls=field.value)

    def _edit_reasoning(self, field: UpdatedField) -> None:
        self._set(reasoning=read_reasoning(field.value, field.param, self.refused))

    def _edit_truncation(self, field: UpdatedField) -> None:
        if field.value not in (None, "auto"):
            hint = "the oldest items are dropped where the history is too long: auto"
            raise refuse_value(field.param, f"{field.param} is not supported", hint)

    def _edit_include(self, field: UpdatedField) -> None:
        """Take the names that this server knows. Others are of OpenAI's own models: see ``SHOWN_AS_IS``."""
        named = field.value if isinstance(field.value, list) else []
        self._set(include=tuple(one for one in INCLUDABLE if one in named))

    def _edit_prompt(self, field: UpdatedField) -> None:
        if field.value is not None:
            raise refuse_value(field.param, f"{field.param} is not supported", "send instructions")

    def _edit_input_format(self, field: UpdatedField) -> None:
        if found := self._read_format(field):
            self._set(input=found)

    def _edit_output_format(self, field: UpdatedField) -> None:
        if found := self._read_format(field):
            self._set(output=found)

    def _read_format(self, field: UpdatedField) -> AudioFormat | None:
        return None if field.value is None else read_format(field.value, field.param, self.refused)

    def _edit_lead(self, field: UpdatedField) -> None:
        self._set(lead_ms=None if field.value is None else read_lead(field.value, field.param))

    def _edit_transcription(self, field: UpdatedField) -> None:
        if field.value is not None:
            transcription = read_model(Transcription, field.value, field.param, self.refused)
            self.transcriber = transcription.model if transcription else None
            language = transcription.language if transcription else None
            if not self._serving.policy.accepts_language(language):
                self.refused.append(make_refusal(f"{field.param}.language", "language"))

    def _edit_variables(self, field: UpdatedField) -> None:
        """Take over values of variables; null for one, or for all, is its default."""
        if field.value is None:
            self._set(variables={})
            return
        given = field.value if isinstance(field.value, Mapping) else {}
        gone = {name for name, value in given.items() if value is None and name in self._serving.variables}
        named = {name: value for name, value in given.items() if name not in gone}
        checked = check_values(self._serving.variables, named if given else field.value)
        for one in checked.problems:
            param = f"{field.param}.{one.name}" if one.name else field.param
            self.refused.append(from_error(VariableRefused(one.message, param=param, hint=one.hint)))
        if checked.values or gone:
            kept = {name: value for name, value in self.session.variables.items() if name not in gone}
            self._set(variables={**kept, **checked.values})

    def _edit_detection(self, field: UpdatedField) -> None:
        if field.value is None or field.value == {"type": "none"}:
            self._set(detection=None)
            return
        before = len(self.refused)
        detection = read_model(TurnDetection, field.value, field.param, self.refused)
        types = f"{field.param}.type"
        if detection is not None and all(one.param != types for one in self.refused[before:]):
            self._set(detection=detection)


def _list_fields(update: Mapping[str, Any], where: str) -> Iterator[UpdatedField]:
    """Yield the fields of an update, those inside of ``audio`` one by one."""
    for key, value in update.items():
        if key == "audio" and isinstance(value, Mapping):
            for side, settings in value.items():
                if side in ("input", "output") and isinstance(settings, Mapping):
                    for name, one in settings.items():
                        yield UpdatedField(f"audio.{side}.{name}", f"{where}.audio.{side}.{name}", one)
                elif settings is not None:
                    yield UpdatedField(f"audio.{side}", f"{where}.audio.{side}", settings)
        elif key != "audio" or value is not None:
            yield UpdatedField(BETA_FIELDS.get(key, key), f"{where}.{key}", value)


def _read_text(field: UpdatedField, most: int) -> str:
    if not isinstance(field.value, str) or len(field.value) > most:
        raise refuse_value(field.param, f"{field.param} must be a text of at most {most} characters")
    return field.value


def read_modalities(value: object, param: str) -> bool:
    """Return whether answers have sound. Raise ``Problem``."""
    if not isinstance(value, list) or not value or any(one not in ("text", "audio") for one in value):
        raise refuse_value(param, hint='use ["audio"] or ["text"]')
    return "audio" in value


def read_max_tokens(value: object, param: str) -> int | None:
    """Return a limit of output tokens; None for ``inf``. Raise ``Problem``."""
    if value in (None, "inf"):
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= OUTPUT_TOKENS_MAX:
        raise refuse_value(param, hint="use a number of tokens, or inf")
    return value


def read_lead(value: object, param: str) -> int:
    """Return how much sound may be sent ahead of its playing, in ms. Raise ``Problem``."""
    if isinstance(value, bool) or not isinstance(value, int) or not LEAD_MS_MIN <= value <= LEAD_MS_MAX:
        raise refuse_value(param, hint=f"use milliseconds from {LEAD_MS_MIN} to {LEAD_MS_MAX}")
    return value


def read_temperature(value: object, param: str) -> float | None:
    """Return a temperature. Raise ``Problem``."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 2:
        raise refuse_value(param, hint="use a number from 0 to 2")
    return float(value)


def read_reasoning(value: object, param: str, refused: list[Problem]) -> dict[str, Any] | None:
    """Return ``reasoning``; add problems to ``refused``."""
    reasoning = None if value is None else read_model(Reasoning, value, param, refused)
    return reasoning.model_dump(exclude_none=True) or None if reasoning else None


def read_format(value: object, param: str, refused: list[Problem]) -> AudioFormat | None:
    """Return an audio format, also by its name in the beta interface; add problems to ``refused``."""
    if isinstance(value, str):
        value = {"type": BETA_FORMATS.get(value, value)}
    before = len(refused)
    found = read_model(AudioFormat, value, param, refused)
    return found if len(refused) == before else None


_EDITS: Mapping[str, Callable[[SessionEditor, UpdatedField], None]] = {
    "type": SessionEditor._edit_type,
    "model": SessionEditor._edit_model,
    "instructions": SessionEditor._edit_instructions,
    "output_modalities": SessionEditor._edit_modalities,
    "tools": SessionEditor._edit_tools,
    "tool_choice": SessionEditor._edit_tool_choice,
    "max_output_tokens": SessionEditor._edit_max_output_tokens,
    "temperature": SessionEditor._edit_temperature,
    "parallel_tool_calls": SessionEditor._edit_parallel,
    "reasoning": SessionEditor._edit_reasoning,
    "truncation": SessionEditor._edit_truncation,
    "variables": SessionEditor._edit_variables,
    "prompt": SessionEditor._edit_prompt,
    "include": SessionEditor._edit_include,
    "audio.input.format": SessionEditor._edit_input_format,
    "audio.output.format": SessionEditor._edit_output_format,
    "audio.output.lead_ms": SessionEditor._edit_lead,
    "audio.input.transcription": SessionEditor._edit_transcription,
    "audio.input.turn_detection": SessionEditor._edit_detection,
}
