"""Prices: of the section, of the operator, of the library, in this order."""

from __future__ import annotations

from decimal import Decimal

from agentsd.core.ledger.price import Amounts, UnitPrices
from agentsd.providers.meter import MeteredClient
from agentsd.services.ledger.prices import PriceBook, calculate_cost

TURN = Amounts(1000, 100, 200)


def client(provider: str, model: str, url: str = "https://llm.example", **more: UnitPrices) -> MeteredClient:
    """An LLM."""
    return MeteredClient("llm", provider, model, url, **more)


async def test_the_nearest_price_counts() -> None:
    """And a vendor on one's own machine costs nothing, unless somebody sets a price."""
    own, house = UnitPrices(Decimal(1), Decimal(1)), UnitPrices(Decimal(2), Decimal(2))
    book = PriceBook({"openai.com/gpt-4o": house, "llama-cpp.local": house})
    section, operator = client("openai.com", "gpt-4o", prices=own), client("openai.com", "gpt-4o")
    library, local = client("openai.com", "gpt-4o-mini"), client("whisper.local", "")
    unknown, priced = client("openai-compatible", "m"), client("llama-cpp.local", "m")
    await book.learn([section, operator, library, local, unknown, priced])
    assert book.flat_cost(section, TURN) == Decimal("0.0011")
    assert book.flat_cost(operator, TURN) == book.flat_cost(priced, TURN) == Decimal("0.0022")
    assert book.flat_cost(local, TURN) == 0
    assert book.flat_cost(unknown, TURN) is None
    assert book.flat_cost(library, TURN) == calculate_cost(library, TURN)


async def test_a_server_is_known_by_its_address() -> None:
    """As the library knows it, whichever provider names it; also what a minute of sound costs."""
    book = PriceBook()
    groq = client("openai-compatible", "llama-3.1-8b-instant", "https://api.groq.com/openai/v1")
    whisper = MeteredClient("stt", "openai-compatible", "whisper-large-v3", "https://api.groq.com/openai")
    await book.learn([groq, whisper])
    assert book.flat_cost(groq, TURN) == calculate_cost(groq, TURN)
    assert (book.flat_cost(whisper, Amounts(seconds=60)) or 0) > 0
    large = Amounts(400_000, 1000)
    assert book.cost(groq, large) == calculate_cost(groq, large)
