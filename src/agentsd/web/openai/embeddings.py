"""POST /v1/embeddings: OpenAI's interface, where ``model`` is an agent's slug."""

from __future__ import annotations

import asyncio
import base64
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from agentsd.providers.limits import DIMENSIONS_MAX
from agentsd.providers.options import EmbeddingOptions
from agentsd.services.embedding import embed_texts
from agentsd.web.http.reply import Count, make_reply
from agentsd.web.json_body import RequestModel, parse_model, read_json_object
from agentsd.web.openai.chat_turn import record_turn
from agentsd.web.openai.models import ModelName, lease_model, make_agent_headers
from agentsd.web.openai.token_table import TOKEN_COUNT, load_token_table

TEXTS_MAX = 2048
"""Maximum texts in one request; OpenAI's own limit."""


TOKENS_MAX = 8_192
"""Maximum tokens of one text; OpenAI's own limit, rounded up."""

_Text = Annotated[str, Field(min_length=1)]
_Token = Annotated[int, Field(ge=0, lt=TOKEN_COUNT)]
_Tokens = Annotated[list[_Token], Field(min_length=1, max_length=TOKENS_MAX, fail_fast=True)]


class EmbeddingRequest(RequestModel):
    """Texts to embed."""

    model: ModelName = None
    input: Annotated[
        _Text
        | Annotated[list[_Text], Field(min_length=1, max_length=TEXTS_MAX, fail_fast=True)]
        | _Tokens
        | Annotated[list[_Tokens], Field(min_length=1, max_length=TEXTS_MAX, fail_fast=True)],
        Field(
            description=f"A text, or a list of 1 to {TEXTS_MAX} texts; each may be an array of tokens of "
            "cl100k_base, OpenAI's for embeddings, which become text again."
        ),
    ]
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: Annotated[
        int | None, Field(ge=1, le=DIMENSIONS_MAX, description="Where the agent's provider has a choice.")
    ] = None
    user: Annotated[str | None, Field(description="Not used.")] = None


@dataclass(frozen=True)
class EmbeddingRow:
    """Vector of one text."""

    index: Count
    embedding: Annotated[list[float] | str, Field(description="Numbers, or base64 of little-endian float32.")]
    object: Literal["embedding"] = "embedding"


@dataclass(frozen=True)
class EmbeddingsReply:
    """Vectors of all texts, in order."""

    model: str
    data: list[EmbeddingRow]
    usage: Annotated[dict[str, Any], Field(description="Tokens, as the provider counts them; some do not.")]
    object: Literal["list"] = "list"


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post("/v1/embeddings", create_embeddings)]


async def create_embeddings(request: web.Request) -> web.Response:
    """Return a vector for each text, as numbers or (OpenAI's client asks for it) base64 of float32."""
    wanted = parse_model(EmbeddingRequest, await read_json_object(request))
    texts = await _read_texts(wanted.input)
    packed = wanted.encoding_format == "base64"
    async with lease_model(request, wanted.model) as agent:
        with record_turn(request, agent, "embeddings"):
            vectors = await embed_texts(agent, texts, EmbeddingOptions(wanted.dimensions))
        tokens = getattr(vectors, "tokens", None) or 0
        rows = [
            EmbeddingRow(index, pack_vector(vector) if packed else list(vector))
            for index, vector in enumerate(vectors)
        ]
        reply = EmbeddingsReply(agent.slug, rows, {"prompt_tokens": tokens, "total_tokens": tokens})
        return make_reply(reply, headers=make_agent_headers(agent))


def pack_vector(vector: Sequence[float]) -> str:
    """Encode a vector as base64 of little-endian float32, as OpenAI's clients unpack it."""
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()


async def _read_texts(value: Any) -> list[str]:
    """Return the texts of ``input``. The number of tokens is that of the body's values, which is bounded."""
    if isinstance(value, str):
        return [value]
    if isinstance(value[0], str):
        return list(value)
    arrays = [value] if isinstance(value[0], int) else value
    return await asyncio.to_thread(_decode_arrays, arrays)


def _decode_arrays(arrays: Sequence[Sequence[int]]) -> list[str]:
    table = load_token_table()
    return [table.decode(tokens) for tokens in arrays]
