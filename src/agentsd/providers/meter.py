"""Metering of vendors: what each was sent and answered with, counted for the turn that asked.

A turn opens a meter (a ``ContextVar``, so that its tasks share it). The guard around every client notes
what passes it, plug-ins included; without a meter nothing is noted. So a turn's usage is complete whatever
it asked: a fallback, several rounds of tools, the embedding of a query.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from agentsd.core.ledger.price import UnitPrices

LOCAL_SUFFIX = ".local"
"""End of the names of vendors that are the operator's own servers."""


@dataclass(frozen=True, slots=True, eq=False)
class MeteredClient:
    """Client of a vendor, as far as its price depends on it. Compared by identity."""

    kind: str  # llm, tts, stt or embedding
    provider: str
    model: str = ""
    url: str = ""  # its base address; empty for a vendor on this machine
    prices: UnitPrices | None = None  # of the manifest's section

    @property
    def local(self) -> bool:
        """Return whether it is the operator's own machine, and so charges nothing."""
        return not self.url or self.provider.endswith(LOCAL_SUFFIX)


@dataclass(slots=True)
class Consumption:
    """Amounts that one client was asked for. Tokens are the vendor's own numbers; 0 where it sent none."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0  # of ``tokens_in``
    characters: int = 0  # spoken
    seconds: float = 0.0  # of sound that was transcribed


@dataclass(slots=True)
class Meter:
    """Consumption of one turn, by client."""

    used: dict[MeteredClient, Consumption] = field(default_factory=dict)

    def of(self, client: MeteredClient) -> Consumption:
        """Return the consumption of ``client``, to be added to."""
        found = self.used.get(client)
        if found is None:
            found = self.used[client] = Consumption()
        return found


_CURRENT: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextmanager
def open_meter(meter: Meter | None = None) -> Iterator[Meter]:
    """Meter everything within the context."""
    opened = Meter() if meter is None else meter
    token = _CURRENT.set(opened)
    try:
        yield opened
    finally:
        _CURRENT.reset(token)


def note_request(client: MeteredClient) -> Consumption | None:
    """Count an answer of ``client``. Return what its amounts are added to; None without a meter."""
    meter = _CURRENT.get()
    if meter is None:
        return None
    used = meter.of(client)
    used.requests += 1
    return used


def note_tokens(client: MeteredClient, usage: Mapping[str, Any] | None) -> None:
    """Count one answer of an LLM with its ``usage``, as a chat completion has it."""
    used = note_request(client)
    if used is not None and usage is not None:
        read, written, cached = read_token_usage(usage)
        used.tokens_in += read
        used.tokens_out += written
        used.tokens_cached += cached


def read_token_usage(usage: Mapping[str, Any] | None) -> tuple[int, int, int]:
    """Return the tokens in, out and cached of a chat completion's ``usage``; odd values count as 0."""
    if not isinstance(usage, Mapping):
        return 0, 0, 0
    details = usage.get("prompt_tokens_details")
    cached = _read_count(details, "cached_tokens") if isinstance(details, Mapping) else 0
    cached = (
        cached or _read_count(usage, "prompt_cache_hit_tokens") or _read_count(usage, "num_cached_tokens")
    )
    read = _read_count(usage, "prompt_tokens")
    return read, _read_count(usage, "completion_tokens"), min(cached, read)


def _read_count(values: Mapping[str, Any], key: str) -> int:
    value = values.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
