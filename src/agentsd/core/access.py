"""Principals: who a request comes from, and what that lets it see and change; pure.

viewer   sees its own owner's agents, and talks to them
editor   writes them, too
admin    sees and writes every owner's

What a principal does not see is, to it, as if it did not exist.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import inf
from typing import get_args

from agentsd.core.manifest.user import Role
from agentsd.core.names import DEFAULT_OWNER

ROLES: frozenset[str] = frozenset(get_args(Role))

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever holds a token. Two are equal while the token, its role and its expiry are the same."""

    owner: str
    name: str  # of the token, as its file calls it
    role: Role
    expires: float | None = None  # seconds since the epoch; the first moment at which it is not valid
    email: str | None = field(default=None, compare=False)
    digest: bytes = field(default=b"", repr=False)  # SHA-256 of the token: tells a new one of the same name

    @property
    def actor(self) -> str:
        """As audits and commits name it: ``acme/ci``."""
        return f"{self.owner}/{self.name}"

    @property
    def is_admin(self) -> bool:
        """Whether every owner's agents are its to see and write."""
        return self.role == "admin"

    @property
    def scope(self) -> str | None:
        """The only owner whose agents exist for it; None: all do."""
        return None if self.role == "admin" else self.owner

    def sees(self, owner: str) -> bool:
        """Whether the agents of ``owner`` exist for it."""
        return self.role == "admin" or owner == self.owner

    def may_write(self, owner: str) -> bool:
        """Whether it may create, change and delete agents of ``owner``."""
        return self.role == "admin" or (self.role == "editor" and owner == self.owner)

    def expired(self, now: float) -> bool:
        """Whether its time is over; ``now`` in seconds since the epoch."""
        return self.expires is not None and now >= self.expires


LOCAL = Principal(DEFAULT_OWNER, "local", "admin")
"""The only user of an open server, which is bound to loopback and knows no token."""

OPERATOR = Principal(DEFAULT_OWNER, "token-file", "admin")
"""Who holds a token of ``AGENTSD_TOKEN_FILE``."""

NOBODY = Principal("", "nobody", "viewer")
"""Probes and scrapers without a token. No owner has an empty name, so no agent exists for it."""


def end_of(expires: str | None) -> float | None:
    """The first moment at which a token is not valid any more, in seconds since the epoch; None: never.

    ``2027-01-31`` is its last valid day in UTC, ``2027-01-31T12:00:00Z`` the moment at which it ends. What
    is neither (the schema lets ``2027-02-30`` pass) ended long ago: a mistake must not make a token eternal.
    """
    if expires is None:
        return None
    try:
        if _DAY.fullmatch(expires):
            day = datetime.strptime(expires, "%Y-%m-%d").replace(tzinfo=UTC)
            return day.timestamp() + timedelta(days=1).total_seconds()
        if _MOMENT.fullmatch(expires):
            return datetime.strptime(expires, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        pass
    return -inf
