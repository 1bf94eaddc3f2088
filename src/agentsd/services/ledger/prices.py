"""Prices of vendors' models: of the manifest, of the operator, of the price library's data, in this order.

The library (genai-prices) is used with the data in its package only: it asks no network. Its first use reads
these data, in a thread; later ones are arithmetic here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from agentsd.core.ledger.price import FREE, MILLION, Amounts, UnitPrices
from agentsd.providers.meter import MeteredClient

LIBRARY_PROVIDERS: Mapping[str, str] = {
    "azure.com": "azure",
    "groq.com": "groq",
    "mistral.ai": "mistral",
    "openai.com": "openai",
    "openrouter.ai": "openrouter",
}
"""Names of vendors in the price library; others are found by their address."""
SAMPLE_TOKENS = 1000
"""Tokens by which the price of one is found: below every tier."""
LINEAR_TOKENS = 30_000
"""Tokens of an answer beyond which tiers may begin: the library then calculates it itself."""
SAMPLE_SECONDS = 600
FRESH_SECONDS = 900.0
"""Age at which a price is looked up again: some depend on the time of day."""


@dataclass(frozen=True, slots=True)
class _KnownPrice:
    prices: UnitPrices | None
    until: float


class PriceBook:
    """Prices as one process knows them. ``operator``: by provider, or by ``provider/model``."""

    def __init__(
        self,
        operator: Mapping[str, UnitPrices] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._operator = operator or {}
        self._clock = clock
        self._known: dict[tuple[str, str, str, str], _KnownPrice] = {}

    async def learn(self, clients: Iterable[MeteredClient]) -> None:
        """Look up the prices of ``clients`` that are not known, or not fresh."""
        now = self._clock()
        wanted = {_make_key(one): one for one in clients if self._find_own(one) is None}
        missing = [
            (key, one)
            for key, one in wanted.items()
            if key not in self._known or self._known[key].until < now
        ]
        for key, one in missing:
            found = await asyncio.to_thread(look_up, one)
            self._known[key] = _KnownPrice(found, now + FRESH_SECONDS)

    def flat_cost(self, client: MeteredClient, amounts: Amounts) -> Decimal | None:
        """Return what answers that no tier changes cost in USD; None where a price is not known."""
        prices = self._find_own(client)
        if prices is None:
            known = self._known.get(_make_key(client))
            prices = known.prices if known is not None else None
        if prices is None:
            return None if amounts else Decimal(0)
        return prices.cost(amounts)

    def cost(self, client: MeteredClient, amounts: Amounts) -> Decimal | None:
        """Return what one answer costs, by the library's tiers where it has some."""
        if self._find_own(client) is not None or self.flat_cost(client, amounts) is None:
            return self.flat_cost(client, amounts)
        return calculate_cost(client, amounts)

    def _find_own(self, client: MeteredClient) -> UnitPrices | None:
        if client.prices is not None:
            return client.prices
        for name in (f"{client.provider}/{client.model}", client.provider):
            if name in self._operator:
                return self._operator[name]
        return FREE if client.local else None


def _make_key(client: MeteredClient) -> tuple[str, str, str, str]:
    return client.kind, client.provider, client.model, client.url


def look_up(client: MeteredClient) -> UnitPrices | None:
    """Return the library's prices of a client's model; None where it has none. The first use takes long."""
    if client.kind == "stt":
        minutes = _ask_library(client, audio_seconds=SAMPLE_SECONDS)
        return UnitPrices(minutes=minutes * 60 / SAMPLE_SECONDS) if minutes else None
    if client.kind == "tts":
        return None  # the library counts tokens of sound, which vendors of speech do not report
    found = {
        "input": _ask_library(client, input_tokens=SAMPLE_TOKENS),
        "output": _ask_library(client, output_tokens=SAMPLE_TOKENS),
        "cached": _ask_library(client, input_tokens=SAMPLE_TOKENS, cache_read_tokens=SAMPLE_TOKENS),
    }
    if found["input"] is None:
        return None
    per_million = {
        name: None if cost is None else cost * MILLION / SAMPLE_TOKENS for name, cost in found.items()
    }
    return UnitPrices(**per_million)


def calculate_cost(client: MeteredClient, amounts: Amounts) -> Decimal | None:
    """Return the library's cost of one answer, its tiers included."""
    return _ask_library(
        client,
        input_tokens=amounts.tokens_in,
        output_tokens=amounts.tokens_out,
        cache_read_tokens=min(amounts.tokens_cached, amounts.tokens_in),
    )


def _ask_library(client: MeteredClient, **amounts: Any) -> Decimal | None:
    from genai_prices import Usage, calc_price

    provider, usage = LIBRARY_PROVIDERS.get(client.provider), Usage(**amounts)
    try:
        if provider is not None:
            return calc_price(usage, client.model, provider_id=provider).total_price
        return calc_price(usage, client.model, provider_api_url=client.url).total_price
    except (LookupError, ValueError):
        return None
