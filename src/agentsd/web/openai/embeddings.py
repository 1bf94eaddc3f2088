"""POST /v1/embeddings: OpenAI's interface, where ``model`` is an agent's slug."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import ConfigDict, Field

from agentsd.services.embedding import embed_texts
from agentsd.web.http.problem import bad_request
from agentsd.web.http.reply import Count, make_reply
from agentsd.web.json_body import RequestModel, parse_model, read_json_object
from agentsd.web.openai.models import ModelName, lease_model, make_agent_headers

TEXTS_MAX = 2048
"""Maximum texts in one request; OpenAI's own limit."""


_Text = Annotated[str, Field(min_length=1)]


class EmbeddingRequest(RequestModel):
    """Texts to embed."""

    model_config = ConfigDict(extra="ignore")

    model: ModelName = None
    input: Annotated[
        _Text | Annotated[list[_Text], Field(min_length=1, max_length=TEXTS_MAX, fail_fast=True)],
        Field(
            description=f"A text, or a list of 1 to {TEXTS_MAX} texts; token arrays are not supported: only "
            "the vendor's own tokenizer could decode them."
        ),
    ]
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: Annotated[int | None, Field(description="The agent's own, or absent.")] = None


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
    texts = [wanted.input] if isinstance(wanted.input, str) else wanted.input
    packed = wanted.encoding_format == "base64"
    async with lease_model(request, wanted.model) as agent:
        vectors = await embed_texts(agent, texts)
        _check_dimensions(wanted.dimensions, vectors)
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


def _check_dimensions(wanted: int | None, vectors: Sequence[Sequence[float]]) -> None:
    """Refuse other dimensions than the manifest's, so that all vectors of an agent are comparable."""
    if wanted is not None and any(len(vector) != wanted for vector in vectors):
        hint = f"this agent's have {len(vectors[0])}: omit it, or set embedding.dimensions in the manifest"
        raise bad_request("dimensions cannot be chosen by a request", hint=hint, param="dimensions")
