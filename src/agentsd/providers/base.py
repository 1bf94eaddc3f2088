"""The protocols that services talk to, the agent that runs, and the vendors' errors.

ProviderError                 a vendor failed; ``retryable`` says whether trying again may help
├── ProviderAuthError         401, 403: wrong or missing key
├── ProviderRateLimited       429; ``retry_after`` in seconds where the vendor said so
├── ProviderNotFound          404: no such model, voice or path
├── ProviderForbidden         this server's own rules forbid the address
├── ProviderRejected          another 4xx: the vendor refuses this request
├── ProviderUnavailable       5xx, closed early
│   └── ProviderUnreachable   no connection
├── ProviderTimeout           no first byte, or a stall, within the limit
├── ProviderProtocolError     an answer that is not the vendor's protocol
└── ProviderBroken            the vendor's client itself failed
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from agentsd.core.errors import ProviderError
from agentsd.core.manifest.agent import AgentHead
from agentsd.core.text.chunking import Passage


class ProviderAuthError(ProviderError):
    """401 or 403: the key is wrong, missing or may not do this."""


class ProviderRateLimited(ProviderError):
    """429. ``retry_after`` is in seconds, or None where the vendor did not say."""

    retryable = True

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class ProviderNotFound(ProviderError):
    """404: no such model, voice or path."""


class ProviderForbidden(ProviderError):
    """This server does not connect to the vendor's address: see ``core.trust.outbound``."""


class ProviderRejected(ProviderError):
    """Another 4xx: the vendor refuses this request. ``status`` is the vendor's own."""

    def __init__(self, message: str, *, hint: str = "", status: int = 400) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class ProviderUnavailable(ProviderError):
    """A 5xx, no connection, or one that closed before its end message."""

    retryable = True


class ProviderUnreachable(ProviderUnavailable):
    """No connection at all: the name does not resolve, nobody listens, or TLS fails."""


class ProviderTimeout(ProviderError):
    """Nothing came within the limit."""

    retryable = True


class ProviderProtocolError(ProviderError):
    """The answer is not in the vendor's protocol."""


class ProviderBroken(ProviderError):
    """The vendor's client raised what it should not: a fault of the program or of a plugin."""


class Provider(Protocol):
    """A vendor's client. Building one opens no connection; ``aclose`` releases what was opened since."""

    async def aclose(self) -> None:
        """Release connections. Called once, after the last lease has ended."""


class LLM(Provider, Protocol):
    """Chat completions in the OpenAI shapes, which every LLM vendor here speaks.

    ``request`` is the body of ``/v1/chat/completions`` without ``model`` and ``stream``:
    ``{"messages": [...], "temperature": ..., "tools": ...}``. A vendor's client returns the vendor's
    reply, parsed; from ``Catalog.build`` it comes normalised (``providers.llm.completion``).
    """

    async def complete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One whole ``chat.completion`` object. Raises ``ProviderError``."""

    def stream(self, request: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """``chat.completion.chunk`` objects as they come; closing the iterator closes the upstream."""


class TTS(Provider, Protocol):
    """Text to speech: 16-bit signed little-endian mono PCM at ``sample_rate`` hertz."""

    @property
    def sample_rate(self) -> int:
        """Hertz of the PCM that ``stream`` yields."""

    def stream(self, text: AsyncIterator[str]) -> AsyncIterator[bytes]:
        """Chunks of text in, chunks of PCM out, as both come."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was heard so far. A final one will not change; partial ones replace each other."""

    text: str
    final: bool


class STT(Provider, Protocol):
    """Speech to text: takes 16-bit signed little-endian mono PCM at ``sample_rate`` hertz."""

    @property
    def sample_rate(self) -> int:
        """Hertz that ``stream`` wants."""

    def stream(self, pcm: AsyncIterator[bytes]) -> AsyncIterator[Transcript]:
        """Chunks of PCM in, transcripts out, as both come."""


class Embedding(Provider, Protocol):
    """Texts to vectors, for finding passages by meaning."""

    @property
    def space(self) -> str:
        """Names the vector space: provider and model. Vectors of different spaces cannot be compared.

        One that asks a server has ``address`` as well, its URL: a model's name does not make servers equal.
        """

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, in order, all of one length. Raises ``ProviderError``."""


class Knowledge(Protocol):
    """Where passages are found. Implemented by ``runtime.follower.knowledge``."""

    async def search(self, agent: LiveAgent, query: str) -> Sequence[Passage]:
        """The passages of the agent's sources nearest to ``query``, best first, ``rag.top_k`` at most.

        Raises ``AgentsdError`` where they cannot be had: answers then do without.
        """


@dataclass(frozen=True, slots=True)
class LiveAgent:
    """A spec with its built providers: what a request, a stream or a voice turn runs on."""

    id: UUID
    slug: str
    owner: str
    version: int
    digest: bytes
    spec: AgentHead
    llm: LLM | None = None
    tts: TTS | None = None
    stt: STT | None = None
    embedding: Embedding | None = None
    sources: tuple[tuple[str, bytes], ...] = ()  # (path, digest) of what ``rag.sources`` names
    provider_names: Mapping[str, str] = field(default_factory=dict)  # {"llm": "groq.com"}


class Leases(Protocol):
    """Where a service gets an agent from. Implemented by ``runtime.agents.registry``."""

    def lease(self, ref: str) -> AbstractAsyncContextManager[LiveAgent]:
        """The agent (by slug or id) as it is now, held until the context ends, whatever is swapped meanwhile.

        Raises ``AgentNotFound`` and ``AgentUnavailable``. Well under a millisecond for an agent
        that was opened before: it may be taken per request, per stream or per voice turn.
        """
