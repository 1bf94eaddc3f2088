"""Prices in USD, and what an amount costs at them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation

MILLION = 1_000_000
SECONDS_PER_MINUTE = 60


@dataclass(frozen=True, slots=True)
class UnitPrices:
    """Prices of one vendor's model in USD. None: this unit has no price, so an amount of it is unpriced."""

    input: Decimal | None = None  # per million tokens
    output: Decimal | None = None
    cached: Decimal | None = None  # per million tokens of the input that the vendor had in its cache
    characters: Decimal | None = None  # per million
    minutes: Decimal | None = None

    def cost(self, amounts: Amounts) -> Decimal | None:
        """Return the cost of ``amounts``; None where one of them has no price."""
        cached = min(amounts.tokens_cached, amounts.tokens_in)
        cached_price = self.input if self.cached is None else self.cached
        parts = (
            (amounts.tokens_in - cached, self.input, MILLION),
            (cached, cached_price, MILLION),
            (amounts.tokens_out, self.output, MILLION),
            (amounts.characters, self.characters, MILLION),
            (amounts.seconds, self.minutes, SECONDS_PER_MINUTE),
        )
        total = Decimal(0)
        for amount, price, per in parts:
            if not amount:
                continue
            if price is None:
                return None
            total += Decimal(str(amount)) * price / per
        return total


FREE = UnitPrices(*(Decimal(0),) * 5)
"""Prices of a vendor that runs on this machine."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """Amounts of one or more answers. ``tokens_cached`` is a part of ``tokens_in``."""

    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    characters: int = 0
    seconds: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.tokens_in or self.tokens_out or self.characters or self.seconds)


UNITS = tuple(one.name for one in fields(UnitPrices))


def parse_price_list(text: str) -> Mapping[str, UnitPrices]:
    """Return the prices of ``deepgram.com:minutes=0.0043, elevenlabs.io/eleven_v3:characters=60``.

    A name is that of a provider, or ``provider/model``; ``;`` divides several units of one. Raises
    ``ValueError`` with the entry that cannot be read.
    """
    found: dict[str, UnitPrices] = {}
    for entry in (one.strip() for one in text.split(",")):
        if not entry:
            continue
        name, divider, rest = entry.rpartition(":")
        prices = [part.strip().partition("=") for part in rest.split(";")]
        if not (divider and name) or any(unit not in UNITS for unit, _, _ in prices):
            raise ValueError(f"{entry!r} is not a price such as deepgram.com:minutes=0.0043")
        try:
            values = {unit: Decimal(number) for unit, _, number in prices}
        except InvalidOperation:
            raise ValueError(f"{entry!r} has a price that is not a number") from None
        if any(not value.is_finite() or value < 0 for value in values.values()):
            raise ValueError(f"{entry!r} has a price that is not a positive number")
        found[name] = UnitPrices(**values)
    return found
