"""Notifications of failures and recoveries, each sent once to every webhook.

    look (what fails now, from the store) → record (``store.queries.notifications``)
    → send → record who received it

Nothing here is part of a sync: it reads what syncs and replicas recorded. Of several watchers only
the leader does it; the store records who was notified, so that a restart, or another leader,
continues. While Postgres is unreachable nothing can be recorded: that condition itself is reported
by the process that notices it, from memory.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from agentsd.control.notifications.webhooks import (
    NotificationMessage,
    NotificationState,
    Webhook,
    read_webhooks,
)
from agentsd.core.backoff import Backoff
from agentsd.core.errors import AgentsdError, ConfigError, StoreError
from agentsd.store.database import Database
from agentsd.store.ledger.health import HealthRow, list_failing_agents
from agentsd.store.queries.notifications import (
    ActiveFailure,
    Notice,
    load_notices,
    replace_failures,
    select_source_slugs,
    set_notified,
)
from agentsd.store.queries.replicas import Replica, list_replicas
from agentsd.store.queries.runs import ManifestCondition, SyncRun, list_conditions, list_runs

_POST_TIMEOUT = aiohttp.ClientTimeout(total=10)
_LONGEST_DELAY_SECONDS = 300.0
_CLOSE_SECONDS = 2.0  # limit for a receiver while the process stops
_MESSAGES_MAX = 50
"""Failing manifests that are reported one by one; above that, only their number."""

STORE_AWAY = ActiveFailure("store", "StoreAway", "Postgres cannot be reached, or refuses")

_log = logging.getLogger(__name__)


class Notifier:
    """Sender of notifications to the webhooks of ``file``, until cancelled.

    ``leads`` returns whether this process may send.
    """

    def __init__(
        self,
        database: Database,
        source: str,
        file: Path,
        *,
        leads: Callable[[], bool] = lambda: True,
        period: float = 2.0,
        first_delay: float = 1.0,
    ) -> None:
        self._database = database
        self._source = source
        self._file = file
        self._leads = leads
        self._period = period
        self._backoff = Backoff(first_delay, _LONGEST_DELAY_SECONDS)
        self._woken = asyncio.Event()
        self._waits: dict[str, tuple[int, float]] = {}  # fingerprint → attempts, time of the next one
        self._led = False  # the leader also notifies that the store is away
        self._away: set[str] | None = None  # receivers notified that the store is away; None: it is not
        self._problem = ""

    def wake(self) -> None:
        """Look at once, since something was recorded just now."""
        self._woken.set()

    async def run(self) -> None:
        """Look now, whenever woken, and on a period. Survives every error."""
        async with aiohttp.ClientSession(timeout=_POST_TIMEOUT, trust_env=False) as http:
            while True:
                self._woken.clear()
                await self._round(http)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), self._period)

    async def _round(self, http: aiohttp.ClientSession) -> None:
        try:
            receivers = read_webhooks(self._file)
            self._problem = ""
        except ConfigError as error:
            if error.message != self._problem:
                self._problem = error.message
                _log.warning("no receiver is notified: %s", error.message)
            return
        try:
            if self._leads():
                self._led = True
                await self._look()
                await self._tell_all(http, receivers)
            elif self._led:  # no longer: the store is away, or another process leads
                async with self._database.transaction(snapshot=True):
                    self._led = False
            await self._tell_away(http, receivers, away=False)
        except StoreError:
            await self._tell_away(http, receivers, away=True)
        except AgentsdError as error:
            _log.warning("checking for failures failed: %s", error.message)

    async def _look(self) -> None:
        """Record what fails now."""
        async with self._database.transaction() as conn:
            latest = await list_runs(conn, source=self._source, limit=1)
            conditions = await list_conditions(conn, self._source)
            degraded = {
                **_describe_failing(await list_failing_agents(conn)),
                **_describe_degraded(await list_replicas(conn)),
            }
            own = await select_source_slugs(conn, self._source, degraded)
            agents = (one for slug, one in degraded.items() if slug in own)
            failing = [*_describe_run(latest), *_describe_manifests(conditions), *agents]
            await replace_failures(conn, self._source, failing)

    async def _tell_all(self, http: aiohttp.ClientSession, receivers: Sequence[Webhook]) -> None:
        async with self._database.transaction(snapshot=True) as conn:
            notices = await load_notices(conn, self._source)
        present = {receiver.fingerprint for receiver in receivers}
        for notice in notices:
            known = set(notice.told if notice.failing else notice.told & present)
            for receiver in receivers:
                if (receiver.fingerprint in known) != notice.failing:
                    await _finish_shielded(self._tell(http, receiver, notice, known))
            if not (notice.failing or known):  # the informed receivers are no longer configured
                await self._note(notice, known)

    async def _tell(
        self, http: aiohttp.ClientSession, receiver: Webhook, notice: Notice, known: set[str]
    ) -> None:
        if await self._send(http, receiver, _make_message(self._source, notice)):
            known ^= {receiver.fingerprint}
            await self._note(notice, known)

    async def _note(self, notice: Notice, known: set[str]) -> None:
        async with self._database.transaction() as conn:
            await set_notified(conn, self._source, notice.key, known)

    async def _tell_away(
        self, http: aiohttp.ClientSession, receivers: Sequence[Webhook], *, away: bool
    ) -> None:
        if not away and self._away is None:
            return
        known = self._away if self._away is not None else set()
        notice = Notice(
            STORE_AWAY.key, STORE_AWAY.reason, STORE_AWAY.message, away, frozenset(), datetime.now(UTC)
        )
        for receiver in receivers:
            if (receiver.fingerprint in known) != away and await self._send(
                http, receiver, _make_message(self._source, notice)
            ):
                known ^= {receiver.fingerprint}
        self._away = known if away or known & {one.fingerprint for one in receivers} else None

    async def _send(
        self, http: aiohttp.ClientSession, receiver: Webhook, message: NotificationMessage
    ) -> bool:
        """Send a message; return whether it arrived.

        A webhook that fails is left alone for a while, longer each time.
        """
        loop = asyncio.get_running_loop()
        attempts, due = self._waits.get(receiver.fingerprint, (0, 0.0))
        if loop.time() < due:
            return False
        status = await _post_message(http, receiver, message)
        if 200 <= status < 300:
            self._waits.pop(receiver.fingerprint, None)
            return True
        delay = self._backoff.delay(attempts, random.random())  # noqa: S311  (jitter)
        self._waits[receiver.fingerprint] = (attempts + 1, loop.time() + delay)
        loop.call_later(delay, self._woken.set)
        reason = f"status {status}" if status else "no answer"
        _log.warning("a notification did not arrive: line %d of the file, %s", receiver.line, reason)
        return False


async def _finish_shielded(work: Coroutine[Any, Any, None]) -> None:
    """Finish recording what was sent though the process stops: otherwise the next one would repeat it."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=_CLOSE_SECONDS)
        task.cancel()
        raise


