"""POST /v1/completions: OpenAI's older interface, answered by a chat with one message of the user.

https://platform.openai.com/docs/api-reference/completions
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, cast

from aiohttp import web
from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from agentsd.services.overrides import apply_overrides
from agentsd.services.variables import bind_agent
from agentsd.web.http.reply import Count, make_reply
from agentsd.web.json_body import RequestModel, parse_model, read_json_object
from agentsd.web.openai.answer_stream import CompletionFrames, send_answer
from agentsd.web.openai.chat_completions import Streamed, describe_passed_fields
from agentsd.web.openai.chat_tools import hide_calls
from agentsd.web.openai.chat_turn import complete_answer, record_turn, stream_answer
from agentsd.web.openai.models import ModelName, lease_model, make_agent_headers

_Prompt = Annotated[str, Field(min_length=1)]
_NEUTRAL = Field(description="Accepted only where it asks for nothing: use /v1/chat/completions.")


class CompletionRequest(RequestModel):
    """Prompt, and fields of a chat."""

    model_config = ConfigDict(extra="ignore", json_schema_extra=describe_passed_fields)

    model: ModelName = None
    prompt: Annotated[
        _Prompt | Annotated[list[_Prompt], Field(min_length=1, max_length=1)],
        Field(description="A text, or a list of one; tokens, and several prompts, are not supported."),
    ]
    stream: Streamed = None
    best_of: Annotated[Literal[1] | None, _NEUTRAL] = None
    echo: Annotated[Literal[False] | None, _NEUTRAL] = None
    logprobs: Annotated[None, _NEUTRAL] = None
    suffix: Annotated[Literal[""] | None, _NEUTRAL] = None

    @property
    def text(self) -> str:
        """Return the one prompt."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]


_UNPASSED_FIELDS = CompletionRequest.model_fields.keys() - {"model", "stream"}


class CompletionChoice(TypedDict):
    """One of the answers."""

    index: int
    text: str
    logprobs: None
    finish_reason: str | None


class Completion(TypedDict):
    """Answer of the agent; further fields are the vendor's."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    id: str
    object: Literal["text_completion"]
    created: Count
    model: Annotated[str, Field(description="The agent's slug.")]
    choices: list[CompletionChoice]
    usage: NotRequired[Annotated[dict[str, Any], Field(description="Tokens, as the provider counts them.")]]


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post("/v1/completions", create_completion)]


async def create_completion(request: web.Request) -> web.StreamResponse:
    """Return one completion, whole or as a stream."""
    body = await read_json_object(request)
    wanted = parse_model(CompletionRequest, body)
    passed = {key: value for key, value in body.items() if key not in _UNPASSED_FIELDS}
    asked: Mapping[str, Any] = {**passed, "messages": [{"role": "user", "content": wanted.text}]}
    async with lease_model(request, wanted.model) as leased:
        with record_turn(request, leased, "completions", body) as turn:
            agent = bind_agent(leased, body.get("metadata"))
            asked = apply_overrides(agent, asked)
            turn.set_request(asked)
            if not wanted.stream:
                whole = await complete_answer(turn, agent, asked)
                return make_reply(convert_answer(whole, "message"), headers=make_agent_headers(turn.serving))
            answer = stream_answer(turn, agent, asked)
            return await send_answer(request, agent, answer, CompletionFrames(convert_chunk), turn)


def convert_chunk(chunk: Mapping[str, Any]) -> Completion | None:
    """Return a chunk of a chat completion as one of a completion; None for an event of a tool."""
    shown = hide_calls(chunk)
    return None if shown is None else convert_answer(shown, "delta")


def convert_answer(answer: Mapping[str, Any], body: str) -> Completion:
    """Return a chat completion, or a chunk of one, as a completion; ``body`` is ``message`` or ``delta``."""
    choices: list[CompletionChoice] = [
        {
            "index": choice.get("index", 0),
            "text": _read_text((choice.get(body) or {}).get("content")),
            "logprobs": None,
            "finish_reason": choice.get("finish_reason"),
        }
        for choice in answer.get("choices") or ()
    ]
    identifier = str(answer["id"]).replace("chatcmpl-", "cmpl-", 1)
    return cast("Completion", {**answer, "id": identifier, "object": "text_completion", "choices": choices})


def _read_text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if part.get("type") == "text")
    return content or ""
