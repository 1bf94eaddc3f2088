"""Usage and cost by day: replicas add to rows, readers group them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from psycopg import AsyncConnection, sql

from agentsd.store.queries.agent_rows import transpose_rows

PRUNE_BATCH = 5000
"""Rows that one statement removes at most, so that its locks are short."""

UsageDimension = Literal["agent", "owner", "token", "provider", "day"]
USAGE_DIMENSIONS: tuple[UsageDimension, ...] = ("agent", "owner", "token", "provider", "day")


@dataclass(frozen=True, slots=True)
class UsageKey:
    """Row that an amount belongs to."""

    day: date  # UTC
    owner: str
    agent_id: UUID
    token: str
    kind: str
    provider: str
    model: str
    agent: str  # its slug


@dataclass(slots=True)
class UsageTotals:
    """Amounts. ``cost`` is in USD, and leaves ``unpriced`` requests out."""

    turns: int = 0
    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0  # of ``tokens_in``
    characters: int = 0
    tool_calls: int = 0
    unpriced: int = 0
    seconds: float = 0.0
    cost: Decimal = Decimal(0)

    def add(self, other: UsageTotals) -> None:
        """Add the amounts of ``other``."""
        for name in AMOUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


AMOUNTS = tuple(one.name for one in fields(UsageTotals))


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """Amounts of one group. ``labels`` by dimension."""

    labels: dict[str, str]
    totals: UsageTotals


async def add_usage(connection: AsyncConnection, rows: Sequence[tuple[UsageKey, UsageTotals]]) -> None:
    """Add ``rows`` to what was counted before, in one statement."""
    if not rows:
        return
    ordered = sorted(
        rows, key=lambda row: (row[0].day, row[0].owner, row[0].agent_id, row[0].token, row[0].kind)
    )
    values = [
        (*(getattr(key, name) for name in _KEYS), *(getattr(totals, name) for name in AMOUNTS))
        for key, totals in ordered
    ]
    await connection.execute(_ADD, transpose_rows(values))


_KEYS = tuple(one.name for one in fields(UsageKey))
_TYPES = ("date", "text", "uuid", *("text",) * 5, *("bigint",) * 8, "float8", "numeric")
_SUMS = ", ".join(f"{name} = u.{name} + excluded.{name}" for name in AMOUNTS)
_ADD = f"""
INSERT INTO agent_usage AS u ({", ".join((*_KEYS, *AMOUNTS))})
SELECT * FROM unnest({", ".join(f"%b::{kind}[]" for kind in _TYPES)})
ON CONFLICT (day, owner, agent_id, token, kind, provider, model) DO UPDATE SET agent = excluded.agent, {_SUMS}
"""  # noqa: S608  (names of our own columns)


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Selection of usage. ``owner`` None: of all; ``agent`` None: of all of the owner's."""

    by: tuple[UsageDimension, ...]
    first: date
    last: date  # included
    owner: str | None = None
    agent: str | None = None


async def load_usage(
    connection: AsyncConnection, query: UsageQuery, limit: int, offset: int = 0
) -> list[UsageGroup]:
    """Return the groups, the costliest first; by day in the order of days."""
    groups = [sql.Identifier(name) for name in query.by]
    sums = sql.SQL(", ").join(sql.SQL("sum({})").format(sql.Identifier(name)) for name in AMOUNTS)
    order: list[sql.Composable] = [sql.Identifier("day")] if "day" in query.by else []
    order += [sql.SQL("sum(cost) DESC"), sql.SQL("sum(turns) DESC"), *groups]
    statement = sql.SQL(
        """SELECT {groups}, {sums} FROM agent_usage
           WHERE day BETWEEN %(first)s AND %(last)s
             AND (%(owner)s::text IS NULL OR owner = %(owner)s)
             AND (%(agent)s::text IS NULL OR agent = %(agent)s)
           GROUP BY {groups} ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s"""
    ).format(groups=sql.SQL(", ").join(groups), sums=sums, order=sql.SQL(", ").join(order))
    cursor = await connection.execute(
        statement,
        {
            "first": query.first,
            "last": query.last,
            "owner": query.owner,
            "agent": query.agent,
            "limit": limit,
            "offset": offset,
        },
    )
    return [_make_group(query.by, row) for row in await cursor.fetchall()]


def _make_group(by: Sequence[str], row: Sequence[Any]) -> UsageGroup:
    labels = {name: str(value) for name, value in zip(by, row, strict=False)}
    values = dict(zip(AMOUNTS, row[len(by) :], strict=True))
    whole = {name: int(value) for name, value in values.items() if name not in ("seconds", "cost")}
    return UsageGroup(
        labels, UsageTotals(**whole, seconds=float(values["seconds"]), cost=Decimal(values["cost"]))
    )


async def prune_usage(connection: AsyncConnection, keep: timedelta) -> int:
    """Remove up to ``PRUNE_BATCH`` rows that are older than ``keep``. Return how many."""
    cursor = await connection.execute(
        """DELETE FROM agent_usage WHERE ctid = ANY(ARRAY(
               SELECT ctid FROM agent_usage WHERE day < (now() - %s)::date LIMIT %s))""",
        (keep, PRUNE_BATCH),
    )
    return cursor.rowcount
