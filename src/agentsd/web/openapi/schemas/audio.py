"""Schemas of speech and transcription under ``/v1``: the fields used here."""

from __future__ import annotations

from agentsd.web.openai.speech import RATES_HERTZ, SPEECH_FORMATS, TEXT_MAX
from agentsd.web.openai.transcriptions import TRANSCRIPT_FORMATS
from agentsd.web.openapi.model import Schema

MODEL: Schema = {
    "type": ["string", "null"],
    "description": "An agent: its slug, its id, or `current`, the default.",
    "examples": ["current"],
}
_IGNORED: Schema = {"description": "Accepted and ignored: set in the manifest."}
_FLAG: Schema = {"type": "string", "enum": ["true", "false"], "default": "false"}


def make_audio_schemas() -> dict[str, Schema]:
    """Return the schemas of ``/v1/audio``."""
    rate = {"type": ["integer", "null"], "minimum": RATES_HERTZ.start, "maximum": RATES_HERTZ.stop - 1}
    spoken = {
        "model": MODEL,
        "input": {"type": "string", "minLength": 1, "maxLength": TEXT_MAX, "pattern": r"\S"},
        "response_format": {"enum": [*SPEECH_FORMATS, None], "default": "wav"},
        "sample_rate": {**rate, "description": "Hertz; `pcm` has 24000 without it, `wav` the voice's own."},
        "stream_format": {"enum": ["audio", None]},
        "speed": {"enum": [1, None]},
        **dict.fromkeys(("voice", "instructions"), _IGNORED),
    }
    recording = {"contentMediaType": "audio/wav", "description": "The recording: WAV or PCM."}
    partials = "Extension, with `stream`: `transcript.text.partial`: the `text` so far."
    form = {
        "file": {"type": "string", **recording},
        "model": {**MODEL, "type": "string"},
        "response_format": {"type": "string", "enum": list(TRANSCRIPT_FORMATS), "default": "json"},
        "stream": _FLAG,
        "partials": {**_FLAG, "description": partials},
        **dict.fromkeys(("language", "prompt", "temperature"), _IGNORED),
    }
    written = {
        "text": {"type": "string"},
        "task": {"const": "transcribe"},
        "language": {"type": "string"},
        "duration": {"type": "number", "minimum": 0},
    }
    return {
        "SpeechRequest": {"type": "object", "required": ["input"], "properties": spoken},
        "TranscriptionForm": {"type": "object", "required": ["file"], "properties": form},
        "Transcription": {
            "type": "object",
            "description": "The transcript. `verbose_json` adds fields.",
            "required": ["text"],
            "properties": written,
        },
    }
