"""Usage of agents in memory: turns that ended, added up by day, agent, token and vendor."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

from agentsd.core.ledger.price import Amounts
from agentsd.providers.meter import Consumption, MeteredClient
from agentsd.services.ledger.prices import PriceBook
from agentsd.services.turn_records.record import TurnRecord
from agentsd.store.ledger.usage import UsageKey, UsageTotals

_ANSWERING_KINDS = ("llm", "embedding", "tts", "stt")
"""Sections in the order in which a turn is counted by one of them."""
CHUNK_TURNS = 200
"""Turns that are added up before other tasks may run."""


class UsageBook:
    """Turns that have not been written yet."""

    def __init__(self) -> None:
        self._ended: list[tuple[TurnRecord, date]] = []
        self._totals: dict[UsageKey, UsageTotals] = {}

    def __len__(self) -> int:
        return len(self._ended)

    def count(self, record: TurnRecord, now: float) -> None:
        """Keep a turn that ended at ``now``, seconds since the epoch."""
        if record.agent is not None:
            self._ended.append((record, datetime.fromtimestamp(now, UTC).date()))

    def list_clients(self) -> set[MeteredClient]:
        """Return the clients whose prices ``add_up`` needs."""
        return {client for record, _ in self._ended for client, _ in record.metered}

    def chunks(self) -> int:
        """Return how many times ``add_up`` has to be called."""
        return -(-len(self._ended) // CHUNK_TURNS)

    def add_up(self, prices: PriceBook, limit: int = CHUNK_TURNS) -> None:
        """Add up to ``limit`` turns up."""
        some, self._ended = self._ended[:limit], self._ended[limit:]
        for record, day in some:
            for key, totals in _split_turn(record, day, prices):
                known = self._totals.get(key)
                if known is None:
                    self._totals[key] = totals
                else:
                    known.add(totals)

    def take(self) -> list[tuple[UsageKey, UsageTotals]]:
        """Return what was added up, and forget it."""
        totals, self._totals = self._totals, {}
        return list(totals.items())


def _split_turn(record: TurnRecord, day: date, prices: PriceBook) -> Iterator[tuple[UsageKey, UsageTotals]]:
    """Yield one row for each vendor of a turn; the turn itself is counted in the first of them."""
    metered = sorted(record.metered, key=lambda pair: _rank(pair[0].kind))
    turns, tools = 1, len(record.tools)
    for client, used in metered:
        totals = _price_consumption(client, used, prices)
        totals.turns, totals.tool_calls = turns, tools
        turns = tools = 0
        yield _make_key(record, day, client), totals
    if not metered:
        yield _make_key(record, day, None), UsageTotals(turns=1, tool_calls=tools)


def _rank(kind: str) -> int:
    return _ANSWERING_KINDS.index(kind) if kind in _ANSWERING_KINDS else len(_ANSWERING_KINDS)


def _make_key(record: TurnRecord, day: date, client: MeteredClient | None) -> UsageKey:
    agent = record.agent
    assert agent is not None  # noqa: S101  (``count`` keeps no others)
    kind, provider, model = (client.kind, client.provider, client.model) if client else ("", "", "")
    return UsageKey(day, agent.owner, agent.id, record.token, kind, provider, model, agent.slug)


def _price_consumption(client: MeteredClient, used: Consumption, prices: PriceBook) -> UsageTotals:
    amounts = Amounts(used.tokens_in, used.tokens_out, used.tokens_cached, used.characters, used.seconds)
    cost = prices.cost(client, amounts)
    return UsageTotals(
        requests=used.requests,
        tokens_in=used.tokens_in,
        tokens_out=used.tokens_out,
        tokens_cached=used.tokens_cached,
        characters=used.characters,
        seconds=used.seconds,
        unpriced=used.requests if cost is None else 0,
        cost=Decimal(0) if cost is None else cost,
    )
