"""Description of /v1: the interface for OpenAI's clients, where ``model`` is an agent."""

from __future__ import annotations

from typing import Any

from agentsd.audio.encoder import FORMATS
from agentsd.web.openai.transcript_formats import TRANSCRIPT_FORMATS
from agentsd.web.openapi.model import MediaType, Operation, Parameter, Reply, RequestBody, refer_to_schema
from agentsd.web.openapi.operations.agents import CACHE_HEADERS, IF_NONE_MATCH, NOT_MODIFIED
from agentsd.web.openapi.schemas.common import TEXT
from agentsd.web.openapi.schemas.openai import MODEL

GROUP = "OpenAI-compatible"
SSE_TYPE = "text/event-stream"
_AGENT_HEADERS = ("X-Agent", "X-Agent-Version")
_VENDOR_STATUSES = (400, 404, 502, 503, 504)
_BODY_STATUSES = (413, 415)
_CHAT_EXAMPLE: dict[str, Any] = {"model": "current", "messages": [{"role": "user", "content": "Hello"}]}
_SPEECH_EXAMPLE: dict[str, Any] = {"model": "current", "input": "Good morning."}
_COMPLETION_EXAMPLE: dict[str, Any] = {"model": "current", "prompt": "Hello"}
_RESPONSES_EXAMPLE: dict[str, Any] = {"model": "current", "input": "Hello"}
_RESPONSE_PATH = Parameter("response", "path", "The id of a stored response.", TEXT, "resp_0")
_MODEL = Parameter("model", "query", str(MODEL["description"]), TEXT, "current")
_MODEL_PATH = Parameter("model", "path", "A slug (with `/` or `~`), an id, or `current`.", TEXT, "current")


