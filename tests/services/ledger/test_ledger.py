"""The ledger: what turns leave in the store, once each, whatever happens to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from agentsd.core.errors import StoreError, StoreUnavailable
from agentsd.core.ledger.price import UnitPrices
from agentsd.providers.meter import Consumption, MeteredClient
from agentsd.services.ledger.ledger import Ledger
from agentsd.services.turn_records.record import TurnAgent, TurnFailure, TurnRecord, TurnTimes
from agentsd.store.database import Database
from agentsd.store.ledger.activity import load_activity
from agentsd.store.ledger.usage import UsageDimension, UsageGroup, UsageQuery, load_usage
from agentsd.telemetry import Metrics
from tests.runtime.leases import NoLeases

AGENT = TurnAgent(UUID(int=7), "acme/sales", "acme", 3, None)
NOON = datetime(2026, 12, 1, 12, 0, 30, tzinfo=UTC).timestamp()
PRICES = UnitPrices(Decimal("0.10"), Decimal("0.50"), Decimal("0.02"))
CLIENT = MeteredClient("llm", "openai-compatible", "m", "http://llm.example", PRICES)
KEY_REFUSED = TurnFailure("llm", "openai-compatible", "wrong-key", "invalid_api_key")


def turn(
    *metered: tuple[MeteredClient, Consumption], failure: TurnFailure | None = None, by: str = "acme/kiosk"
) -> TurnRecord:
    """A turn of one agent, answered after 0.2 s."""
    answered = {} if failure else {client.kind: client.provider for client, _ in metered}
    return TurnRecord(
        "conv_1",
        "chat",
        AGENT,
        TurnTimes(0.0, 0.0, None, None if failure else 0.2, None, 0.5),
        "failed" if failure else "answered",
        providers=answered,
        error="ProviderAuthError" if failure else None,
        failure=failure,
        token=by,
        metered=metered,
    )


def make_ledger(database: Database, now: list[float]) -> Ledger:
    """A ledger by the clock ``now``."""
    return Ledger(database, NoLeases(), Metrics(), version_of=lambda _: 3, clock=lambda: now[0])


async def read_usage(database: Database, *by: UsageDimension) -> Sequence[UsageGroup]:
    """The usage of that day."""
    async with database.transaction() as connection:
        return await load_usage(connection, UsageQuery(by, date(2026, 12, 1), date(2026, 12, 1)), 100)


async def test_turns_add_up(database: Database) -> None:
    """Two replicas, two days, tokens and vendors: counted once each, priced by the section."""
    now = [NOON]
    for _ in range(2):
        ledger = make_ledger(database, now)
        used = Consumption(1, 1_000_000, 100_000, 500_000)
        ledger.count(turn((CLIENT, used)))
        ledger.count(turn((CLIENT, used), by="acme/ci"))
        await ledger.flush()
        ledger.count(turn(failure=KEY_REFUSED))
        now[0] += 60
        await ledger.flush()
        now[0] -= 60
    (group,) = await read_usage(database, "agent")
    assert group.labels == {"agent": "acme/sales"}
    totals = group.totals
    assert (totals.turns, totals.requests, totals.unpriced) == (6, 4, 0)
    assert (totals.tokens_in, totals.tokens_out, totals.tokens_cached) == (4_000_000, 400_000, 2_000_000)
    assert totals.cost == 4 * (
        Decimal("0.5") * PRICES.input + Decimal("0.5") * PRICES.cached + Decimal("0.05")
    )
    by_token = {one.labels["token"]: one.totals.turns for one in await read_usage(database, "token")}
    assert by_token == {"acme/kiosk": 4, "acme/ci": 2}
    by_vendor = {one.labels["provider"]: one.totals.turns for one in await read_usage(database, "provider")}
    assert by_vendor == {"openai-compatible": 4, "": 2}
    async with database.transaction() as connection:
        minutes = await load_activity(connection, AGENT.id, datetime.fromtimestamp(NOON - 60, UTC))
    (minute,) = minutes
    assert (minute.turns, minute.failed, minute.failures) == (6, 2, {"ProviderAuthError": 2})
    assert sum(minute.first_token) == 4
    assert minute.error is not None
    assert minute.error["reason"] == "wrong-key"


async def test_a_flush_that_was_not_confirmed_is_added_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit arrives, its answer is lost: the same flush comes again, with later turns behind it."""
    ledger = make_ledger(database, [NOON])
    ledger.count(turn((CLIENT, Consumption(1, 10))))
    commit = Database._commit

    async def lost(self: Database, connection: object) -> None:
        await commit(self, connection)  # type: ignore[arg-type]
        raise StoreUnavailable("the connection was lost")

    monkeypatch.setattr(Database, "_commit", lost)
    with pytest.raises(StoreError):
        await ledger.flush()
    monkeypatch.undo()
    ledger.count(turn((CLIENT, Consumption(1, 5))))
    await ledger.flush()
    await ledger.flush()
    (group,) = await read_usage(database, "owner")
    assert (group.totals.turns, group.totals.tokens_in) == (2, 15)


