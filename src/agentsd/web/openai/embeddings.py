"""POST /v1/embeddings: OpenAI's interface, where ``model`` is an agent's slug."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from agentsd.services.embedding import embed_texts
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import bad_request
from agentsd.web.json_body import read_json_object
from agentsd.web.openai.models import lease_model, make_agent_headers

TEXTS_MAX = 2048
"""Maximum texts in one request; OpenAI's own limit."""


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post("/v1/embeddings", create_embeddings)]


async def create_embeddings(request: web.Request) -> web.Response:
    """Return a vector for each text, as numbers or (OpenAI's client asks for it) base64 of float32."""
    body = await read_json_object(request)
    texts = parse_texts(body.get("input"))
    packed = _wants_base64(body)
    async with lease_model(request, body.get("model")) as agent:
        vectors = await embed_texts(agent, texts)
        _check_dimensions(body, vectors)
        tokens = getattr(vectors, "tokens", None) or 0  # some vendors do not count
        reply = {
            "object": "list",
            "model": agent.slug,
            "data": [_make_row(index, vector, packed=packed) for index, vector in enumerate(vectors)],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        headers = make_agent_headers(agent)
    return web.Response(body=to_json(reply), content_type="application/json", headers=headers)


def parse_texts(value: object) -> list[str]:
    """Parse ``input``: a text, or a list of texts. Raise ``Problem`` 400."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or len(texts) > TEXTS_MAX:
        raise bad_request(f"input must be a text, or a list of 1 to {TEXTS_MAX} texts", param="input")
    for index, text in enumerate(texts):
        if not isinstance(text, str) or not text:
            where = "input" if isinstance(value, str) else f"input[{index}]"
            hint = "token arrays are not supported: only the vendor's own tokenizer could decode them"
            raise bad_request("every input must be a non-empty text", hint=hint, param=where)
    return texts


def pack_vector(vector: Sequence[float]) -> str:
    """Encode a vector as base64 of little-endian float32, as OpenAI's clients unpack it."""
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()


def _wants_base64(body: Mapping[str, Any]) -> bool:
    form = body.get("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise bad_request("encoding_format must be float or base64", param="encoding_format")
    return bool(form == "base64")


def _check_dimensions(body: Mapping[str, Any], vectors: Sequence[Sequence[float]]) -> None:
    """Refuse other dimensions than the manifest's, so that all vectors of an agent are comparable."""
    wanted = body.get("dimensions")
    if wanted is not None and any(len(vector) != wanted for vector in vectors):
        hint = f"this agent's have {len(vectors[0])}: omit it, or set embedding.dimensions in the manifest"
        raise bad_request("dimensions cannot be chosen by a request", hint=hint, param="dimensions")


def _make_row(index: int, vector: Sequence[float], *, packed: bool) -> dict[str, Any]:
    return {
        "object": "embedding",
        "index": index,
        "embedding": pack_vector(vector) if packed else list(vector),
    }
