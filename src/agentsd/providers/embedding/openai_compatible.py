"""Embeddings as OpenAI's ``/v1/embeddings`` does them.

https://platform.openai.com/docs/api-reference/embeddings/create
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.providers.network import NetworkSettings, OptionalApiKey
from agentsd.providers.schema import Url, UrlPath
from agentsd.providers.vendor import Vendor


class OpenAIEmbeddingSettings(NetworkSettings):
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


VENDOR = Vendor(OpenAIEmbeddingSettings, None)
