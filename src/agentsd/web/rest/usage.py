"""GET /api/usage: what was consumed, and what it cost, grouped; as JSON or CSV.

An admin sees every owner's, others only what was asked of their own owner's agents. There a token of
another owner, such as an admin's, is not named.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal, NotRequired

from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict

from agentsd.core.names import derive_owner, slug_from_url
from agentsd.store.ledger.usage import (
    AMOUNTS,
    USAGE_DIMENSIONS,
    UsageDimension,
    UsageGroup,
    UsageQuery,
    UsageTotals,
    load_usage,
)
from agentsd.web.agent_lookup import get_principal
from agentsd.web.context import APP_CONTEXT
from agentsd.web.http.conditional import SECURITY_HEADERS
from agentsd.web.http.problem import bad_request
from agentsd.web.http.reply import Count, make_reply
from agentsd.web.views.pagination import TEXT_MAX, check_names, parse_choice

GROUPS_MAX = 10_000
"""Groups of one reply; the costliest ones, where there are more."""
DAYS_DEFAULT = 30
OTHER_TOKEN = "of another owner"  # noqa: S105  (a label)
FORMATS: tuple[Literal["json", "csv"], ...] = ("json", "csv")
_NAMES = ("by", "from", "to", "owner", "agent", "format")


class UsageAmounts(TypedDict):
    """Amounts of a group."""

    turns: Count
    requests: Annotated[int, Field(ge=0, description="Answers of vendors; a turn may have several.")]
    tokens_in: Count
    tokens_out: Count
    tokens_cached: Annotated[int, Field(ge=0, description="Of `tokens_in`, those in the vendor's cache.")]
    characters: Annotated[int, Field(ge=0, description="Spoken.")]
    seconds: Annotated[float, Field(ge=0, description="Of sound that was transcribed.")]
    tool_calls: Count
    cost: Annotated[float, Field(ge=0, description="USD, without the `unpriced` requests.")]
    unpriced: Annotated[int, Field(ge=0, description="Requests whose price is unknown.")]


class UsageItem(UsageAmounts):
    """Amounts of a group, with the values that it is grouped by."""

    agent: NotRequired[str]
    owner: NotRequired[str]
    token: NotRequired[str]
    provider: NotRequired[str]
    day: NotRequired[str]


UsageDate = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]


class UsageReply(TypedDict):
    """Usage of a span of days in UTC, both included."""

    since: UsageDate
    until: UsageDate
    by: list[UsageDimension]
    currency: Literal["USD"]
    items: list[UsageItem]
    total: UsageAmounts
    truncated: Annotated[bool, Field(description=f"True: there are more than {GROUPS_MAX} groups.")]


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.get("/api/usage", get_usage)]


@dataclass(frozen=True, slots=True)
class _Asked:
    query: UsageQuery
    form: Literal["json", "csv"]


async def get_usage(request: web.Request) -> web.Response:
    """Return the usage. 503 without Postgres."""
    scope = get_principal(request).scope
    asked = parse_usage_query(request, scope)
    async with request.app[APP_CONTEXT].database.transaction(snapshot=True) as connection:
        groups = await load_usage(connection, asked.query, GROUPS_MAX + 1)
    shown = hide_tokens(groups[:GROUPS_MAX], scope)
    if asked.form == "csv":
        name = f"usage-{asked.query.first}-{asked.query.last}.csv"
        headers = {
            **SECURITY_HEADERS,
            "Content-Type": "text/csv; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        }
        return web.Response(body=format_csv(asked.query.by, shown).encode(), headers=headers)
    total = UsageTotals()
    for group in shown:
        total.add(group.totals)
    reply: UsageReply = {
        "since": asked.query.first.isoformat(),
        "until": asked.query.last.isoformat(),
        "by": list(asked.query.by),
        "currency": "USD",
        "items": [{**group.labels, **make_amounts(group.totals)} for group in shown],  # type: ignore[typeddict-item]
        "total": make_amounts(total),
        "truncated": len(groups) > GROUPS_MAX,
    }
    return make_reply(reply)


def parse_usage_query(request: web.Request, scope: str | None) -> _Asked:
    """Parse the query. Raise ``Problem`` 400."""
    query = request.query
    check_names([name for name, _ in query.items()], _NAMES)
    today = datetime.now(UTC).date()
    last = _parse_day(query.get("to"), "to") or today
    first = _parse_day(query.get("from"), "from") or last - timedelta(days=DAYS_DEFAULT - 1)
    if first > last:
        raise bad_request("from is after to", param="from")
    agent, owner = _get_text(query.get("agent"), "agent"), _get_text(query.get("owner"), "owner")
    if scope is not None:
        owner = scope if owner in (None, scope) else ""  # no owner has an empty name
    form = parse_choice(query, "format", FORMATS) or "json"
    chosen = UsageQuery(_parse_by(query.get("by")), first, last, owner, agent and slug_from_url(agent))
    return _Asked(chosen, form)


def _parse_by(text: str | None) -> tuple[UsageDimension, ...]:
    names = [one.strip() for one in (text or "agent").split(",")]
    found = tuple(one for one in USAGE_DIMENSIONS if one in names)
    if len(found) != len(names):
        raise bad_request(f"by is a list of {', '.join(USAGE_DIMENSIONS)}, each once", param="by")
    return found


def _parse_day(text: str | None, name: str) -> date | None:
    if text is None:
        return None
    try:
        if len(text) != len("2026-12-01"):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise bad_request(f"{name} is not a day such as 2026-12-01", param=name) from None


def _get_text(value: str | None, name: str) -> str | None:
    if value is not None and (len(value) > TEXT_MAX or not value.isprintable()):
        raise bad_request(f"{name} is longer than {TEXT_MAX} characters, or unprintable", param=name)
    return value


def hide_tokens(groups: Sequence[UsageGroup], scope: str | None) -> list[UsageGroup]:
    """Return the groups as users of the owner ``scope`` may see them: others' tokens are one."""
    if scope is None:
        return list(groups)
    merged: dict[tuple[tuple[str, str], ...], UsageGroup] = {}
    for group in groups:
        token = group.labels.get("token")
        foreign = token is not None and derive_owner(token) != scope
        labels = {**group.labels, "token": OTHER_TOKEN} if foreign else group.labels
        known = merged.setdefault(tuple(labels.items()), UsageGroup(labels, UsageTotals()))
        known.totals.add(group.totals)
    return list(merged.values())


def make_amounts(totals: UsageTotals) -> UsageAmounts:
    """Return amounts for programs; the cost to a billionth of a dollar."""
    return {
        "turns": totals.turns,
        "requests": totals.requests,
        "tokens_in": totals.tokens_in,
        "tokens_out": totals.tokens_out,
        "tokens_cached": totals.tokens_cached,
        "characters": totals.characters,
        "seconds": round(totals.seconds, 3),
        "tool_calls": totals.tool_calls,
        "cost": float(totals.cost),
        "unpriced": totals.unpriced,
    }


def format_csv(by: Sequence[str], groups: Sequence[UsageGroup]) -> str:
    """Return the groups as RFC 4180 has them, with a head. A value that a spreadsheet would run is quoted."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow((*by, *AMOUNTS))
    for group in groups:
        labels = [_defuse(group.labels[name]) for name in by]
        writer.writerow((*labels, *(getattr(group.totals, name) for name in AMOUNTS)))
    return text.getvalue()


def _defuse(value: str) -> str:
    return f"'{value}" if value[:1] in ("=", "+", "-", "@") else value