async def test_what_a_store_that_is_away_misses_is_written_later(
    database: Database, database_url: str
) -> None:
    """Turns go on; the last flush of a process that stops has the minute that is not over."""
    away = Database("postgresql://x@127.0.0.1:1/x")
    ledger = make_ledger(away, [NOON])
    ledger.count(turn((CLIENT, Consumption(1, 10))))
    with pytest.raises(StoreError):
        await ledger.flush()
    ledger.count(turn(failure=KEY_REFUSED))
    ledger._database = database
    await ledger.aclose()
    (group,) = await read_usage(database, "owner")
    assert (group.totals.turns, group.totals.tokens_in) == (2, 10)
    async with database.transaction() as connection:
        (minute,) = await load_activity(connection, AGENT.id, datetime.fromtimestamp(NOON - 60, UTC))
    assert minute.turns == 2
    await away.aclose()


async def test_an_unknown_price_is_no_cost(database: Database) -> None:
    """It is counted apart; a vendor on this machine costs nothing, and one of the library its price."""
    ledger = make_ledger(database, [NOON])
    ledger.count(
        turn((MeteredClient("llm", "openai-compatible", "m", "http://llm.example"), Consumption(1, 10)))
    )
    ledger.count(turn((MeteredClient("llm", "echo.local"), Consumption(1, 10))))
    openai = MeteredClient("llm", "openai.com", "gpt-4o", "https://api.openai.com")
    ledger.count(turn((openai, Consumption(1, 1_000_000, 0))))
    await ledger.flush()
    found = {one.labels["provider"]: one.totals for one in await read_usage(database, "provider")}
    assert (found["openai-compatible"].unpriced, found["openai-compatible"].cost) == (1, 0)
    assert (found["echo.local"].unpriced, found["echo.local"].cost) == (0, 0)
    assert found["openai.com"].unpriced == 0
    assert found["openai.com"].cost > 1


async def test_health_is_shared_by_replicas(database: Database) -> None:
    """What one writes the other adopts, and the newest turn counts, whoever had it."""
    now = [NOON]
    changed: list[UUID] = []
    first = Ledger(database, NoLeases(), Metrics(), version_of=lambda _: 3, changed=changed.extend)
    second = make_ledger(database, now)
    first.count(turn((CLIENT, Consumption(1, 1))))
    first.count(turn(failure=KEY_REFUSED))
    await first.write_health()
    await second.adopt_health()
    assert second.health.find(AGENT.id).failing
    second.count(turn((CLIENT, Consumption(1, 1))))
    await second.write_health()
    assert changed == [AGENT.id, AGENT.id]
    await first.adopt_health()
    assert not first.health.find(AGENT.id).failing
    assert changed == [AGENT.id] * 3


async def test_an_agent_that_took_over_fails_alone(database: Database) -> None:
    """The one that handed over has answered."""
    ledger, other = make_ledger(database, [NOON]), TurnAgent(UUID(int=8), "acme/billing", "acme", 3, None)
    record = replace(turn(failure=KEY_REFUSED), providers={"llm": "openai-compatible"}, taken_over=other)
    ledger.count(record)
    assert not ledger.health.find(AGENT.id).failing
    assert ledger.health.find(other.id).failing


async def test_a_refused_request_is_not_a_failure_but_three_are(database: Database) -> None:
    """What may lie in one request counts from the third in a row on; a context that is too long never."""
    ledger = make_ledger(database, [NOON])
    refused = TurnFailure("llm", "openai-compatible", "rejected")
    for code in ("context_length_exceeded", "content_filter", "max_tokens_reached"):
        for _ in range(3):
            ledger.count(turn(failure=replace(refused, code=code)))
    seen = []
    for failure in (refused, refused, None, refused, refused, refused):
        ledger.count(turn(failure=failure) if failure else turn((CLIENT, Consumption(1, 1))))
        seen.append(ledger.health.find(AGENT.id).failing)
    assert seen == [False] * 5 + [True]


async def test_old_rows_are_removed(database: Database) -> None:
    """By their age, in batches."""
    ledger = make_ledger(database, [NOON - timedelta(days=500).total_seconds()])
    ledger.count(turn((CLIENT, Consumption(1, 10))))
    await ledger.flush(everything=True)
    await ledger._prune()
    async with database.transaction() as connection:
        assert await load_activity(connection, AGENT.id, datetime(2020, 1, 1, tzinfo=UTC)) == []
        query = UsageQuery(("day",), date(2020, 1, 1), date(2026, 12, 1))
        assert await load_usage(connection, query, 10) == []
