"""Groq: https://console.groq.com/docs/api-reference#chat."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.core.text.messages import FREE, MessageRules
from agentsd.providers.llm.openai_compatible import CompletionsSettings, build_client
from agentsd.providers.network import ApiKey
from agentsd.providers.schema import Url, UrlPath
from agentsd.providers.vendor import Vendor


class GroqSettings(CompletionsSettings):
    """Settings of ``groq.com``."""

    message_rules: ClassVar[MessageRules] = FREE
    home: ClassVar[frozenset[str]] = frozenset({"https://api.groq.com"})

    provider: Literal["groq.com"]
    api_key: ApiKey
    api_url: Annotated[
        Url, Field(description="The vendor's base URL.", examples=["https://api.groq.com"])
    ] = "https://api.groq.com"
    completions_path: Annotated[
        UrlPath,
        Field(
            description="Path of the chat completions under `api_url`.",
            examples=["/openai/v1/chat/completions"],
        ),
    ] = "/openai/v1/chat/completions"


VENDOR = Vendor(GroqSettings, build_client)
