"""Guard between vendors' clients, plugins included, and everything above.

``Catalog.build`` puts every client behind one of these. Answers leave it normalised and with the
provider's own secrets masked; every exception of a client leaves it as a ``ProviderError``, so that
an unexpected answer fails its own request and nothing else.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Generic, TypeVar

from agentsd.core.errors import AgentsdError
from agentsd.core.secret import Secret
from agentsd.providers.base import LLM, STT, TTS, Embedding, Provider, Transcript
from agentsd.providers.errors import (
    VendorRef,
    make_broken_error,
    make_empty_error,
    make_protocol_error,
    make_too_large_error,
)
from agentsd.providers.limits import DIMENSIONS_MAX, SPEECH_BYTES_MAX, TRANSCRIPT_CHARACTERS_MAX
from agentsd.providers.llm.answer_stream import AnswerStream, complete_answer
from agentsd.providers.llm.completion import Normalizer
from agentsd.providers.meter import MeteredClient, note_request, note_tokens
from agentsd.providers.options import EmbeddingOptions, ListeningOptions, SpeechOptions, tune_client
from agentsd.providers.price import Price
from agentsd.providers.redaction import Redactor
from agentsd.providers.schema import ProviderSettings
from agentsd.providers.transport.text_chunks import is_speakable

P = TypeVar("P", bound=Provider)
T = TypeVar("T")

_log = logging.getLogger(__name__)

BYTES_PER_SAMPLE = 2
"""Of 16-bit mono PCM, which every recogniser is sent."""


class _GuardedProvider(Generic[P]):
    """Common part of the four kinds."""

    def __init__(
        self, client: P, who: VendorRef, redactor: Redactor, metered: MeteredClient | None = None
    ) -> None:
        self.client = client
        self.who = who
        self.redactor = redactor
        self.metered = metered or MeteredClient(who.kind, who.vendor)

    async def aclose(self) -> None:
        """Close the client."""
        await self.client.aclose()

    async def list_models(self) -> frozenset[str] | None:
        """List the models, which is free; None where the client cannot. Raises ``ProviderError``."""
        ask = getattr(self.client, "list_models", None)
        if ask is None:
            return None
        with self.contained():
            found = await ask()
            return None if found is None else frozenset(map(str, found))

    @contextmanager
    def contained(self, source: ClientInput[Any] | None = None) -> Iterator[None]:
        """Run a block of a client; raise failures as ``AgentsdError``, or as ``source`` raised them."""
        try:
            yield
        except AgentsdError:
            raise
        except Exception as error:
            if source is not None and error is source.failure:
                raise
            place = "".join(traceback.format_tb(error.__traceback__))
            _log.error("unexpected %s in the client of %s\n%s", type(error).__name__, self.who.vendor, place)
            raise make_broken_error(self.who, error) from None
        finally:
            if source is not None:
                source.failure = None  # it refers to the frames that it was raised in, and so to its source


class GuardedLLM(_GuardedProvider[LLM]):
    """Guarded ``LLM``."""

    @property
    def _may_be_empty(self) -> bool:
        return getattr(self.client, "may_be_empty", False)

    async def complete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return one whole ``chat.completion`` object."""
        with self.contained():
            answer = await self.client.complete(request)
            told = Normalizer(self.who, self.redactor).whole(answer)
            note_tokens(self.metered, told.get("usage"))
            return complete_answer(self.who, told, may_be_empty=self._may_be_empty)

    async def stream(self, request: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Yield ``chat.completion.chunk`` objects as they come, the first ones with the first content."""
        normalizer, answer = (
            Normalizer(self.who, self.redactor),
            AnswerStream(self.who, may_be_empty=self._may_be_empty),
        )
        with self.contained():
            chunks = self.client.stream(request)
            try:
                normalize, is_plain = normalizer.chunk, answer.is_plain
                async for chunk in chunks:
                    told = normalize(chunk)
                    if is_plain(told):
                        yield told
                        continue
                    for one in answer.take(told):
                        yield one
                for one in answer.end():
                    yield one
            finally:
                if normalizer.answered:  # also where the client left in the middle
                    note_tokens(self.metered, normalizer.usage)
                await _close_stream(chunks)


class GuardedTTS(_GuardedProvider[TTS]):
    """Guarded ``TTS``."""

    def tune(self, options: SpeechOptions) -> GuardedTTS:
        """Return this voice with ``options``: see ``providers.options``."""
        with self.contained():
            tuned = tune_client(self.client, self.who.vendor, options)
            return GuardedTTS(tuned, self.who, self.redactor, self.metered)

    @property
    def sample_rate(self) -> int:
        """Return the client's sample rate in hertz."""
        return self.client.sample_rate

    async def stream(self, text: AsyncIterator[str]) -> AsyncGenerator[bytes, None]:
        """Yield PCM as it comes."""
        source, size = ClientInput(text, is_speakable, measure=len), 0
        with self.contained(source):
            sound = self.client.stream(source)
            try:
                async for pcm in sound:
                    size += len(pcm)
                    if size > SPEECH_BYTES_MAX:
                        raise make_too_large_error(self.who, "speech", SPEECH_BYTES_MAX)
                    yield pcm
                if not size and (source.asked or not source.ended):
                    raise make_empty_error(self.who, "sound")
            finally:
                if size and (used := note_request(self.metered)) is not None:
                    used.characters += source.size
                await _close_stream(sound)


class GuardedSTT(_GuardedProvider[STT]):
    """Guarded ``STT``."""

    def tune(self, options: ListeningOptions) -> GuardedSTT:
        """Return this recogniser with ``options``: see ``providers.options``."""
        with self.contained():
            tuned = tune_client(self.client, self.who.vendor, options)
            return GuardedSTT(tuned, self.who, self.redactor, self.metered)

    @property
    def partials(self) -> bool:
        """Return whether the client reports words while they are spoken."""
        return bool(getattr(self.client, "partials", False))

    @property
    def sample_rate(self) -> int:
        """Return the client's sample rate in hertz."""
        return self.client.sample_rate

    async def stream(self, pcm: AsyncIterator[bytes]) -> AsyncGenerator[Transcript, None]:
        """Yield transcripts as they come."""
        source, size, ended = ClientInput(pcm, measure=len), 0, False
        with self.contained(source):
            transcripts = self.client.stream(source)
            try:
                async for transcript in transcripts:
                    size = max(size, len(transcript.text)) + (len(transcript.text) if transcript.final else 0)
                    if size > TRANSCRIPT_CHARACTERS_MAX:
                        raise make_too_large_error(
                            self.who, "transcripts", TRANSCRIPT_CHARACTERS_MAX, "characters"
                        )
                    yield self._redact(transcript)
                ended = True  # silence is transcribed, too
            finally:
                if (size or ended) and source.size and (used := note_request(self.metered)) is not None:
                    used.seconds += source.size / BYTES_PER_SAMPLE / self.sample_rate
                await _close_stream(transcripts)

    def _redact(self, transcript: Transcript) -> Transcript:
        redact = self.redactor.redact
        words = tuple(replace(word, text=redact(word.text)) for word in transcript.words)
        return replace(transcript, text=redact(transcript.text), words=words)


class GuardedEmbedding(_GuardedProvider[Embedding]):
    """Guarded ``Embedding``."""

    def tune(self, options: EmbeddingOptions) -> GuardedEmbedding:
        """Return this embedder with ``options``: see ``providers.options``."""
        with self.contained():
            tuned = tune_client(self.client, self.who.vendor, options)
            return GuardedEmbedding(tuned, self.who, self.redactor, self.metered)

    @property
    def space(self) -> str:
        """Return the name of the vector space: only vectors of one space are comparable."""
        return self.client.space

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector for each text, in order."""
        with self.contained():
            vectors = await self.client.embed(texts)
            _check_vectors(self.who, vectors, len(texts))
            note_tokens(self.metered, {"prompt_tokens": getattr(vectors, "tokens", None)})
            return vectors


class ClientInput(Generic[T]):
    """Input of a client; it keeps its own failure, so that this can be distinguished from the client's.

    ``asked``: one of the items counts, by ``counts``, so that the client owes an answer. ``ended``: all of
    the input was read. ``size``: the sum of what was read, by ``measure``.
    """

    __slots__ = ("_counts", "_items", "_measure", "asked", "ended", "failure", "size")

    def __init__(
        self,
        items: AsyncIterator[T],
        counts: Callable[[T], bool] | None = None,
        *,
        measure: Callable[[T], int] | None = None,
    ) -> None:
        self._items = aiter(items)
        self._counts = counts
        self._measure = measure
        self.size = 0
        self.asked = self.ended = False
        self.failure: BaseException | None = None

    def __aiter__(self) -> ClientInput[T]:
        return self

    async def __anext__(self) -> T:
        try:
            item = await anext(self._items)
        except StopAsyncIteration:
            self.ended = True
            raise
        except BaseException as error:
            self.failure = error
            raise
        self.asked = self.asked or (self._counts is not None and self._counts(item))
        if self._measure is not None:
            self.size += self._measure(item)
        return item


_KINDS: Mapping[str, type[_GuardedProvider[Any]]] = {
    "llm": GuardedLLM,
    "tts": GuardedTTS,
    "stt": GuardedSTT,
    "embedding": GuardedEmbedding,
}


def guard_client(kind: str, client: Any, settings: ProviderSettings) -> Any:
    """Return ``client`` behind the guard of its kind."""
    who, redactor = VendorRef(settings.provider, kind), Redactor(list_secrets(settings))
    return _KINDS[kind](client, who, redactor, make_metered_client(kind, settings))


_MODEL_FIELDS = ("model", "model_id")
"""Fields in which vendors' settings name the model."""


def make_metered_client(kind: str, settings: ProviderSettings) -> MeteredClient:
    """Return what the price of a provider depends on."""
    model = next((found for name in _MODEL_FIELDS if (found := getattr(settings, name, None))), "")
    url = next((found for name in settings.url_fields() if (found := getattr(settings, name, None))), "")
    price = getattr(settings, "price", None)
    prices = price.unit_prices() if isinstance(price, Price) else None
    return MeteredClient(kind, settings.provider, str(model), str(url), prices)


def list_secrets(settings: ProviderSettings) -> list[str]:
    """Return the secrets that a provider was given."""
    values = (getattr(settings, name) for name in type(settings).secret_fields())
    return [value.reveal() for value in values if isinstance(value, Secret)]


def _check_vectors(who: VendorRef, vectors: Sequence[Sequence[float]], count: int) -> None:
    """Check that there is one vector for each text, all of one length, of finite numbers."""
    sizes = {len(vector) for vector in vectors}
    if len(vectors) != count or len(sizes) > 1:
        raise make_protocol_error(who, "answered without a vector for each text, all of one length")
    if 0 in sizes:
        raise make_empty_error(who, "numbers in a vector")
    if any(size > DIMENSIONS_MAX for size in sizes):
        raise make_protocol_error(who, f"sent a vector of more than {DIMENSIONS_MAX} numbers")
    if not all(math.isfinite(number) for vector in vectors for number in vector):
        raise make_protocol_error(who, "sent a vector with something that is not a finite number")


async def _close_stream(stream: Any) -> None:
    """Close a client's stream if it can be closed: this closes the connection to the vendor."""
    aclose = getattr(stream, "aclose", None)
    if aclose is not None:
        await aclose()
