"""Embeddings through OpenAI's ``/v1/embeddings``.

https://platform.openai.com/docs/api-reference/embeddings/create
"""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Sequence
from copy import copy
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from agentsd.providers.base import Vectors
from agentsd.providers.base_url import find_listing_url
from agentsd.providers.errors import VendorRef, make_protocol_error
from agentsd.providers.limits import VECTOR_LIMITS
from agentsd.providers.network import HttpSettings, OptionalApiKey
from agentsd.providers.options import EmbeddingOptions
from agentsd.providers.price import TokenPriceField
from agentsd.providers.schema import Url, UrlPath
from agentsd.providers.transport.endpoint import Endpoint, encode_json
from agentsd.providers.transport.model_list import list_models
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.vendor import Vendor


class OpenAIEmbeddingSettings(HttpSettings):
    """Settings of ``openai-compatible`` as an embedder."""

    kind: ClassVar[str] = "embedding"

    provider: Literal["openai-compatible"]
    api_key: OptionalApiKey = None
    model: Annotated[
        str, Field(min_length=1, description="The model that embeds.", examples=["text-embedding-3-small"])
    ]
    dimensions: Annotated[
        int | None,
        Field(
            ge=1, le=16_384, description="Length of a vector, for models that let one choose.", examples=[384]
        ),
    ] = None
    api_url: Annotated[
        Url,
        Field(description="The server's base URL, without the path.", examples=["http://127.0.0.1:11434"]),
    ]
    embeddings_path: Annotated[
        UrlPath, Field(description="Path of the embeddings under `api_url`.", examples=["/v1/embeddings"])
    ] = "/v1/embeddings"
    price: TokenPriceField = None


COUNT_MAX = 1 << 53
"""The largest count: JavaScript's largest exact integer."""
BATCH_MAX = 128
"""Texts of one request: 128 vectors of 3,072 numbers are 400,000 values to parse at once."""


class OpenAIEmbedding:
    """Client that posts texts and returns their vectors."""

    def __init__(self, settings: OpenAIEmbeddingSettings, sessions: HttpSessions) -> None:
        self._who = VendorRef(settings.provider, settings.kind)
        url = settings.make_url(settings.api_url, settings.embeddings_path)
        headers = settings.request_headers()
        self._endpoint = Endpoint(
            sessions, url, self._who, headers, settings.timeouts, VECTOR_LIMITS, proxy=settings.proxy
        )
        self._how = settings.add_body({"model": settings.model, "encoding_format": "float"})
        if settings.dimensions is not None:
            self._how["dimensions"] = settings.dimensions
        self.address = url
        self._model = f"{settings.provider}:{settings.model}"
        self.space = f"{self._model}:{settings.dimensions or ''}"

    async def list_models(self) -> frozenset[str] | None:
        """Return the vendor's models; None where they cannot be listed. Raises ``ProviderError``."""
        url = find_listing_url(self._endpoint.url, ("/embeddings",))
        return await list_models(self._endpoint, url) if url else None

    def tune(self, options: EmbeddingOptions) -> OpenAIEmbedding:
        """Return this embedder with ``options``: see ``providers.options``."""
        if options.dimensions is None:
            return self
        tuned = copy(self)
        tuned._how = {**self._how, "dimensions": options.dimensions}
        tuned.space = f"{self._model}:{options.dimensions}"
        return tuned

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector for each text, in order: see ``Embedding``."""
        vectors = Vectors()
        for start in range(0, len(texts), BATCH_MAX):
            some, tokens = await self._some(list(texts[start : start + BATCH_MAX]))
            vectors += some
            vectors.tokens = None if tokens is None else (vectors.tokens or 0) + tokens
        return vectors

    async def aclose(self) -> None:
        """Give up the claim on the session."""
        await self._endpoint.aclose()

    async def _some(self, texts: list[str]) -> tuple[list[list[float]], int | None]:
        async with self._endpoint.post(encode_json(self._who, {**self._how, "input": texts})) as reply:
            answer = await reply.json()
        return self._vectors(answer.get("data"), len(texts)), _read_tokens(answer.get("usage"))

    def _vectors(self, rows: Any, count: int) -> list[list[float]]:
        """Return the vectors of ``rows`` by their index, or in their order if none has one (Gemini)."""
        try:
            if len(rows) != count:
                raise ValueError
            places = [row.get("index") for row in rows]
            if all(place is None for place in places) or (count > 1 and set(places) == {0}):
                places = list(range(count))
            vectors = {
                int(place): _read_vector(row["embedding"]) for place, row in zip(places, rows, strict=True)
            }
            return [vectors[index] for index in range(count)]
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            raise make_protocol_error(self._who, "answered without a vector for each text") from None


def _read_vector(value: Any) -> list[float]:
    """Return a vector from numbers, or from base64 of little-endian float32, as some servers always send."""
    if not isinstance(value, str):
        return [float(number) for number in value]
    numbers = array("f", base64.b64decode(value, validate=True))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def _read_tokens(usage: Any) -> int | None:
    counts = (
        [usage.get(name) for name in ("prompt_tokens", "total_tokens")] if isinstance(usage, dict) else []
    )
    return next((count for count in counts if type(count) is int and 0 <= count <= COUNT_MAX), None)


def build_client(settings: OpenAIEmbeddingSettings, sessions: HttpSessions) -> OpenAIEmbedding:
    """Return the client for ``settings``."""
    return OpenAIEmbedding(settings, sessions)


VENDOR = Vendor(OpenAIEmbeddingSettings, build_client)
