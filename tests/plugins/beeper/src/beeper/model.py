"""A vendor on a network that speaks OpenAI's protocol: its settings are all that it needs."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from agentsd.plugins import ApiKey, CompletionsSettings, Url, Vendor, build_completions


class ShoutSettings(CompletionsSettings):
    """Settings of ``shout.example``."""

    home: ClassVar[frozenset[str]] = frozenset({"https://api.shout.example"})  # its key may go here

    provider: Literal["shout.example"]
    api_key: ApiKey
    api_url: Annotated[
        Url, Field(description="The vendor's base URL.", examples=["https://api.shout.example"])
    ] = "https://api.shout.example"


VENDOR = Vendor(ShoutSettings, build_completions)
