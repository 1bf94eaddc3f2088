"""Protocols that services use, the running agent, and the vendors' errors.

ProviderError                 a vendor failed; ``retryable``: whether a retry may help
├── ProviderAuthError         401, 403: wrong or missing key
├── ProviderRateLimited       429; ``retry_after`` in seconds where the vendor sent it
├── ProviderNotFound          404: no such model, voice or path
├── ProviderForbidden         this server's own rules forbid the address
├── ProviderRejected          another 4xx: the vendor refuses this request
├── ProviderUnavailable       5xx, closed early
│   └── ProviderUnreachable   no connection
├── ProviderTimeout           no first byte, or a stall, within the limit
├── ProviderProtocolError     an answer that is not the vendor's protocol
├── ProviderEmpty             an answer in good form, but without content
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
from agentsd.core.manifest.chunks import Passage
from agentsd.core.manifest.variables import Value
from agentsd.core.text.agent_texts import AgentTexts
from agentsd.providers.tool import Tool


class ProviderAuthError(ProviderError):
    """401 or 403: the key is wrong, missing or may not do this."""


class ProviderRateLimited(ProviderError):
    """429. ``retry_after`` is in seconds, or None where the vendor sent none."""

    retryable = True

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class ProviderNotFound(ProviderError):
    """404: no such model, voice or path."""


class ProviderForbidden(ProviderError):
    """Refusal of this server to connect to the vendor's address: see ``core.trust.outbound``."""


class ProviderRejected(ProviderError):
    """Another 4xx: the vendor refuses this request. ``status`` is the vendor's own."""

    def __init__(self, message: str, *, hint: str = "", status: int = 400) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class ProviderUnavailable(ProviderError):
    """5xx, no connection, or one that closed before its end message."""

    retryable = True


class ProviderUnreachable(ProviderUnavailable):
    """No connection: the name does not resolve, no server listens, or TLS fails."""


class ProviderTimeout(ProviderError):
    """No answer within the limit."""

    retryable = True


class ProviderProtocolError(ProviderError):
    """Answer that is not in the vendor's protocol."""


class ProviderEmpty(ProviderError):
    """Answer in good form that contains no text, tool call, sound or vector."""


class ProviderBroken(ProviderError):
    """Unexpected exception of the vendor's client: a fault of the program or of a plugin."""


class Provider(Protocol):
    """Client of a vendor.

    Building one opens no connection; ``aclose`` releases what was opened since.
    """

    async def aclose(self) -> None:
        """Release connections. Called once, after the last lease has ended."""


class LLM(Provider, Protocol):
    """Chat completions in the OpenAI shapes, which every LLM vendor here uses.

    ``request`` is the body of ``/v1/chat/completions`` without ``model`` and ``stream``:
    ``{"messages": [...], "temperature": ..., "tools": ...}``. A vendor's client returns the vendor's
    reply, parsed; from ``Catalog.build`` it comes normalised (``providers.llm.completion``).
    """

    async def complete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return one whole ``chat.completion`` object. Raises ``ProviderError``."""

    def stream(self, request: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield ``chat.completion.chunk`` objects as they come; closing the iterator closes the upstream."""


class TTS(Provider, Protocol):
    """Text to speech: 16-bit signed little-endian mono PCM at ``sample_rate`` hertz."""

    @property
    def sample_rate(self) -> int:
        """Return the sample rate, in hertz, of the PCM that ``stream`` yields."""

    def stream(self, text: AsyncIterator[str]) -> AsyncIterator[bytes]:
        """Take chunks of text and yield chunks of PCM, both as they come."""


@dataclass(frozen=True, slots=True)
class TimedWord:
    """Word of a transcript, in seconds from the start of the recording."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """Text recognised so far. A final one will not change; partial ones replace each other.

    Times are in seconds from the start of the recording, where the vendor has them.
    """

    text: str
    final: bool
    start: float | None = None
    end: float | None = None
    words: tuple[TimedWord, ...] = ()
    language: str | None = None  # as the vendor recognised it
    scores: Mapping[str, float] = field(default_factory=dict)  # OpenAI's numbers of a segment, by name


class STT(Provider, Protocol):
    """Speech to text: takes 16-bit signed little-endian mono PCM at ``sample_rate`` hertz."""

    @property
    def sample_rate(self) -> int:
        """Return the sample rate, in hertz, that ``stream`` expects."""

    def stream(self, pcm: AsyncIterator[bytes]) -> AsyncIterator[Transcript]:
        """Take chunks of PCM and yield transcripts, both as they come."""


class Vectors(list[list[float]]):
    """Vectors of some texts, with the number of tokens that the vendor counted in them, if it counts."""

    tokens: int | None = None


class Embedding(Provider, Protocol):
    """Conversion of texts to vectors, for finding passages by meaning."""

    @property
    def space(self) -> str:
        """Return the name of the vector space: provider and model.

        Vectors of different spaces cannot be compared.

        A provider that calls a server has ``address`` as well, its URL: the same model name does not make
        two servers equal.
        """

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector for each text, in order, all of one length. Raises ``ProviderError``.

        ``Vectors`` contain the vendor's count of tokens as well.
        """


class Knowledge(Protocol):
    """Search over an agent's passages. Implemented by ``runtime.follower.knowledge``."""

    async def search(self, agent: LiveAgent, query: str) -> Sequence[Passage]:
        """Return the passages of the agent's sources nearest to ``query``, best first, ``rag.top_k`` at most.

        Raises ``AgentsdError`` where the search fails: the answer is then made without passages.
        """


@dataclass(frozen=True, slots=True)
class LiveAgent:
    """Spec with its built providers, on which a request, a stream or a voice turn runs."""

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
    commit: str | None = None  # of the version that serves
    charges: frozenset[str] = frozenset()  # kinds with a vendor that gets a key, and so may charge
    client_options: frozenset[str] = frozenset()  # request fields that the manifest lets clients pass on
    texts: AgentTexts | None = None  # templates of ``spec``, until ``bind_agent`` fills them in; None: none
    values: Mapping[str, str] = field(default_factory=dict, repr=False)  # of all variables, once filled in
    given: Mapping[str, Value] = field(default_factory=dict, repr=False)  # those that the session brought
    own_settings: Mapping[str, Any] = field(default_factory=dict, repr=False)  # that clients could override
    tools: tuple[Tool, ...] = ()  # built with the agent, closed with it


class Leases(Protocol):
    """Source of agents for services. Implemented by ``runtime.agents.registry``."""

    def lease(self, ref: str) -> AbstractAsyncContextManager[LiveAgent]:
        """Lease the current agent (by slug or id) until the context ends, whatever is swapped meanwhile.

        Raises ``AgentNotFound`` and ``AgentUnavailable``. Takes well under a millisecond for an agent
        that was opened before: it may be called per request, per stream or per voice turn.
        """
