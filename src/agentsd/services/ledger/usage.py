"""Usage of agents in memory: turns that ended, added up by day, agent, token and vendor."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

from agentsd.core.ledger.price import Amounts
from agentsd.providers.meter import Consumption, MeteredClient
from agentsd.services.ledger.prices import LINEAR_TOKENS, PriceBook
from agentsd.services.turn_records.record import TurnRecord
from agentsd.store.ledger.usage import UsageKey, UsageTotals

_ANSWERING_KINDS = {"llm": 0, "embedding": 1, "tts": 2, "stt": 3}
"""Sections in the order in which a turn is counted by one of them."""
CHUNK_TURNS = 200
"""Turns that are added up before other tasks may run."""

_GroupKey = tuple[date, str, UUID, str, str, MeteredClient | None]
"""Day, owner, agent, its slug, token, and the client; None: no vendor answered."""


@dataclass(slots=True)
class _Group:
    """Sums of some turns. ``flat`` is what one price holds for; large answers have one of their own."""

    turns: int = 0
    tool_calls: int = 0
    flat: Consumption = field(default_factory=Consumption)
    large: list[Consumption] = field(default_factory=list)


class UsageBook:
    """Turns that have not been written yet."""

    def __init__(self) -> None:
        self._ended: list[tuple[TurnRecord, date]] = []
        self._groups: dict[_GroupKey, _Group] = {}
        self._today: tuple[int, date] = (0, date(1970, 1, 1))  # days since the epoch

    def count(self, record: TurnRecord, now: float) -> None:
        """Keep a turn that ended at ``now``, seconds since the epoch."""
        if record.agent is None:
            return
        number = int(now // 86_400)
        if self._today[0] != number:
            self._today = (number, datetime.fromtimestamp(now, UTC).date())
        self._ended.append((record, self._today[1]))

    def chunks(self) -> int:
        """Return how many times ``add_up`` has to be called."""
        return -(-len(self._ended) // CHUNK_TURNS)

    def add_up(self, limit: int = CHUNK_TURNS) -> None:
        """Add up to ``limit`` turns up."""
        some, self._ended = self._ended[:limit], self._ended[limit:]
        for record, day in some:
            self._add(record, day)

    def list_clients(self) -> set[MeteredClient]:
        """Return the clients whose prices ``take`` needs."""
        return {key[-1] for key in self._groups if key[-1] is not None}

    def take(self, prices: PriceBook) -> list[tuple[UsageKey, UsageTotals]]:
        """Return what was added up, priced, and forget it."""
        groups, self._groups = self._groups, {}
        rows: dict[UsageKey, UsageTotals] = {}
        for (day, owner, agent, slug, token, client), group in groups.items():
            kind, provider, model = (client.kind, client.provider, client.model) if client else ("", "", "")
            key = UsageKey(day, owner, agent, token, kind, provider, model, slug)
            totals = _price_group(client, group, prices)
            if key in rows:  # the same model, by a client that was built anew
                rows[key].add(totals)
            else:
                rows[key] = totals
        return list(rows.items())

    def _add(self, record: TurnRecord, day: date) -> None:
        """Add one turn: to the group of each of its vendors, and as a turn to the first of them."""
        agent = record.agent
        assert agent is not None  # noqa: S101  (``count`` keeps no others)
        head = (day, agent.owner, agent.id, agent.slug, record.token)
        metered = record.metered
        if len(metered) > 1:
            metered = tuple(sorted(metered, key=lambda pair: _ANSWERING_KINDS.get(pair[0].kind, 9)))
        first = self._find((*head, metered[0][0] if metered else None))
        first.turns += 1
        first.tool_calls += len(record.tools)
        for client, used in metered:
            group = self._find((*head, client))
            if used.tokens_in + used.tokens_out > LINEAR_TOKENS:
                group.large.append(used)
            else:
                _add_consumption(group.flat, used)

    def _find(self, key: _GroupKey) -> _Group:
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group()
        return group


def _add_consumption(total: Consumption, used: Consumption) -> None:
    total.requests += used.requests
    total.tokens_in += used.tokens_in
    total.tokens_out += used.tokens_out
    total.tokens_cached += used.tokens_cached
    total.characters += used.characters
    total.seconds += used.seconds


def _price_group(client: MeteredClient | None, group: _Group, prices: PriceBook) -> UsageTotals:
    totals = UsageTotals(turns=group.turns, tool_calls=group.tool_calls)
    if client is not None:
        totals.add(_price_consumption(group.flat, prices.flat_cost(client, _read_amounts(group.flat))))
        for used in group.large:
            totals.add(_price_consumption(used, prices.cost(client, _read_amounts(used))))
    return totals


def _read_amounts(used: Consumption) -> Amounts:
    return Amounts(used.tokens_in, used.tokens_out, used.tokens_cached, used.characters, used.seconds)


def _price_consumption(used: Consumption, cost: Decimal | None) -> UsageTotals:
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
