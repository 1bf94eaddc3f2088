"""Azure OpenAI: https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle.

A resource has an address of its own, so it has no default: seal ``api_url`` with the key, or let the
operator trust its origin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.core.text.messages import FREE, MessageRules
from agentsd.providers.llm.openai import OpenAISettings
from agentsd.providers.llm.openai_compatible import CompletionsSettings, build_client
from agentsd.providers.network import ApiKey
from agentsd.providers.schema import Url, UrlPath
from agentsd.providers.vendor import Vendor

DATED_PATH = "/openai/deployments/{model}/chat/completions"
"""Path of the interface whose versions are dates."""


class AzureSettings(CompletionsSettings):
    """Settings of ``azure.com``."""

    message_rules: ClassVar[MessageRules] = FREE
    renames: ClassVar[Mapping[str, str | None]] = OpenAISettings.renames

    provider: Literal["azure.com"]
    api_key: ApiKey
    model: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9._-]+$",
            description="The deployment's name.",
            examples=["gpt-4o-mini"],
        ),
    ]
    api_url: Annotated[
        Url, Field(description="The resource's address.", examples=["https://acme.openai.azure.com"])
    ]
    completions_path: Annotated[
        UrlPath,
        Field(
            description="Path of the chat completions under `api_url`.",
            examples=["/openai/v1/chat/completions"],
        ),
    ] = "/openai/v1/chat/completions"
    api_version: Annotated[
        str | None,
        Field(
            pattern=r"^\d{4}-\d{2}-\d{2}(-preview)?$",
            description="Version of the dated interface, in quotes; the undated one where absent.",
            examples=["2024-10-21"],
        ),
    ] = None

    @property
    def url(self) -> str:
        """Return the URL that completions are posted to."""
        if self.api_version is None:
            return super().url
        dated = self.model_copy(update={"query": {**(self.query or {}), "api-version": self.api_version}})
        return dated.make_url(self.api_url, DATED_PATH.replace("{model}", self.model))

    def auth_headers(self) -> dict[str, str]:
        """Return the header that authenticates a request."""
        return {"api-key": self.api_key.reveal()}


VENDOR = Vendor(AzureSettings, build_client)
