"""OpenAI chat completions, the protocol of every network LLM here.

``POST {api_url}{completions_path}`` with ``Authorization: Bearer KEY``; a streamed answer is
server-sent events ``data: {chat.completion.chunk}``, ended by ``data: [DONE]`` or the end of
the body (https://platform.openai.com/docs/api-reference/chat).

The vendors of this family are settings: a class that names its URL and its differences.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from agentsd.core.manifest.agent import PLAIN_FIELD
from agentsd.core.manifest.strict_model import StrictModel
from agentsd.core.text.messages import STRICT, MessageRules, arrange_messages
from agentsd.providers.base_url import find_listing_url
from agentsd.providers.errors import VendorRef, make_closed_early_error, make_protocol_error
from agentsd.providers.limits import CHAT_LIMITS
from agentsd.providers.network import HttpSettings, OptionalApiKey
from agentsd.providers.price import TokenPriceField
from agentsd.providers.schema import Url, UrlPath
from agentsd.providers.transport.endpoint import Endpoint, decode_json, encode_json
from agentsd.providers.transport.model_list import list_models
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.vendor import Vendor

DONE_EVENT = b"[DONE]"
"""Last event of a stream."""


class MessageSettings(StrictModel):
    """Settings of ``messages``: the order and roles that a model's chat template takes."""

    system: Annotated[
        Literal["anywhere", "first", "user"] | None,
        Field(
            description="Where system messages may be: anywhere, one in front, or as a part of the user's.",
            examples=["first"],
        ),
    ] = None
    alternate: Annotated[
        bool | None,
        Field(description="Whether the user begins, and both alternate.", examples=[True]),
    ] = None


class CompletionsSettings(HttpSettings):
    """Base of the settings of every OpenAI-compatible vendor."""

    message_rules: ClassVar[MessageRules] = STRICT
    """What this vendor's chat templates take."""

    two_limits: ClassVar[bool] = False
    """Whether a limit is sent under its older name, too: a server may know that one only."""

    renames: ClassVar[Mapping[str, str | None]] = {}
    """Request keys that this vendor names differently (None: it refuses the key)."""

    api_key: OptionalApiKey = None
    api_url: Annotated[
        Url,
        Field(
            description="The base URL, without the path of the completions.",
            examples=["http://127.0.0.1:11434"],
        ),
    ]
    completions_path: Annotated[
        UrlPath,
        Field(description="Path of the chat completions under `api_url`.", examples=["/v1/chat/completions"]),
    ] = "/v1/chat/completions"
    model: Annotated[
        str,
        Field(
            min_length=1,
            description="The model's name, as the vendor writes it.",
            examples=["llama-3.1-8b-instant"],
        ),
    ]
    temperature: Annotated[
        float | None,
        Field(
            ge=0,
            le=2,
            description="0 repeats itself, 2 is wild; the vendor's default where absent.",
            examples=[0.7],
        ),
    ] = None
    top_p: Annotated[
        float | None,
        Field(
            gt=0,
            le=1,
            description="Share of probability that tokens are drawn from; the vendor's default where absent.",
            examples=[0.9],
        ),
    ] = None
    max_tokens: Annotated[
        int | None,
        Field(
            ge=1,
            description="Longest answer, in tokens; the vendor's default where absent.",
            examples=[512],
        ),
    ] = None

    messages: Annotated[
        MessageSettings | None,
        Field(
            description="What the model's chat template takes; the vendor's default where absent.",
            examples=[{"system": "user", "alternate": True}],
        ),
    ] = None
    client_options: Annotated[
        list[str] | None,
        Field(
            description="Request fields of clients that are passed on besides the usual ones, such as "
            "`store` or `service_tier`, which keep data or cost more.",
            examples=[["service_tier"]],
            json_schema_extra=PLAIN_FIELD,
        ),
    ] = None
    price: TokenPriceField = None

    @property
    def url(self) -> str:
        """Return the URL that completions are posted to."""
        return self.make_url(self.api_url, self.completions_path)

    @property
    def listing_url(self) -> str | None:
        """Return the URL at which the models are listed; None where it is unknown."""
        return find_listing_url(self.url, ("/chat/completions",))

    def rules(self) -> MessageRules:
        """Return what the chat template takes: the vendor's rules, with the section's own."""
        own = self.messages.model_dump(exclude_none=True) if self.messages else {}
        return replace(self.message_rules, **own)

    def defaults(self) -> dict[str, Any]:
        """Return the manifest's own request keys: they apply unless a request overrides them."""
        chosen = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        return self.add_body({key: value for key, value in chosen.items() if value is not None})


