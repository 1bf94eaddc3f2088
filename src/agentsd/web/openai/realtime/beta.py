"""The beta interface, for clients that ask for it (``OpenAI-Beta: realtime=v1``): earlier names of events.

What such a client sends is read as it is, see ``session_update``; what it gets is translated here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentsd.web.openai.realtime.session_update import BETA_FORMATS

Frame = dict[str, Any]

BETA_HEADER = "OpenAI-Beta"
BETA_VALUE = "realtime=v1"
BETA_PROTOCOL = "openai-beta.realtime-v1"

EVENT_NAMES: Mapping[str, str] = {
    "conversation.item.added": "conversation.item.created",
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
}
DROPPED_EVENTS = frozenset({"conversation.item.done"})
"""Events that the beta interface did not have."""

_FORMATS = {now: before for before, now in BETA_FORMATS.items()}
_PARTS = {"output_audio": "audio", "output_text": "text"}


def translate_frame(frame: Frame) -> Frame | None:
    """Return an event as the beta interface had it; None for one that it did not have."""
    kind = frame["type"]
    if kind in DROPPED_EVENTS:
        return None
    translated = {**frame, "type": EVENT_NAMES.get(kind, kind)}
    if "session" in frame:
        translated["session"] = translate_session(frame["session"])
        if frame["session"].get("type") == "transcription":
            translated["type"] = f"transcription_{kind}"
    if "response" in frame:
        translated["response"] = _translate_response(frame["response"])
    if "item" in frame:
        translated["item"] = _translate_item(frame["item"])
    return translated


def translate_session(session: Mapping[str, Any]) -> Frame:
    """Return a session in the flat shape."""
    heard = session["audio"]["input"]
    said = session["audio"].get("output")
    flat = {key: value for key, value in session.items() if key not in ("audio", "output_modalities", "type")}
    flat |= {
        "input_audio_format": _FORMATS[heard["format"]["type"]],
        "input_audio_transcription": heard["transcription"],
        "input_audio_noise_reduction": heard["noise_reduction"],
        "turn_detection": heard["turn_detection"],
    }
    if said is not None:
        aloud = session["output_modalities"] == ["audio"]
        flat |= {
            "modalities": ["text", "audio"] if aloud else ["text"],
            "output_audio_format": _FORMATS[said["format"]["type"]],
            "voice": said["voice"],
            "max_response_output_tokens": flat.pop("max_output_tokens"),
        }
    return flat


def _translate_response(response: Mapping[str, Any]) -> Frame:
    aloud = response["output_modalities"] == ["audio"]
    output = (response["audio"] or {}).get("output")
    flat = {key: value for key, value in response.items() if key not in ("audio", "output_modalities")}
    flat["modalities"] = ["text", "audio"] if aloud else ["text"]
    flat["output_audio_format"] = _FORMATS[output["format"]["type"]] if output else None
    flat["output"] = [_translate_item(item) for item in response["output"]]
    return flat


def _translate_item(item: Mapping[str, Any]) -> Frame:
    if "content" not in item:
        return dict(item)
    content = [{**part, "type": _PARTS.get(part["type"], part["type"])} for part in item["content"]]
    return {**item, "content": content}
