"""Snapshot: the immutable set of agents that a runtime serves, and the builder of the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Literal
from uuid import UUID

from agentsd.core.errors import AgentNotFound
from agentsd.core.manifest.agent import AgentRow
from agentsd.core.names import is_uuid, slug_from_url
from agentsd.core.violations import suggest_word
from agentsd.runtime.agents.leases import BuiltAgent
from agentsd.runtime.agents.persistent_map import MapEdit, PersistentMap

ConditionType = Literal["Ready", "Degraded", "Invalid", "Suspended"]

_SUGGEST_AMONG = 5000  # beyond so many agents, the search for a similar name would block the loop
_SUGGEST_FROM = 100
_LIST_HINT = "list them: agentsd status"


@dataclass(frozen=True, slots=True)
class AgentCondition:
    """Condition of an agent. ``reason`` is for machines (CamelCase), ``message`` for people.

    Ready      Opened; TurnModelMissing: opened, but silence ends its turns; NotOpened: neither a lease nor
               the verifier has opened it yet
    Degraded   an older document serves; ``reason`` is why the newest does not. ToolChanged: the newest
               serves without a tool whose MCP server changed it
    Invalid    nothing of it can run; ``reason`` is why
    Suspended  Inactive: its manifest contains ``active: false``
    """

    type: ConditionType
    reason: str
    message: str
    since: datetime

    def after(self, previous: AgentCondition | None) -> AgentCondition:
        """Return this condition, or ``previous`` if they are equal: ``since`` is when it began."""
        same = previous is not None and (previous.type, previous.reason, previous.message) == (
            self.type,
            self.reason,
            self.message,
        )
        return previous if same and previous is not None else self


class SnapshotEntry:
    """Entry of one agent in a snapshot: the wanted version, its condition, and its build while in use.

    ``row`` never changes. The rest is what was found out about it since: ``good`` is the newest
    document known to open (``row`` itself when all is well, None while unknown), ``condition`` reports
    it, and ``built`` is there while the agent is in use. Only the registry writes them.
    """

    __slots__ = ("built", "condition", "flight", "good", "interest", "row")

    def __init__(self, row: AgentRow, condition: AgentCondition, good: AgentRow | None = None) -> None:
        self.row = row
        self.condition = condition
        self.good = good
        self.built: BuiltAgent | None = None
        self.flight: asyncio.Task[None] | None = None  # the opening in progress
        self.interest = 0  # number of leases that wait for it

    @property
    def opened(self) -> bool:
        """Return whether its document was opened, successfully or not."""
        return self.condition.reason != "NotOpened"


class SlugIndex:
    """Sorted slugs of a snapshot, of all and of each owner; sorted when first asked for, and kept."""

    __slots__ = ("_all", "_owned")

    def __init__(self) -> None:
        self._all: tuple[str, ...] | None = None
        self._owned: dict[str, tuple[str, ...]] | None = None

    def of(self, entries: Mapping[str, SnapshotEntry], owner: str | None) -> tuple[str, ...]:
        """Return the slugs of ``owner``; None: of all."""
        if self._all is None:
            self._all = tuple(sorted(entries))
        if owner is None:
            return self._all
        if self._owned is None:
            owned: dict[str, list[str]] = {}
            for slug in self._all:
                owned.setdefault(entries[slug].row.owner, []).append(slug)
            self._owned = {name: tuple(slugs) for name, slugs in owned.items()}
        return self._owned.get(owner, ())


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Agents as of one version. Lookups cost a dict access.

    Where an ``owner`` is given, no other's agents exist: they are neither found, nor named, nor
    counted.
    """

    version: int  # 0 before the first load
    stamp: UUID | None
    loaded_at: datetime
    entries: PersistentMap[str, SnapshotEntry]  # by slug, in no particular order
    ids: PersistentMap[UUID, SnapshotEntry]
    defaults: PersistentMap[str, str]  # owner → slug
    _names: SlugIndex = field(default_factory=SlugIndex, compare=False, repr=False)

    def slugs(self, owner: str | None = None) -> tuple[str, ...]:
        """Return every slug, sorted."""
        return self._names.of(self.entries, owner)

    def find(self, ref: str, owner: str | None = None) -> SnapshotEntry:
        """Return the agent that ``ref`` names: a slug, an id, or a slug with ``~`` for ``/``.

        Raises ``AgentNotFound``.
        """
        entry = self.entries.get(ref)
        if entry is None and is_uuid(ref):
            entry = self.ids.get(UUID(ref))
        if entry is None and "~" in ref:
            entry = self.entries.get(slug_from_url(ref))
        if entry is None or (owner is not None and entry.row.owner != owner):
            raise make_not_found_error(ref, self._hint(slug_from_url(ref), owner))
        return entry

    def _hint(self, slug: str, owner: str | None) -> str:
        """Return a similar name from the same folder."""
        known = self.entries if owner is None else self.slugs(owner)
        if len(known) > _SUGGEST_AMONG or len(slug) > 250:
            return _LIST_HINT
        folder, _, name = slug.rpartition("/")
        near = (
            one
            for one in known
            if one.rpartition("/")[0] == folder
            and abs(len(one) - len(slug)) <= 3
            and one[len(folder) :].lstrip("/")[:1] == name[:1]
        )
        return suggest_word(slug, islice(near, _SUGGEST_FROM)) or _LIST_HINT


def make_not_found_error(ref: str, hint: str = _LIST_HINT) -> AgentNotFound:
    """Make the one error for what does not exist and for what the caller may not see."""
    return AgentNotFound(f"there is no agent {ref[:250]!r}", hint=hint)


class SnapshotBuilder:
    """Builder of a snapshot."""

    def __init__(self, base: Snapshot) -> None:
        self._entries = MapEdit(base.entries)
        self._ids = MapEdit(base.ids)
        self._defaults = MapEdit(base.defaults)

    def remove(self, agent: UUID) -> None:
        """Remove an agent."""
        entry = self._ids.pop(agent)
        if entry is None:
            return
        row = entry.row
        self._entries.pop(row.slug)
        if self._defaults.get(row.owner) == row.slug:
            self._defaults.pop(row.owner)

    def put(self, entry: SnapshotEntry) -> None:
        """Add an agent. All removals come first, so that names and defaults may be exchanged."""
        row = entry.row
        self._ids.put(row.id, entry)
        self._entries.put(row.slug, entry)
        if row.is_default:
            self._defaults.put(row.owner, row.slug)

    def freeze(self, version: int, stamp: UUID, loaded_at: datetime) -> Snapshot:
        """Return the finished snapshot; the builder must not be used again."""
        return Snapshot(
            version, stamp, loaded_at, self._entries.freeze(), self._ids.freeze(), self._defaults.freeze()
        )


def make_empty_snapshot(now: datetime) -> Snapshot:
    """Make the snapshot that is served before the first load."""
    return Snapshot(0, None, now, PersistentMap(), PersistentMap(), PersistentMap())
