"""Convergence of the fleet: the condition on which ``sync --wait`` ends.

Only the replicas that were live when the version was committed are waited for: one that starts
later loads that version anyway. A replica is live while it sends heartbeats, and done when one of
them reports the version, which happens only once everything that a swap brings is opened and
counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from agentsd.core.errors import StoreUnavailable, SyncRefused
from agentsd.store.database import Database
from agentsd.store.queries.replicas import LIVE_SECONDS, Replica, list_replicas, read_clock

POLL_SECONDS = 0.05

_FORGOTTEN_SECONDS = 300.0  # s; replicas silent for longer are not reported
_KEPT_SECONDS = 86_400.0  # s; the store keeps replicas that ended without a word for a day
_NAMED_MAX = 10  # laggards or agents in one message

WaitProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class LaggingReplica:
    """Replica that was live at the commit and does not serve the version."""

    replica: Replica
    silent: float  # s since it was last heard of

    def __str__(self) -> str:
        opening = f" with {self.replica.unopened} agents to open" if self.replica.unopened else ""
        at = f"{self.replica.place} at {self.replica.version}{opening}, last heard {self.silent:.0f} s ago"
        return at if self.silent < LIVE_SECONDS else f"{at}: killed, frozen or cut off"


@dataclass(frozen=True, slots=True)
class AgentDegradation:
    """Agent that the version degraded on a replica."""

    slug: str
    replica: Replica
    type: str  # Degraded or Invalid
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.slug} is {self.type} on {self.replica.place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class FleetState:
    """Progress towards ``version`` of the replicas that were live at the commit."""

    version: int
    serving: tuple[Replica, ...] = ()
    laggards: tuple[LaggingReplica, ...] = ()
    left: tuple[Replica, ...] = ()  # shut down cleanly before they served it; they no longer serve
    spoiled: tuple[AgentDegradation, ...] = ()
    silent: tuple[LaggingReplica, ...] = ()  # already silent at the commit: not waited for

    @property
    def expected(self) -> int:
        """Return the number of replicas to wait for."""
        return len(self.serving) + len(self.laggards)


class NotConverged(SyncRefused):
    """Failure to converge: the sync is applied, but a replica does not serve it, or cannot.

    ``fleet`` contains the details.
    """

    def __init__(self, fleet: FleetState, timeout: float) -> None:
        self.fleet = fleet
        told = [str(one) for one in (*fleet.laggards, *fleet.spoiled)]
        late = f"not live everywhere after {timeout:g} s"
        self.what = f"applied, but {late if fleet.laggards else 'not well everywhere'}"
        more = f" and {len(told) - _NAMED_MAX} more" if len(told) > _NAMED_MAX else ""
        super().__init__(
            f"version {fleet.version} is {self.what}: {'; '.join(told[:_NAMED_MAX])}{more}",
            hint="see: agentsd status",
        )


async def wait_for_replicas(
    database: Database,
    version: int,
    timeout: float,
    progress: WaitProgress | None = None,
    *,
    changed: Collection[str] = (),
) -> FleetState:
    """Return when all replicas that are live now serve ``version`` or newer. Raises ``NotConverged``.

    Call it right after the commit. ``changed``: the agents that the version changed, none of which may
    be degraded by it. While Postgres is unreachable the time counts; raises ``StoreUnavailable`` at its
    end.
    """
    deadline = asyncio.get_running_loop().time() + timeout
    roll: ConvergenceTracker | None = None
    while True:
        late = asyncio.get_running_loop().time() >= deadline
        try:
            now, found = await _load_replicas(database)
        except StoreUnavailable:
            if late:
                raise
        else:
            roll = roll or ConvergenceTracker(
                version,
                select_live_replicas(found, now),
                frozenset(changed),
                _find_silent(found, now, version),
            )
            fleet = roll.fleet(found, now)
            if progress:
                progress(len(fleet.serving), fleet.expected)
            if late or not fleet.laggards:
                return _check_converged(fleet, timeout)
        await asyncio.sleep(POLL_SECONDS)


def select_live_replicas(replicas: Sequence[Replica], now: datetime) -> list[Replica]:
    """Select the replicas with a recent heartbeat."""
    return [one for one in replicas if one.silent(now) < LIVE_SECONDS]


def _find_silent(replicas: Sequence[Replica], now: datetime, version: int) -> tuple[LaggingReplica, ...]:
    told = [LaggingReplica(one, one.silent(now)) for one in replicas if one.version < version]
    return tuple(one for one in told if LIVE_SECONDS <= one.silent < _FORGOTTEN_SECONDS)


def _check_converged(fleet: FleetState, timeout: float) -> FleetState:
    if fleet.laggards or fleet.spoiled:
        raise NotConverged(fleet, timeout)
    return fleet


async def _load_replicas(database: Database) -> tuple[datetime, list[Replica]]:
    async with database.transaction(snapshot=True) as conn:
        return await read_clock(conn), await list_replicas(conn, within_seconds=_KEPT_SECONDS)


@dataclass(slots=True)
class ConvergenceTracker:
    """Replicas that were live at the commit, and those that have served the version since."""

    version: int
    called: Sequence[Replica]
    changed: frozenset[str]
    silent: tuple[LaggingReplica, ...] = ()
    _served: dict[UUID, Replica] = field(default_factory=dict)

    def fleet(self, found: Sequence[Replica], now: datetime) -> FleetState:
        """Return the state of the fleet by ``found``, all the replicas that are listed."""
        known = {one.id: one for one in found}
        for one in found:
            if self._is_done(one):
                self._served[one.id] = one
        serving = [self._served[one.id] for one in self.called if one.id in self._served]
        behind = [known[one.id] for one in self.called if one.id not in self._served and one.id in known]
        return FleetState(
            self.version,
            tuple(serving),
            tuple(LaggingReplica(one, one.silent(now)) for one in behind),
            tuple(one for one in self.called if one.id not in known and one.id not in self._served),
            tuple(bad for one in serving for bad in find_degraded(one, self.changed)),
            self.silent,
        )

    def _is_done(self, replica: Replica) -> bool:
        """Return whether the replica serves the version and has opened all that changed.

        Where many changed at once, they are opened after the swap.
        """
        opened = replica.version > self.version or not (self.changed and replica.unopened)
        return replica.version >= self.version and opened


def find_degraded(replica: Replica, changed: Collection[str]) -> list[AgentDegradation]:
    """Return those of ``changed`` that the replica reports as degraded."""
    return [
        AgentDegradation(
            agent["slug"], replica, *(str(agent.get(key, "")) for key in ("type", "reason", "message"))
        )
        for agent in replica.degraded
        if agent.get("slug") in changed
    ]


def fleet_json(fleet: FleetState) -> Mapping[str, Any]:
    """Return the state for machines: replicas by ``host:pid``, silence in seconds."""
    return {
        "version": fleet.version,
        "serving": [one.place for one in fleet.serving],
        "laggards": [
            {"replica": one.replica.place, "version": one.replica.version, "silent_seconds": one.silent}
            for one in fleet.laggards
        ],
        "left": [one.place for one in fleet.left],
        "silent": [one.replica.place for one in fleet.silent],
        "degraded": [
            {"agent": one.slug, "replica": one.replica.place, "condition": one.type, "reason": one.reason}
            | {"message": one.message}
            for one in fleet.spoiled
        ],
    }
