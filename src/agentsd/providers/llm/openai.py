"""OpenAI: https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.core.text.messages import FREE, MessageRules
from agentsd.providers.llm.openai_compatible import CompletionsSettings, build_client
from agentsd.providers.network import ApiKey
from agentsd.providers.schema import Url, UrlPath
from agentsd.providers.vendor import Vendor


class OpenAISettings(CompletionsSettings):
    """Settings of ``openai.com``."""

    message_rules: ClassVar[MessageRules] = FREE
    home: ClassVar[frozenset[str]] = frozenset({"https://api.openai.com"})

    renames: ClassVar[Mapping[str, str | None]] = {"max_tokens": "max_completion_tokens"}
    """OpenAI's reasoning models refuse the older name, and every model accepts the newer one."""

    provider: Literal["openai.com"]
    api_key: ApiKey
    model: Annotated[
        str,
        Field(
            min_length=1, description="The model's name, as the vendor writes it.", examples=["gpt-4o-mini"]
        ),
    ]
    api_url: Annotated[
        Url, Field(description="The vendor's base URL.", examples=["https://api.openai.com"])
    ] = "https://api.openai.com"
    completions_path: Annotated[
        UrlPath,
        Field(description="Path of the chat completions under `api_url`.", examples=["/v1/chat/completions"]),
    ] = "/v1/chat/completions"


VENDOR = Vendor(OpenAISettings, build_client)
