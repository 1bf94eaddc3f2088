"""Schemas of ``/v1``: the fields used here. Everything else is passed through, as OpenAI defines it."""

from __future__ import annotations

from agentsd.services.chat import PASSED_FIELDS, ROLES
from agentsd.web.openai.embeddings import TEXTS_MAX
from agentsd.web.openai.speech import DEFAULT_FORMAT, RATES_HERTZ, SPEEDS, STREAM_FORMATS, TEXT_MAX
from agentsd.web.openai.speech import SPEECH_FORMATS as SPOKEN
from agentsd.web.openai.transcript_formats import GRANULARITIES
from agentsd.web.openai.transcript_formats import TRANSCRIPT_FORMATS as WRITTEN
from agentsd.web.openapi.model import Schema, refer_to_schema
from agentsd.web.openapi.schemas.common import COUNT, TEXT, make_list, make_object

MODEL: Schema = {
    "type": ["string", "null"],
    "description": "An agent: its slug, its id, or `current`, the default.",
    "examples": ["current"],
}
_IGNORED: Schema = {"description": "Accepted and ignored: set in the manifest."}
_PASSED_OR_REFUSED: Schema = {"description": "Passed to the provider, or refused where it has none."}
_PASSED: Schema = {"description": "Passed to the provider unchanged."}
_USAGE: Schema = {"type": "object", "description": "Tokens, as the provider counts them."}


def make_openai_schemas() -> dict[str, Schema]:
    """Return the schemas of all paths under ``/v1``."""
    return {
        **_make_model_schemas(),
        **_make_chat_schemas(),
        **_make_response_schemas(),
        **_make_audio_schemas(),
        **_make_embedding_schemas(),
    }


def _make_model_schemas() -> dict[str, Schema]:
    model = make_object(
        "An agent as OpenAI lists models.", id=TEXT, object={"const": "model"}, created=COUNT, owned_by=TEXT
    )
    many = make_object(
        "All active agents.", object={"const": "list"}, data=make_list(refer_to_schema("Model"), minItems=1)
    )
    return {"Model": model, "ModelList": many}


def _make_chat_schemas() -> dict[str, Schema]:
    content = {
        "anyOf": [TEXT, make_list({"type": "object"}), {"type": "null"}],
        "description": "A text, or parts.",
    }
    message = {
        "type": "object",
        "required": ["role"],
        "properties": {"role": {"type": "string", "enum": sorted(ROLES)}, "content": content},
    }
    stream = {"type": ["boolean", "null"], "description": "Server-sent events instead of one JSON object."}
    options = {
        "type": ["object", "null"],
        "description": "`include_usage` requests a last chunk with the usage.",
    }
    passed = dict.fromkeys(sorted(PASSED_FIELDS - {"stream_options"}), _PASSED)
    known = {
        "model": MODEL,
        "messages": make_list(message, minItems=1),
        "stream": stream,
        "stream_options": options,
    }
    answer = {"id": TEXT, "created": COUNT, "model": {"type": "string", "description": "The agent's slug."}}
    choices = make_list({"type": "object"})
    return {
        "ChatRequest": {
            "type": "object",
            "description": "A chat. The agent's system prompt precedes the messages.",
            "required": ["messages"],
            "properties": known | passed,
        },
        "ChatCompletion": make_object(
            "The answer.",
            answer,
            optional=("usage", "citations"),
            object={"const": "chat.completion"},
            choices=choices,
            usage=_USAGE,
            citations=make_list(refer_to_schema("Citation")),
        ),
        "Citation": make_object(
            "A passage that the answer may quote.",
            number=COUNT,
            source=TEXT,
            heading=TEXT,
            chunk=COUNT,
            text=TEXT,
        ),
    }


