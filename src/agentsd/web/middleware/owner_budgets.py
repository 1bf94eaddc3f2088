"""Owner budgets: how many requests of one owner's tokens a replica handles at a time.

A rate limit bounds how often one token sends requests; this bounds the concurrent ones of all
tokens of one owner: streams, calls, event feeds, and, by a lower bound, expensive work. So one
owner cannot take all connections of a replica, or queue up before everybody's writes. Admins are
not counted, so that they are never locked out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import Counter as MetricCounter

from agentsd.core.access import Principal
from agentsd.telemetry import Metrics
from agentsd.web.http.problem import Problem

RETRY_AFTER_SECONDS = 1

OwnerWork = tuple[str, bool]
"""Owner of a request that is counted, and whether it is expensive."""

_READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_CHEAP_WRITE_PATHS = frozenset({"/api/session"})


@dataclass(slots=True)
class OwnerBudgets:
    """Requests and expensive work in progress, by owner. 0: no limit of this kind."""

    metrics: Metrics
    requests: int = 0
    works: int = 0
    _requests: Counter[str] = field(default_factory=Counter)
    _works: Counter[str] = field(default_factory=Counter)
    _refused: MetricCounter = field(init=False)

    def __post_init__(self) -> None:
        self._refused = MetricCounter(
            "agentsd_owner_budget_refused",
            "Requests refused because their owner has too many in progress.",
            ["budget"],
            registry=self.metrics.registry,
        )

    def enter(self, request: web.Request, principal: Principal) -> OwnerWork | None:
        """Count the request for its owner until ``leave``; None where nobody counts it.

        Raise ``Problem`` 429 beyond a budget.
        """
        owner = principal.owner
        if principal.is_admin or not owner:
            return None
        heavy = is_expensive(request)
        self._refuse(self._requests, self.requests, owner, "requests")
        if heavy:
            self._refuse(self._works, self.works, owner, "works")
        self._requests[owner] += 1
        self._works[owner] += heavy
        return owner, heavy

    @contextmanager
    def hold_work(self, principal: Principal) -> Iterator[None]:
        """Count expensive work of a request that did not look expensive when it came.

        Raise ``Problem`` 429 beyond the budget.
        """
        owner = principal.owner
        if principal.is_admin or not owner:
            yield
            return
        self._refuse(self._works, self.works, owner, "works")
        self._works[owner] += 1
        try:
            yield
        finally:
            _release_count(self._works, owner, 1)

    def leave(self, work: OwnerWork) -> None:
        """Release what ``enter`` counted."""
        owner, heavy = work
        _release_count(self._requests, owner, 1)
        _release_count(self._works, owner, heavy)

    def _refuse(self, held: Counter[str], limit: int, owner: str, budget: str) -> None:
        if limit and held[owner] >= limit:
            self._refused.labels(budget).inc()
            what = "requests" if budget == "requests" else "writes, plans and previews"
            raise Problem(
                429,
                "owner_busy",
                f"this owner has {limit} {what} in progress, which is the limit",
                hint=f"try again in {RETRY_AFTER_SECONDS} s, or end some of them",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )


def is_expensive(request: web.Request) -> bool:
    """Return whether a request is expensive: writes, dry runs, plans, diffs, Markdown."""
    path = request.path
    if not path.startswith("/api/") or path in _CHEAP_WRITE_PATHS:
        return False
    return request.method not in _READ_METHODS or path == "/api/sync/plan" or "diff" in request.query


def _release_count(held: Counter[str], owner: str, count: int) -> None:
    held[owner] -= count
    if held[owner] <= 0:
        del held[owner]