def _make_transcription(id: str, path: str, summary: str) -> Operation:
    bare = "For a bare recording"
    flag = {"enum": ["true", "false"]}
    form = {"type": "string", "enum": list(TRANSCRIPT_FORMATS)}
    return Operation(
        id=id,
        method="POST",
        path=path,
        group=GROUP,
        summary=summary,
        description="A form like OpenAI's, or the bare recording with all else in the query; up to 25 MiB.",
        parameters=(
            _MODEL,
            Parameter("response_format", "query", f"{bare}.", form),
            Parameter("stream", "query", f"{bare}: stream the text as it is recognised.", flag),
            Parameter(
                "partials", "query", f"{bare}, with `stream`: also interim text that may still change.", flag
            ),
        ),
        body=RequestBody(
            (
                MediaType(refer_to_schema("TranscriptionForm"), "multipart/form-data"),
                MediaType(None, "audio/wav"),
                MediaType(None, "audio/pcm"),
            )
        ),
        replies=(
            Reply(
                200,
                "The text; server-sent events where `stream` is true.",
                (
                    MediaType(refer_to_schema("Transcription")),
                    MediaType(TEXT, "text/plain"),
                    MediaType(TEXT, "text/vtt"),
                    MediaType(None, SSE_TYPE),
                ),
                _AGENT_HEADERS,
            ),
        ),
        errors=(*_VENDOR_STATUSES, *_BODY_STATUSES),
        curl="-F file=@morning.mp3 -F model=current",
    )


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
                (MediaType(refer_to_schema("ModelList")),),
                CACHE_HEADERS,
                {"getModel": {"model": "$response.body#/data/0/id"}},
            ),
            NOT_MODIFIED,
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
        replies=(
            Reply(200, "The model.", (MediaType(refer_to_schema("Model")),), CACHE_HEADERS),
            NOT_MODIFIED,
        ),
        errors=(404, 503),
    ),
    Operation(
        id="chat",
        method="POST",
        path="/v1/chat/completions",
        group=GROUP,
        summary="Chat with an agent",
        description=(
            "With `stream` the answer comes as server-sent events, `data: [DONE]` last. An error after the "
            'first byte is sent as a last event `data: {"error": …}` without `[DONE]`.'
        ),
        body=RequestBody((MediaType(refer_to_schema("ChatRequest"), example=_CHAT_EXAMPLE),)),
        replies=(
            Reply(
                200,
                "The answer.",
                (MediaType(refer_to_schema("ChatCompletion")), MediaType(None, SSE_TYPE)),
                _AGENT_HEADERS,
            ),
        ),
        errors=(*_VENDOR_STATUSES, *_BODY_STATUSES),
    ),
    Operation(
        id="complete",
        method="POST",
        path="/v1/completions",
        group=GROUP,
        summary="Complete a prompt",
        description="OpenAI's older interface: a chat with one message.",
        body=RequestBody((MediaType(refer_to_schema("CompletionRequest"), example=_COMPLETION_EXAMPLE),)),
        replies=(
            Reply(
                200,
                "The answer.",
                (MediaType(refer_to_schema("Completion")), MediaType(None, SSE_TYPE)),
                _AGENT_HEADERS,
            ),
        ),
        errors=(*_VENDOR_STATUSES, *_BODY_STATUSES),
    ),
    Operation(
        id="createResponse",
        method="POST",
        path="/v1/responses",
        group=GROUP,
        summary="Respond as an agent",
        description=(
            "OpenAI's Responses. Tools are run by the client. What cannot be done is refused by name. "
            "`store` that is absent means false; a stored one is kept for an hour, in this replica's memory."
        ),
        body=RequestBody((MediaType(refer_to_schema("ResponsesRequest"), example=_RESPONSES_EXAMPLE),)),
        replies=(
            Reply(
                200,
                "The response.",
                (MediaType(refer_to_schema("Response")), MediaType(None, SSE_TYPE)),
                _AGENT_HEADERS,
            ),
        ),
        errors=(*_VENDOR_STATUSES, *_BODY_STATUSES),
    ),
    Operation(
        id="getResponse",
        method="GET",
        path="/v1/responses/{response}",
        group=GROUP,
        summary="A stored response",
        parameters=(_RESPONSE_PATH,),
        replies=(Reply(200, "The response.", (MediaType(refer_to_schema("Response")),)),),
        errors=(404,),
    ),
    Operation(
        id="deleteResponse",
        method="DELETE",
        path="/v1/responses/{response}",
        group=GROUP,
        summary="Forget a stored response",
        parameters=(_RESPONSE_PATH,),
        replies=(Reply(200, "It is forgotten.", (MediaType({"type": "object"}),)),),
        errors=(404,),
    ),
    Operation(
        id="listInputItems",
        method="GET",
        path="/v1/responses/{response}/input_items",
        group=GROUP,
        summary="The items that a stored response answered",
        parameters=(_RESPONSE_PATH,),
        replies=(Reply(200, "The items.", (MediaType({"type": "object"}),)),),
        errors=(404,),
    ),
    Operation(
        id="speak",
        method="POST",
        path="/v1/audio/speech",
        group=GROUP,
        summary="A text in an agent's voice",
        description=(
            "Streamed as it is synthesised: a `wav` header contains the length `0xFFFFFFFF`. A later failure "
            "closes the connection, so that a partial answer is not taken for a complete one. With "
            "`stream_format: sse` the audio comes as events `speech.audio.delta`, then `speech.audio.done`."
        ),
        body=RequestBody((MediaType(refer_to_schema("SpeechRequest"), example=_SPEECH_EXAMPLE),)),
        replies=(
            Reply(
                200,
                "The audio, in the format that was asked for; `pcm` is raw 16-bit mono samples.",
                (
                    *(MediaType(None, form.content_type) for form in FORMATS.values()),
                    MediaType(None, SSE_TYPE),
                ),
                (*_AGENT_HEADERS, "X-Sample-Rate"),
            ),
        ),
        errors=(*_VENDOR_STATUSES, *_BODY_STATUSES),
        curl="-o morning.mp3",
    ),
    _make_transcription("transcribe", "/v1/audio/transcriptions", "A transcript of a recording"),
    _make_transcription("translate", "/v1/audio/translations", "A transcript in English, whatever is spoken"),
    Operation(
        id="embed",
        method="POST",
        path="/v1/embeddings",
        group=GROUP,
        summary="A vector for each text",
        body=RequestBody((MediaType(refer_to_schema("EmbeddingRequest"), example=_SPEECH_EXAMPLE),)),
        replies=(Reply(200, "The vectors.", (MediaType(refer_to_schema("Embeddings")),), _AGENT_HEADERS),),
        errors=(*_VENDOR_STATUSES, *_BODY_STATUSES),
    ),
    Operation(
        id="call",
        method="GET",
        path="/v1/realtime",
        group=GROUP,
        summary="A call, over a WebSocket",
        description=(
            "Uses the events of OpenAI's Realtime API. A browser cannot set headers and offers its token as "
            "the subprotocol `openai-insecure-api-key.TOKEN` beside `realtime`."
        ),
        parameters=(_MODEL,),
        replies=(Reply(101, "The call has begun."),),
        errors=(400, 404, 426, 503),
        streams=True,
    ),
)
