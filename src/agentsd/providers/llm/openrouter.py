"""OpenRouter: https://openrouter.ai/docs/api-reference/overview. It ranks apps by two optional headers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.providers.llm.openai_compatible import CompletionsSettings, build_client
from agentsd.providers.network import ApiKey
from agentsd.providers.schema import Url, UrlPath
from agentsd.providers.vendor import Vendor


class OpenRouterSettings(CompletionsSettings):
    """Settings of ``openrouter.ai``."""

    home: ClassVar[frozenset[str]] = frozenset({"https://openrouter.ai"})

    provider: Literal["openrouter.ai"]
    api_key: ApiKey
    model: Annotated[
        str,
        Field(
            min_length=1,
            description="The model's name, as the vendor writes it.",
            examples=["meta-llama/llama-3.1-8b-instruct"],
        ),
    ]
    api_url: Annotated[
        Url, Field(description="The vendor's base URL.", examples=["https://openrouter.ai"])
    ] = "https://openrouter.ai"
    completions_path: Annotated[
        UrlPath,
        Field(
            description="Path of the chat completions under `api_url`.", examples=["/api/v1/chat/completions"]
        ),
    ] = "/api/v1/chat/completions"
    app_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://[^\s]+$",
            description="Your app's address, sent as `HTTP-Referer`.",
            examples=["https://example.org"],
        ),
    ] = None
    app_name: Annotated[
        str | None,
        Field(
            pattern=r"^[\x20-\x7e]+$",
            description="Your app's name, sent as `X-Title`.",
            examples=["Support desk"],
        ),
    ] = None

    @property
    def listing_url(self) -> str | None:
        """Return the URL that describes the key: the list of models needs none."""
        return self.make_url(self.api_url, "/api/v1/key")

    def auth_headers(self) -> dict[str, str]:
        """Return the key, and the app's name and address if the manifest has them."""
        extra = {"HTTP-Referer": self.app_url, "X-Title": self.app_name}
        return super().auth_headers() | {name: value for name, value in extra.items() if value}


VENDOR = Vendor(OpenRouterSettings, build_client)
