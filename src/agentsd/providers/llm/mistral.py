"""Mistral: https://docs.mistral.ai/api/#tag/chat. Some of its request keys have other names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.providers.llm.openai_compatible import CompletionsSettings, build_client
from agentsd.providers.network import ApiKey
from agentsd.providers.schema import Url, UrlPath
from agentsd.providers.vendor import Vendor


class MistralSettings(CompletionsSettings):
    """Settings of ``mistral.ai``."""

    home: ClassVar[frozenset[str]] = frozenset({"https://api.mistral.ai"})

    renames: ClassVar[Mapping[str, str | None]] = {
        "seed": "random_seed",
        "max_completion_tokens": "max_tokens",
        "stream_options": None,  # it always reports usage in its last chunk, and refuses the key
        "user": None,
        "logprobs": None,
        "top_logprobs": None,
        "logit_bias": None,
    }

    provider: Literal["mistral.ai"]
    api_key: ApiKey
    model: Annotated[
        str,
        Field(
            min_length=1,
            description="The model's name, as the vendor writes it.",
            examples=["mistral-small-latest"],
        ),
    ]
    api_url: Annotated[
        Url, Field(description="The vendor's base URL.", examples=["https://api.mistral.ai"])
    ] = "https://api.mistral.ai"
    completions_path: Annotated[
        UrlPath,
        Field(description="Path of the chat completions under `api_url`.", examples=["/v1/chat/completions"]),
    ] = "/v1/chat/completions"


VENDOR = Vendor(MistralSettings, build_client)
