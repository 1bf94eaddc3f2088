"""Principals: the identity behind a request, and what it may see and change. Pure.

viewer   sees its own owner's agents, and talks to them
editor   writes them, too
admin    sees and writes every owner's

To a principal, agents that it may not see do not exist.
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
    """Holder of a token. Two are equal if the token, its role and its expiry are equal."""

    owner: str
    name: str  # of the token, as in its file
    role: Role
    expires: float | None = None  # seconds since the epoch; the first moment at which it is not valid
    email: str | None = field(default=None, compare=False)
    digest: bytes = field(default=b"", repr=False)  # SHA-256 of the token: tells a new one of the same name

    @property
    def actor(self) -> str:
        """Return the name for audit entries and commits: ``acme/ci``."""
        return f"{self.owner}/{self.name}"

    @property
    def is_admin(self) -> bool:
        """Return whether the principal may see and write every owner's agents."""
        return self.role == "admin"

    @property
    def scope(self) -> str | None:
        """Return the only owner whose agents are visible to the principal; None: all are."""
        return None if self.role == "admin" else self.owner

    def sees(self, owner: str) -> bool:
        """Return whether the agents of ``owner`` are visible to the principal."""
        return self.role == "admin" or owner == self.owner

    def may_write(self, owner: str) -> bool:
        """Return whether the principal may create, change and delete agents of ``owner``."""
        return self.role == "admin" or (self.role == "editor" and owner == self.owner)

    def expired(self, now: float) -> bool:
        """Return whether the token has expired; ``now`` in seconds since the epoch."""
        return self.expires is not None and now >= self.expires


LOCAL = Principal(DEFAULT_OWNER, "local", "admin")
"""The only user of an open server, which is bound to loopback and has no tokens."""

OPERATOR = Principal(DEFAULT_OWNER, "token-file", "admin")
"""The principal of a token of ``AGENTSD_TOKEN_FILE``."""

NOBODY = Principal("", "nobody", "viewer")
"""Probes and scrapers without a token. No owner has an empty name, so no agent exists for it."""


def parse_expiry(expires: str | None) -> float | None:
    """Return the moment at which a token expires, in seconds since the epoch; None: never.

    ``2027-01-31`` is the last valid day in UTC, ``2027-01-31T12:00:00Z`` the moment of expiry. A value
    in neither form (the schema accepts ``2027-02-30``) counts as long expired: a mistake must not make
    a token valid for ever.
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
