"""Description of /v1: the interface for OpenAI's clients, where ``model`` is an agent."""

from __future__ import annotations

from typing import Any

from agentsd.web.openai.transcriptions import FORMATS
from agentsd.web.openapi.model import Body, Content, Operation, Parameter, Reply, ref
from agentsd.web.openapi.operations.agents import IF_NONE_MATCH, KEPT, UNCHANGED
from agentsd.web.openapi.schemas.common import TEXT
from agentsd.web.openapi.schemas.openai import MODEL

GROUP = "OpenAI-compatible"
SSE = "text/event-stream"
_ANSWERS = ("X-Agent", "X-Agent-Version")
_VENDOR = (400, 404, 502, 503, 504)
_JSON = (413, 415)
_HELLO: dict[str, Any] = {"model": "current", "messages": [{"role": "user", "content": "Hello"}]}
_TEXT_SENT: dict[str, Any] = {"model": "current", "input": "Good morning."}
_MODEL = Parameter("model", "query", str(MODEL["description"]), TEXT, "current")
_MODEL_PATH = Parameter("model", "path", "A slug (with `/` or `~`), an id, or `current`.", TEXT, "current")

OPERATIONS = (
    Operation(
        id="listModels",
        method="GET",
        path="/v1/models",
        group=GROUP,
        summary="The active agents, as models",
        parameters=(IF_NONE_MATCH,),
        replies=(
            Reply(
                200,
                "The list.",
                (Content(ref("ModelList")),),
                KEPT,
                {"getModel": {"model": "$response.body#/data/0/id"}},
            ),
            UNCHANGED,
        ),
        errors=(503,),
    ),
    Operation(
        id="getModel",
        method="GET",
        path="/v1/models/{model}",
        group=GROUP,
        summary="One agent, as a model",
        parameters=(_MODEL_PATH, IF_NONE_MATCH),
        replies=(Reply(200, "The model.", (Content(ref("Model")),), KEPT), UNCHANGED),
        errors=(404, 503),
    ),
    Operation(
        id="chat",
        method="POST",
        path="/v1/chat/completions",
        group=GROUP,
        summary="Chat with an agent",
        description=(
            "With `stream` the answer comes as server-sent events, `data: [DONE]` last. What fails after the "
            'first byte is a last event `data: {"error": …}` without `[DONE]`.'
        ),
        body=Body((Content(ref("ChatRequest"), example=_HELLO),)),
        replies=(Reply(200, "The answer.", (Content(ref("ChatCompletion")), Content(None, SSE)), _ANSWERS),),
        errors=(*_VENDOR, *_JSON),
    ),
    Operation(
        id="speak",
        method="POST",
        path="/v1/audio/speech",
        group=GROUP,
        summary="A text in an agent's voice",
        description=(
            "Streamed as it is spoken: a `wav` header tells the length `0xFFFFFFFF`. A failure in the middle "
            "cuts the connection, so that half an answer does not pass for a whole one."
        ),
        body=Body((Content(ref("SpeechRequest"), example=_TEXT_SENT),)),
        replies=(
            Reply(
                200,
                "The sound: WAV, or bare 16-bit mono samples.",
                (Content(None, "audio/wav"), Content(None, "audio/pcm")),
                (*_ANSWERS, "X-Sample-Rate"),
            ),
        ),
        errors=(*_VENDOR, *_JSON),
        curl="-o morning.wav",
    ),
    Operation(
        id="transcribe",
        method="POST",
        path="/v1/audio/transcriptions",
        group=GROUP,
        summary="What is said in a recording, as an agent hears it",
        description="A form as OpenAI's, or the recording itself and all else in the query; up to 25 MiB.",
        parameters=(
            _MODEL,
            Parameter(
                "response_format", "query", "For a bare recording.", {"type": "string", "enum": list(FORMATS)}
            ),
            Parameter(
                "stream", "query", "For a bare recording: as it is heard.", {"enum": ["true", "false"]}
            ),
            Parameter(
                "partials",
                "query",
                "For a bare recording, with `stream`: also what is heard so far and may still change.",
                {"enum": ["true", "false"]},
            ),
        ),
        body=Body(
            (
                Content(ref("TranscriptionForm"), "multipart/form-data"),
                Content(None, "audio/wav"),
                Content(None, "audio/pcm"),
            )
        ),
        replies=(
            Reply(
                200,
                "The text; server-sent events where `stream` is true.",
                (Content(ref("Transcription")), Content(TEXT, "text/plain"), Content(None, SSE)),
                _ANSWERS,
            ),
        ),
        errors=(*_VENDOR, *_JSON),
        curl="-F file=@morning.wav -F model=current",
    ),
    Operation(
        id="embed",
        method="POST",
        path="/v1/embeddings",
        group=GROUP,
        summary="A vector for each text",
        body=Body((Content(ref("EmbeddingRequest"), example=_TEXT_SENT),)),
        replies=(Reply(200, "The vectors.", (Content(ref("Embeddings")),), _ANSWERS),),
        errors=(*_VENDOR, *_JSON),
    ),
    Operation(
        id="call",
        method="GET",
        path="/v1/realtime",
        group=GROUP,
        summary="A call, over a WebSocket",
        description=(
            "In the events of OpenAI's Realtime API. A browser, which sets no headers, offers its token as "
            "the subprotocol `openai-insecure-api-key.TOKEN` beside `realtime`."
        ),
        parameters=(_MODEL,),
        replies=(Reply(101, "The call has begun."),),
        errors=(400, 404, 426, 503),
        streams=True,
    ),
)
