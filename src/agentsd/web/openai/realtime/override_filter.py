"""Fields of realtime events that a manifest's ``overrides`` leave to clients, and the others. Pure.

A refused field is an ``error`` event with its name, and the rest of its event is applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentsd.core.manifest.handoff import Override
from agentsd.core.manifest.turn import Turn
from agentsd.services.overrides import OverridePolicy, refuse_override
from agentsd.web.http.problem import Problem, from_error
from agentsd.web.openai.realtime.session import TurnDetection

FIELD_PARTS: Mapping[str, Override] = {
    "instructions": "instructions",
    "temperature": "temperature",
    "max_output_tokens": "max_tokens",
    "tools": "tools",
    "tool_choice": "tools",
    "parallel_tool_calls": "tools",
    "audio.output.voice": "voice",
    "audio.output.speed": "speed",
    "audio.input.turn_detection": "turn",
}
"""Part of an agent that a setting changes, by the setting's present name."""

RESPONSE_FIELDS: Mapping[str, str] = {
    "max_response_output_tokens": "max_output_tokens",
    "voice": "audio.output.voice",
}
"""Fields of ``response`` by names of the beta interface."""


def is_refused(policy: OverridePolicy, turn: Turn, path: str, value: object) -> bool:
    """Return whether a setting changes what the manifest (``turn`` is its own) does not leave to clients."""
    part = FIELD_PARTS.get(path)
    return part is not None and not policy.allows(part) and not _is_own(policy, turn, path, value)


def is_repeated(policy: OverridePolicy, path: str) -> bool:
    """Return whether a setting that is not refused can only repeat what the agent has."""
    part = FIELD_PARTS.get(path)
    return part is not None and not policy.allows(part)


def make_refusal(param: str, part: Override) -> Problem:
    """Return the problem of a refused field."""
    return from_error(refuse_override(param, part))


def filter_response(policy: OverridePolicy, turn: Turn, value: object) -> tuple[object, list[Problem]]:
    """Return ``response`` of an event without its refused fields, and a problem for each of them."""
    if policy.allowed is None or not isinstance(value, Mapping):
        return value, []
    kept: dict[str, Any] = {}
    refused: list[Problem] = []
    for key, one in value.items():
        path = RESPONSE_FIELDS.get(key, key)
        if is_refused(policy, turn, path, one):
            refused.append(make_refusal(f"response.{key}", FIELD_PARTS[path]))
        elif key == "input" and isinstance(one, list) and not policy.allows("instructions"):
            kept[key] = [item for item in one if not _is_instruction(policy, item)]
            if len(kept[key]) < len(one):
                refused.append(make_refusal("response.input", "instructions"))
        elif not (path == "instructions" and is_repeated(policy, path)):
            kept[key] = one
    return kept, refused


def _is_instruction(policy: OverridePolicy, item: object) -> bool:
    if not isinstance(item, Mapping) or item.get("role") != "system":
        return False
    return not policy.accepts_instructions(item.get("content"))


def _is_own(policy: OverridePolicy, turn: Turn, path: str, value: object) -> bool:
    """Return whether a value is the agent's own, or asks for nothing."""
    if path == "audio.input.turn_detection":
        return _is_own_turn(turn, value)
    if value is None or (path == "max_output_tokens" and value == "inf"):
        return True
    if path == "instructions":
        return policy.repeats_prompt(value)
    name = path.rpartition(".")[2]
    return (name == "speed" and value == 1) or policy.has_own(name, value)


def _is_own_turn(turn: Turn, value: object) -> bool:
    try:
        detection = TurnDetection.model_validate(value)
    except ValueError:
        return False
    if detection.create_response is False or detection.idle_timeout_ms is not None:
        return False
    manifest = {**dict(turn), "interrupt": turn.interruption.enabled}
    return all(manifest[name] == one for name, one in detection.override().items())