class OpenAICompatibleSettings(CompletionsSettings):
    """Any server that speaks OpenAI's chat completions: vLLM, Ollama, LM Studio, LiteLLM."""

    two_limits: ClassVar[bool] = True

    provider: Literal["openai-compatible"]


class OpenAICompatible:
    """Client of the whole family.

    It keeps no state between requests, so streams may run side by side.
    """

    def __init__(self, settings: CompletionsSettings, sessions: HttpSessions) -> None:
        who = VendorRef(settings.provider, settings.kind)
        self._endpoint = Endpoint(
            sessions, settings.url, who, settings.request_headers(), settings.timeouts, proxy=settings.proxy
        )
        self._who = who
        self._model = settings.model
        self._defaults = settings.defaults()
        self._renames = settings.renames
        self._rules = settings.rules()
        self._two_limits = settings.two_limits
        self._listing = settings.listing_url

    async def list_models(self) -> frozenset[str] | None:
        """Return the vendor's models; None where they cannot be listed. Raises ``ProviderError``."""
        return await list_models(self._endpoint, self._listing) if self._listing else None

    async def complete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return one whole ``chat.completion`` object. Raises ``ProviderError``."""
        async with self._endpoint.post(self._body(request, stream=False)) as reply:
            return await reply.json()

    async def stream(self, request: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield ``chat.completion.chunk`` objects as they come. Raises ``ProviderError``.

        An end without ``[DONE]`` is accepted once a ``finish_reason`` was received; before that it
        is ``ProviderUnavailable``. A server that cannot stream answers with one whole completion, which is
        passed on as one chunk. Closing the iterator closes the connection.
        """
        async with self._endpoint.post(self._body(request, stream=True), accept="text/event-stream") as reply:
            if reply.content_type == "application/json":
                yield _convert_to_chunk(await reply.json())
                return
            finished = done = False
            async with aclosing(reply.events()) as events:
                async for event in events:
                    if done := event.strip() == DONE_EVENT:
                        break
                    if not event or event.isspace():  # a keep-alive of some servers
                        continue
                    chunk = decode_json(self._who, event, CHAT_LIMITS)
                    choices = chunk.get("choices")
                    if isinstance(choices, list):
                        finished = finished or _has_finished(choices)
                        yield chunk
                    elif isinstance(chunk.get("usage"), dict):
                        yield chunk
                    elif chunk.get("type") != "ping":
                        raise make_protocol_error(
                            self._who, "sent an event that is not a chunk of a completion"
                        )
            if not (done or finished):
                raise make_closed_early_error(self._who)
            await reply.linger()

    async def aclose(self) -> None:
        """Give up the claim on the session."""
        await self._endpoint.aclose()

    def _body(self, request: Mapping[str, Any], *, stream: bool) -> bytes:
        asked = {key: value for key, value in request.items() if value is not None}
        defaults = self._defaults
        limit = asked.get("max_completion_tokens")
        if limit is not None and "max_tokens" not in asked:
            defaults = {key: value for key, value in defaults.items() if key != "max_tokens"}
            asked |= {"max_tokens": limit} if self._two_limits else {}
        body = {**defaults, **asked, "model": self._model, "stream": stream}
        body["messages"] = arrange_messages(request["messages"], self._rules)
        if self._renames:
            body = dict(_rename_keys(body.items(), self._renames))
        return encode_json(self._who, body)


def _rename_keys(
    items: Iterable[tuple[str, Any]], renames: Mapping[str, str | None]
) -> Iterable[tuple[str, Any]]:
    for key, value in items:
        name = renames.get(key, key)
        if name is not None:
            yield name, value


def _convert_to_chunk(answer: dict[str, Any]) -> dict[str, Any]:
    """Return a whole completion as one chunk."""
    choices = answer.get("choices")
    listed = [one for one in choices if isinstance(one, dict)] if isinstance(choices, list) else []
    return {**answer, "choices": [{**one, "delta": one.get("message")} for one in listed]}


def _has_finished(choices: list[Any]) -> bool:
    return any(isinstance(choice, dict) and choice.get("finish_reason") for choice in choices)


def build_client(settings: CompletionsSettings, sessions: HttpSessions) -> OpenAICompatible:
    """Return the client for ``settings``."""
    return OpenAICompatible(settings, sessions)


VENDOR = Vendor(OpenAICompatibleSettings, build_client)