def _make_response_schemas() -> dict[str, Schema]:
    item = {"anyOf": [TEXT, make_list({"type": "object"})], "description": "A text, or items."}
    request = {
        "type": "object",
        "description": "A request as OpenAI defines it, with the fields that this server can do.",
        "properties": {"model": MODEL, "input": item, "stream": {"type": ["boolean", "null"]}},
    }
    response = {
        "type": "object",
        "description": "A response as OpenAI defines it; `citations` in addition, for an agent with `rag`.",
        "required": ["id", "object", "status", "model", "output"],
        "properties": {"id": TEXT, "object": {"const": "response"}, "output": make_list({"type": "object"})},
    }
    prompt = {"anyOf": [TEXT, make_list(TEXT, minItems=1, maxItems=1)]}
    completion = {
        "type": "object",
        "description": "A prompt, and the fields of a chat.",
        "required": ["prompt"],
        "properties": {"model": MODEL, "prompt": prompt, "stream": {"type": ["boolean", "null"]}},
    }
    completed = {
        "type": "object",
        "description": "A completion as OpenAI defines it.",
        "required": ["id", "object", "choices", "model"],
        "properties": {
            "id": TEXT,
            "object": {"const": "text_completion"},
            "choices": make_list({"type": "object"}),
        },
    }
    return {
        "CompletionRequest": completion,
        "Completion": completed,
        "ResponsesRequest": request,
        "Response": response,
    }


def _make_audio_schemas() -> dict[str, Schema]:
    rate = {"type": ["integer", "null"], "minimum": RATES_HERTZ.start, "maximum": RATES_HERTZ.stop - 1}
    spoken = {
        "model": MODEL,
        "input": {"type": "string", "minLength": 1, "maxLength": TEXT_MAX, "pattern": r"\S"},
        "response_format": {"enum": [*SPOKEN, None], "default": DEFAULT_FORMAT},
        "sample_rate": {**rate, "description": "Hertz; without it `pcm` has 24000, others the voice's own."},
        "stream_format": {"enum": [*STREAM_FORMATS, None], "default": STREAM_FORMATS[0]},
        "speed": {
            "type": ["number", "null"],
            "minimum": SPEEDS[0],
            "maximum": SPEEDS[1],
            **_PASSED_OR_REFUSED,
        },
        "voice": _IGNORED,
        "instructions": _IGNORED,
    }
    form = {
        "file": {
            "type": "string",
            "contentMediaType": "audio/*",
            "description": "The recording: WAV, MP3, MP4, M4A, MPEG, OGG, Opus, WebM, FLAC and others.",
        },
        "model": {**MODEL, "type": "string"},
        "response_format": {"type": "string", "enum": list(WRITTEN), "default": "json"},
        "stream": {"type": "string", "enum": ["true", "false"], "default": "false"},
        "partials": {
            "type": "string",
            "enum": ["true", "false"],
            "default": "false",
            "description": "Extension, with `stream`: `transcript.text.partial`: the `text` so far.",
        },
        "language": {**TEXT, **_PASSED_OR_REFUSED},
        "prompt": {**TEXT, **_PASSED_OR_REFUSED},
        "temperature": {"type": "number", "minimum": 0, "maximum": 1, **_PASSED_OR_REFUSED},
        "timestamp_granularities[]": {"type": "string", "enum": list(GRANULARITIES), **_PASSED_OR_REFUSED},
        "chunking_strategy": {"type": "string", "enum": ["auto"]},
    }
    written = make_object(
        "The transcript. `verbose_json` adds fields.",
        optional=("task", "language", "duration", "segments", "words"),
        text=TEXT,
        task={"enum": ["transcribe", "translate"]},
        language=TEXT,
        duration={"type": "number", "minimum": 0},
        segments=make_list({"type": "object"}),
        words=make_list({"type": "object"}),
    )
    return {
        "SpeechRequest": {"type": "object", "required": ["input"], "properties": spoken},
        "TranscriptionForm": {"type": "object", "required": ["file"], "properties": form},
        "Transcription": written,
    }


def _make_embedding_schemas() -> dict[str, Schema]:
    text = {"type": "string", "minLength": 1}
    sent = {
        "model": MODEL,
        "input": {"anyOf": [text, make_list(text, minItems=1, maxItems=TEXTS_MAX)]},
        "encoding_format": {"enum": ["float", "base64", None], "default": "float"},
        "dimensions": {"type": ["integer", "null"], "description": "The agent's own, or absent."},
    }
    vector = {"anyOf": [make_list({"type": "number"}), {"type": "string", "contentEncoding": "base64"}]}
    row = make_object("One vector.", object={"const": "embedding"}, index=COUNT, embedding=vector)
    return {
        "EmbeddingRequest": {"type": "object", "required": ["input"], "properties": sent},
        "Embeddings": make_object(
            "A vector for each text, in order.",
            object={"const": "list"},
            model=TEXT,
            data=make_list(row),
            usage=_USAGE,
        ),
    }
