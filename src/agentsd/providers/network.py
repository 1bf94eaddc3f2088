"""Common settings of every vendor on a network: how long to wait for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlencode

from pydantic import ConfigDict, Field, JsonValue, model_validator

from agentsd.core.secret import Secret
from agentsd.core.trust.request_options import find_option_problems
from agentsd.providers.base_url import join_url
from agentsd.providers.schema import ProviderSettings, ProxyUrl

SILENCE_SECONDS = 300.0
"""Longest time in which a vendor may send nothing but keep-alives."""
ANSWER_SECONDS = 3600.0
"""Longest time that one answer may take to arrive."""

Seconds = Annotated[float, Field(gt=0, le=3600)]
"""A time limit."""

ApiKey = Annotated[
    Secret,
    Field(
        description="The vendor's API key, sealed by sops.",
        examples=["ENC[AES256_GCM,data:...,iv:...,tag:...,type:str]"],
    ),
]
OptionalApiKey = Annotated[
    Secret | None,
    Field(
        description="API key, sealed by sops; leave it out where the server asks for none.",
        examples=["ENC[AES256_GCM,data:...,iv:...,tag:...,type:str]"],
    ),
]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits in seconds: to connect, to the first byte of an answer, and between two parts of it.

    ``silence`` bounds what a vendor may keep alive with bytes that are not an answer (comments, pings),
    ``whole`` an answer from its head to its end.
    """

    connect: float = 5.0
    first: float = 60.0
    idle: float = 30.0
    silence: float = SILENCE_SECONDS
    whole: float = ANSWER_SECONDS


class NetworkSettings(ProviderSettings):
    """Base of the settings of vendors that are reached over a network."""

    # Built on first use: a process that reads two manifests needs two of these, not all.
    model_config = ConfigDict(defer_build=True)

    kind: ClassVar[str] = "llm"
    """The manifest's section, for hints that name a field."""

    connect_timeout_seconds: Annotated[
        Seconds,
        Field(description="Longest wait for a connection, in seconds.", examples=[5]),
    ] = 5.0
    timeout_seconds: Annotated[
        Seconds,
        Field(
            description="Longest wait in seconds for the first part of an answer, or for an unstreamed one.",
            examples=[60],
        ),
    ] = 60.0
    idle_timeout_seconds: Annotated[
        Seconds,
        Field(description="Longest silence in the middle of an answer, in seconds.", examples=[30]),
    ] = 30.0

    retries: Annotated[
        int,
        Field(
            ge=0,
            le=5,
            description="Further tries, with pauses, where the vendor fails before its answer begins.",
            examples=[2],
        ),
    ] = 2
    max_concurrency: Annotated[
        int,
        Field(
            ge=1,
            le=10_000,
            description="Calls of this agent that the vendor serves at a time; others wait a moment.",
            examples=[256],
        ),
    ] = 256

    proxy: Annotated[
        ProxyUrl | None,
        Field(
            description="Forward proxy for this vendor, without credentials; the operator's where absent.",
            examples=["http://proxy.example.org:3128"],
            json_schema_extra={"x-url": True},  # all that is sent passes through it
        ),
    ] = None

    @property
    def timeouts(self) -> Timeouts:
        """Return the limits as one value."""
        return Timeouts(self.connect_timeout_seconds, self.timeout_seconds, self.idle_timeout_seconds)


class HttpSettings(NetworkSettings):
    """Base of the settings of vendors whose requests may be added to, for what no field of ours covers."""

    headers: Annotated[
        Mapping[str, str] | None,
        Field(
            description="Further headers of every request. Credentials belong in `api_key`.",
            examples=[{"X-Team": "support"}],
        ),
    ] = None
    query: Annotated[
        Mapping[str, str] | None,
        Field(
            description="Query of the vendor's URL.",
            examples=[{"api-version": "2025-04-01"}],
        ),
    ] = None
    extra_body: Annotated[
        Mapping[str, JsonValue] | None,
        Field(
            description="Further fields of every request's body, as the vendor documents them.",
            examples=[{"chat_template_kwargs": {"enable_thinking": False}}],
        ),
    ] = None

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        """Refuse what ``validate`` refuses: a sealed value is first seen here."""
        for field, key, problem, _ in find_option_problems(
            self.model_dump(include={"headers", "query", "extra_body"})
        ):
            raise ValueError(f"{field}.{key}: {problem}")
        return self

    def auth_headers(self) -> dict[str, str]:
        """Return the headers that authenticate a request; none without a key."""
        key = getattr(self, "api_key", None)
        return {"Authorization": f"Bearer {key.reveal()}"} if key else {}

    def request_headers(self) -> dict[str, str]:
        """Return the headers of every request."""
        return {**(self.headers or {}), **self.auth_headers()}

    def make_url(self, base: str, path: str) -> str:
        """Return the URL of ``path`` under ``base``, with the section's query."""
        url = join_url(base, path)
        return f"{url}?{urlencode(self.query)}" if self.query else url

    def add_body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``body`` with the section's own fields; those of ``body`` win."""
        return {**(self.extra_body or {}), **body}
