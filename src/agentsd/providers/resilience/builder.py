"""Providers as the runtime uses them: a vendor's client with its retries, limits, fallbacks and metrics.

Vendors are independent of this. ``build_provider`` makes the client of a section and of each of its
fallbacks, and puts them behind the protocol of their kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Generic, TypeVar, cast

from agentsd.audio.rates import resample_stream
from agentsd.core.errors import ConfigError, OptionRefused
from agentsd.providers.base import LLM, STT, TTS, Embedding, Provider, Transcript
from agentsd.providers.catalog import Catalog
from agentsd.providers.network import NetworkSettings
from agentsd.providers.options import (
    EmbeddingOptions,
    ListeningOptions,
    ProviderOptions,
    SpeechOptions,
    tune_client,
)
from agentsd.providers.resilience.chain import Chain, ChainCall, ChainMember
from agentsd.providers.resilience.tape import Tape
from agentsd.providers.schema import ProviderSettings
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.telemetry import Metrics

P = TypeVar("P", bound=Provider)


class ResilientProvider(Generic[P]):
    """Common part of the four kinds."""

    def __init__(self, chain: Chain[P]) -> None:
        self.chain = chain

    def each(self) -> tuple[tuple[str, P], ...]:
        """Return (vendor's name, provider) of all that may answer, in order: for a probe."""
        return tuple((member.name, member.provider) for member in self.chain.members)

    async def aclose(self) -> None:
        """Close every provider of the chain."""
        await self.chain.aclose()


class ResilientLLM(ResilientProvider[LLM]):
    """Resilient ``LLM``."""

    async def complete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return one whole ``chat.completion`` object."""
        return await self.chain.once(lambda llm: llm.complete(request))

    def stream(self, request: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield ``chat.completion.chunk`` objects as they come."""
        return self.chain.stream(ChainCall(lambda llm: llm.stream(request)))


class ResilientTTS(ResilientProvider[TTS]):
    """Resilient ``TTS``. A fallback's speech is converted to the first provider's rate."""

    def tune(self, options: SpeechOptions) -> ResilientTTS:
        """Return this voice with ``options``: see ``providers.options``."""
        return ResilientTTS(_tune_chain(self.chain, options))

    @property
    def sample_rate(self) -> int:
        """Return the first provider's sample rate in hertz, whichever provider answers."""
        return self.chain.first.sample_rate

    async def stream(self, text: AsyncIterator[str]) -> AsyncGenerator[bytes, None]:
        """Yield PCM as it comes."""
        async with Tape(text) as tape:

            def start(tts: TTS) -> AsyncIterator[bytes]:
                return convert_rate(tts.stream(tape.play()), tts.sample_rate, self.sample_rate)

            async with aclosing(self.chain.stream(ChainCall(start, tape))) as pcm:
                async for chunk in pcm:
                    yield chunk


class ResilientSTT(ResilientProvider[STT]):
    """Resilient ``STT``. A fallback gets the speech at its own rate."""

    def tune(self, options: ListeningOptions) -> ResilientSTT:
        """Return this recogniser with ``options``: see ``providers.options``."""
        return ResilientSTT(_tune_chain(self.chain, options))

    @property
    def partials(self) -> bool:
        """Return whether the first provider reports words while they are spoken."""
        return bool(getattr(self.chain.first, "partials", False))

    @property
    def sample_rate(self) -> int:
        """Return the first provider's sample rate in hertz, whichever provider answers."""
        return self.chain.first.sample_rate

    async def stream(self, pcm: AsyncIterator[bytes]) -> AsyncGenerator[Transcript, None]:
        """Yield transcripts as they come."""
        async with Tape(pcm) as tape:

            def start(stt: STT) -> AsyncIterator[Transcript]:
                return stt.stream(convert_rate(tape.play(), self.sample_rate, stt.sample_rate))

            async with aclosing(self.chain.stream(ChainCall(start, tape, heard=True))) as transcripts:
                async for transcript in transcripts:
                    yield transcript


class ResilientEmbedding(ResilientProvider[Embedding]):
    """Resilient ``Embedding``.

    All of the chain make vectors of one space; otherwise they could not be compared.
    """

    def __init__(self, chain: Chain[Embedding]) -> None:
        super().__init__(chain)
        self.space = chain.first.space
        self.address = str(getattr(chain.first, "address", ""))  # a fallback's vectors count as equal
        if any(member.provider.space != self.space for member in chain.members):
            hint = "a fallback of an embedding needs the same provider and model, at another address"
            raise ConfigError("a fallback's vectors cannot be compared with the first one's", hint=hint)

    def tune(self, options: EmbeddingOptions) -> ResilientEmbedding:
        """Return this embedder with ``options``: see ``providers.options``."""
        return ResilientEmbedding(_tune_chain(self.chain, options))

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector for each text, in order."""
        return await self.chain.once(lambda embedding: embedding.embed(texts))


def _tune_chain(chain: Chain[P], options: ProviderOptions) -> Chain[P]:
    """Return the members that have ``options``: another one would drop them. Raises ``OptionRefused``."""
    members: list[ChainMember[P]] = []
    refusal: OptionRefused | None = None
    for member in chain.members:
        try:
            members.append(member.replace_provider(tune_client(member.provider, member.name, options)))
        except OptionRefused as error:
            refusal = refusal or error
    if not members and refusal is not None:
        raise refusal
    return Chain(members)


_KINDS: Mapping[str, Any] = {
    "llm": ResilientLLM,
    "tts": ResilientTTS,
    "stt": ResilientSTT,
    "embedding": ResilientEmbedding,
}


def build_provider(
    catalog: Catalog, kind: str, settings: ProviderSettings, sessions: HttpSessions, metrics: Metrics
) -> Provider:
    """Return the provider of a section with its fallbacks.

    Opens no connection; raises as vendors do.
    """
    members: list[ChainMember[Any]] = []
    try:
        for one in (settings, *settings.fallback):
            members.append(_make_member(catalog.build(kind, one, sessions), kind, one, metrics))
        provider: Provider = _KINDS[kind](Chain(members))
    except BaseException:
        _close_members(members)
        raise
    return provider


def _make_member(provider: Any, kind: str, settings: ProviderSettings, metrics: Metrics) -> ChainMember[Any]:
    network = settings if isinstance(settings, NetworkSettings) else None
    retries, limit = (network.retries, network.max_concurrency) if network else (0, None)
    return ChainMember(provider, kind, settings.provider, metrics, retries=retries, limit=limit)


def _close_members(members: Sequence[ChainMember[Any]]) -> None:
    """Close the members of a chain that could not be built; in the background, since nothing is open."""
    if members:
        asyncio.get_running_loop().create_task(Chain(members).aclose())


def convert_rate(pcm: AsyncIterator[bytes], source: int, target: int) -> AsyncIterator[bytes]:
    """Convert 16-bit mono PCM to another rate; return the same stream if the rates are equal."""
    if source == target:
        return pcm
    return resample_stream(cast("AsyncGenerator[bytes, None]", pcm), source, target)