async def _post_message(http: aiohttp.ClientSession, receiver: Webhook, message: NotificationMessage) -> int:
    """Post a message and return the status of the answer; 0 without one.

    The error may contain the URL, so none of it is reported.
    """
    try:
        async with http.post(receiver.url, json=message.body(receiver.kind), allow_redirects=False) as answer:
            return answer.status
    except Exception:  # whatever a receiver answers, notify the others
        return 0


def _make_message(source: str, notice: Notice) -> NotificationMessage:
    at = (notice.since if notice.failing else datetime.now(UTC)).astimezone(UTC)
    state: NotificationState = "failing" if notice.failing else "recovered"
    moment = at.isoformat(timespec="seconds").replace("+00:00", "Z")
    return NotificationMessage(state, source, notice.key, notice.reason, notice.message, moment)


def _describe_run(latest: Sequence[SyncRun]) -> Iterator[ActiveFailure]:
    for run in latest:
        if run.outcome in ("refused", "failed"):
            first = run.errors[0] if run.errors else {}
            where = f"{first['path']}: " if first.get("path") else ""
            text = f"{where}{first.get('message', '')}"
            yield ActiveFailure("run", str(first.get("code") or run.outcome), text)


def _describe_manifests(conditions: Sequence[ManifestCondition]) -> Iterator[ActiveFailure]:
    invalid = [one for one in conditions if one.type == "Invalid"]
    if len(invalid) > _MESSAGES_MAX:
        yield ActiveFailure("manifests", "Invalid", f"{len(invalid)} manifests are invalid")
        return
    for one in invalid:
        yield ActiveFailure(f"manifest:{one.path}", one.reason, one.message)


def _describe_failing(found: Sequence[tuple[str, HealthRow]]) -> dict[str, ActiveFailure]:
    """Return the agents whose vendors do not answer, by slug, with what to do."""
    failures = {}
    for slug, row in found[:_MESSAGES_MAX]:
        cause = row.describe(slug).cause
        if cause is not None:
            failures[slug] = ActiveFailure(f"agent:{slug}", "Failing", f"{cause.message}; {cause.fix}")
    return failures


def _describe_degraded(replicas: Sequence[Replica]) -> dict[str, ActiveFailure]:
    """Return the degraded agents as one condition each.

    It is one condition on however many replicas, and while those restart.
    """
    where: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for replica in replicas:
        for agent in list(replica.degraded)[:_MESSAGES_MAX]:
            where.setdefault(str(agent.get("slug")), []).append((replica.host, agent))
    return {slug: _describe_agent(slug, found) for slug, found in where.items()}


def _describe_agent(slug: str, found: Sequence[tuple[str, Mapping[str, Any]]]) -> ActiveFailure:
    host, agent = found[0]
    on = f"on {host}" if len(found) == 1 else f"on {len(found)} replicas"
    text = f"{agent.get('message') or 'degraded'} ({on})"
    return ActiveFailure(f"agent:{slug}", str(agent.get("reason") or "Degraded"), text)
