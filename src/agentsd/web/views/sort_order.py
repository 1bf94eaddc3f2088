"""Order of a list: key, direction, and the page after a place; pure.

Agents of equal keys are ordered by slug, in either direction of the keys, so that every
agent has a place of its own: its key and its slug.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Protocol, TypeAlias

from agentsd.core.ledger.status import STATUS_WORDS, AgentStatus
from agentsd.core.manifest.agent import AgentRow
from agentsd.runtime.agents.snapshot import AgentCondition, SnapshotEntry

Key: TypeAlias = str | int
ListPlace: TypeAlias = tuple[Key, str]
"""An agent's key and slug: its place in the order."""

CONDITION_SEVERITY = ("Ready", "Suspended", "Degraded", "Invalid")
"""Types of conditions, the lightest first."""
_SEVERITY_RANKS = {name: rank for rank, name in enumerate(CONDITION_SEVERITY)}


_STATUS_RANKS = {name: rank for rank, name in enumerate(STATUS_WORDS)}


class Sortable(Protocol):
    """Entry of a list that is ordered."""

    @property
    def row(self) -> AgentRow:
        """Return the row of the agent."""

    @property
    def condition(self) -> AgentCondition:
        """Return the condition of the agent."""


@dataclass(frozen=True, slots=True)
class ListedAgent:
    """Agent with its status, for a list that is ordered by it."""

    entry: SnapshotEntry
    status: AgentStatus

    @property
    def row(self) -> AgentRow:
        """Return the row of the agent."""
        return self.entry.row

    @property
    def condition(self) -> AgentCondition:
        """Return the condition of the agent."""
        return self.entry.condition


def _rank_status(agent: Sortable) -> int:
    """Return the severity of a status; 0 of an agent that was listed without."""
    return _STATUS_RANKS[agent.status.word] if isinstance(agent, ListedAgent) else 0


@dataclass(frozen=True, slots=True)
class SortKey:
    """Sort key. ``key`` returns an entry's key of the type ``kind``, for every agent: keep it cheap."""

    kind: type[Key]
    key: Callable[[Sortable], Key]


SORT_KEYS = {
    "slug": SortKey(str, lambda entry: entry.row.slug),
    "name": SortKey(str, lambda entry: entry.row.name.casefold()),
    "version": SortKey(int, lambda entry: entry.row.version),
    "updated_at": SortKey(int, lambda entry: round(entry.row.updated_at.timestamp() * 1_000_000)),
    "condition": SortKey(int, lambda entry: _SEVERITY_RANKS[entry.condition.type]),
    "status": SortKey(int, _rank_status),
}
SORTS = (*SORT_KEYS, *(f"-{name}" for name in SORT_KEYS))
"""Values of ``sort``; ``-`` reverses the order."""


@dataclass(frozen=True, slots=True)
class SortOrder:
    """Order of a list: key and direction."""

    name: str = "slug"  # of ``SORT_KEYS``
    descending: bool = False

    @classmethod
    def parse(cls, text: str) -> SortOrder:
        """Parse one of ``SORTS``."""
        return cls(text.removeprefix("-"), text.startswith("-"))

    def __str__(self) -> str:
        return f"-{self.name}" if self.descending else self.name

    @property
    def kind(self) -> type[Key]:
        """Return the type of the keys."""
        return SORT_KEYS[self.name].kind

    def place(self, entry: Sortable) -> ListPlace:
        """Return the place of ``entry``."""
        return SORT_KEYS[self.name].key(entry), entry.row.slug

    def follows(self, place: ListPlace, after: ListPlace) -> bool:
        """Return whether ``place`` comes after ``after``. Their keys are of one kind."""
        if place[0] == after[0]:
            return place[1] > after[1]
        later: bool = place[0] > after[0]  # type: ignore[operator]
        return later is not self.descending


SLUG_ORDER = SortOrder()
"""The default order."""


class PagePicker:
    """Picker of the page after a place (None: the first one), a few entries at a time.

    Sorting all of 100,000 agents would block the loop; this keeps a page's worth while the rest go by.
    """

    def __init__(self, order: SortOrder, after: ListPlace | None, limit: int) -> None:
        self._order = order
        self._after = after
        self._limit = limit
        self._best: list[ListPlace] = []

    def add(self, entries: Iterable[Sortable]) -> None:
        """Add more of the list. All entries have to come in the order of slugs."""
        order, after = self._order, self._after
        places = [order.place(entry) for entry in entries]
        if after is not None:
            places = [place for place in places if order.follows(place, after)]
        both = sorted([*self._best, *places], key=itemgetter(0), reverse=order.descending)  # stable
        self._best = both[: self._limit + 1]

    def page(self) -> tuple[list[str], ListPlace | None]:
        """Return the slugs of the page, and the place after which the next one begins, if there is one."""
        page = self._best[: self._limit]
        more = len(self._best) > self._limit
        return [slug for _, slug in page], page[-1] if more else None
