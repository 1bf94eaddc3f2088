"""Policy for pulled commits: the required signature, and the direction in which the ref moved.

The ref is followed, also after a force-push. Only a commit that is older than the applied one is
refused, unless the ref itself went back: unless, that is, a later commit of this very ref of this
very remote was applied. A mirror that lags looks the same for a moment, so that is accepted only
when it is still so a while later.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from agentsd.core.errors import StaleSync, SyncRefused
from agentsd.core.trust.remotes import parse_remote
from agentsd.files.git.mirror import Mirror
from agentsd.files.git.signatures import TrustedSigners
from agentsd.store.queries.pulls import PullState

CONFIRM_SECONDS = 5.0
"""Period for which a ref must stay at an older commit before it is followed."""

_log = logging.getLogger(__name__)


class SourceMoved(SyncRefused):
    """Refusal of a source that was applied from another remote."""


class AwaitConfirmation(Exception):
    """Request to wait: the ref went back, which is accepted after ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class PullOptions:
    """Options for pulling one source; times in seconds."""

    source: str
    path: str  # of the manifests in the repository
    interval: float = 30.0
    resync: float = 60.0
    allow_older: bool = False
    adopt: bool = False
    signers: TrustedSigners | None = None
    env: str | None = None  # the overlay, beside ``path``
    confirm: float = CONFIRM_SECONDS


class CommitPolicy:
    """Policy for the commits of one ref of one remote."""

    def __init__(self, mirror: Mirror, options: PullOptions) -> None:
        self._mirror = mirror
        self._options = options
        self._gone_back: tuple[str, float] | None = None  # the older commit, and when it was first seen

    def refuse_moved(self, known: PullState | None) -> None:
        """Raise ``SourceMoved`` where another remote was applied before."""
        if known is None or known.last_applied is None or self._options.adopt:
            return
        if parse_remote(known.url).identity != self._mirror.remote.identity:
            raise SourceMoved(
                f"the source {known.source!r} was applied from {known.url}",
                hint=f"use --adopt to apply it from {self._mirror.remote.shown}, or set --source",
            )

    async def accept(self, commit: str, known: PullState | None, applied: str | None) -> str | None:
        """Return the signer of the commit, where a signature is required.

        ``applied``: the commit that it must not be older than. Raises ``Untrusted``, ``StaleSync``,
        ``AwaitConfirmation``.
        """
        signers = self._options.signers
        signer = await signers.verify(self._mirror, commit) if signers else None
        if applied is not None and applied != commit and not self._options.allow_older:
            await self._refuse_older(commit, applied, self._seen(known))
        self._gone_back = None
        return signer

    def _seen(self, known: PullState | None) -> str | None:
        """Return the commit of this ref of this remote when it was last applied."""
        if known is None or known.ref != self._mirror.ref:
            return None
        same = parse_remote(known.url).identity == self._mirror.remote.identity
        return known.last_applied if same else None

    async def _refuse_older(self, commit: str, applied: str, seen: str | None) -> None:
        mirror = self._mirror
        if seen is not None and await mirror.is_older(commit, seen):
            self._believe(commit)
            return
        older = await mirror.is_older(commit, applied)
        if not older and seen is None:
            older = await mirror.is_older_there(
                commit, applied
            )  # the local history does not go back far enough
        if older:
            raise StaleSync(
                f"commit {commit[:12]} of {mirror.ref!r} is older than {applied[:12]}, which is applied",
                hint="is --ref right, or the remote behind? to go back on purpose, use --allow-older",
            )

    def _believe(self, commit: str) -> None:
        """Raise ``AwaitConfirmation`` until the ref was seen at the older ``commit`` for long enough."""
        if self._gone_back is None or self._gone_back[0] != commit:
            self._gone_back = (commit, get_loop_time())
        waited = get_loop_time() - self._gone_back[1]
        if waited < self._options.confirm:
            raise AwaitConfirmation(self._options.confirm - waited)
        _log.warning("the ref went back, and is followed", extra={"commit": commit})


def get_loop_time() -> float:
    """Return the time of the running loop's clock."""
    return asyncio.get_running_loop().time()
