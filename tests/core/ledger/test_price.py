"""Prices, and what an amount costs at them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from agentsd.core.ledger.price import FREE, Amounts, UnitPrices, parse_price_list


def test_the_cost_is_exact() -> None:
    """Cached tokens have their own price, or the input's; what has no price has no cost."""
    tokens = Amounts(1_000_000, 500_000, 400_000)
    assert UnitPrices(Decimal(1), Decimal(2), Decimal("0.5")).cost(tokens) == Decimal("1.8")
    assert UnitPrices(Decimal(1), Decimal(2)).cost(tokens) == Decimal(2)
    assert UnitPrices(Decimal(1)).cost(tokens) is None
    assert UnitPrices(minutes=Decimal("0.6")).cost(Amounts(seconds=30)) == Decimal("0.3")
    assert FREE.cost(Amounts(1, 1, 0, 1, 1.5)) == 0


def test_the_operators_list() -> None:
    """By provider, or by provider and model; a mistake names its entry."""
    found = parse_price_list("deepgram.com:minutes=0.0043, a.io/m:input=1;output=2,")
    assert found["deepgram.com"] == UnitPrices(minutes=Decimal("0.0043"))
    assert found["a.io/m"] == UnitPrices(Decimal(1), Decimal(2))
    for wrong in ("deepgram.com=1", "a:pages=1", "a:minutes=free", "a:minutes=-1", ":minutes=1"):
        with pytest.raises(ValueError, match="price"):
            parse_price_list(wrong)
