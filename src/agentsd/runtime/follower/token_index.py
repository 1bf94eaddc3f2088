"""Token index: valid tokens and their holders, in memory, renewed by the follower."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from math import inf
from typing import Any, NamedTuple, cast

from agentsd.core.access import LOCAL, OPERATOR, ROLES, Principal, parse_expiry
from agentsd.core.manifest.user import Role
from agentsd.core.names import USER_FILE
from agentsd.store.queries.users import OwnerTokens

_LOOK_SECONDS = 3600.0
"""Longest wait for a token's end, since the clock may be adjusted."""

_log = logging.getLogger(__name__)


class _ListedToken(NamedTuple):
    digest: bytes
    holder: Principal


class TokenIndex:
    """Tokens of one process. True as soon as any is listed, valid or not.

    ``fixed`` are SHA-256 digests of tokens from a file: admins, valid for as long as the process runs.
    The others come with ``replace``; until then they are not ``known``.
    """

    def __init__(self, fixed: Collection[bytes] = (), *, clock: Callable[[], float] = time.time) -> None:
        self.known = False
        self._clock = clock
        self._fixed = {digest: _ListedToken(digest, OPERATOR) for digest in fixed}
        self._listed: Mapping[bytes, _ListedToken] = self._fixed
        self._count = len(self._fixed)
        self._renewed = asyncio.Event()  # replaced whenever tokens are

    def __bool__(self) -> bool:
        return self._count > 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._count}>"

    def find(self, token: str) -> Principal | None:
        """Return the holder of ``token``; None for an unknown, a revoked or an expired one.

        Looked up by its SHA-256, about which a guess reveals nothing, and then compared in constant time.
        Nothing is kept by the token itself: hashing it costs a microsecond, and memory contains no
        plaintext.
        """
        digest = sha256(token.encode("utf-8", "replace")).digest()
        listed = self._listed.get(digest)
        if listed is None or not hmac.compare_digest(listed.digest, digest):
            return None
        return None if listed.holder.expired(self._clock()) else listed.holder

    def holder(self, sha256: str) -> Principal | None:
        """Return the holder of the token with this hash (in hex), expired or not; None: no holder."""
        listed = self._listed.get(bytes.fromhex(sha256))
        return listed.holder if listed else None

    async def until(self, known: Callable[[], bool]) -> None:
        """Wait until ``known()``, which is asked anew whenever tokens were replaced."""
        while not known():
            await self._renewed.wait()

    def valid(self, principal: Principal) -> bool:
        """Return whether the token behind ``principal`` would still be accepted with the same role."""
        if principal is LOCAL:
            return not self
        if principal is OPERATOR:
            return bool(self._fixed)
        listed = self._listed.get(principal.digest)
        return listed is not None and listed.holder == principal and not principal.expired(self._clock())

    async def ended(self, principal: Principal) -> None:
        """Wait until ``principal`` is not valid any more: revoked, changed or expired."""
        while self.valid(principal):
            left = _LOOK_SECONDS if principal.expires is None else principal.expires - self._clock()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(max(left, 0.001), _LOOK_SECONDS)):
                    await self._renewed.wait()

    def replace(self, owners: Iterable[OwnerTokens]) -> None:
        """Make exactly these tokens valid from now on, beside the fixed ones."""
        given = [(owner, token) for owner in owners for token in owner.tokens]
        self._listed = {**_select_valid_tokens(given), **self._fixed}
        self._count = len(self._fixed) + len(given)
        self.known = True
        renewed, self._renewed = self._renewed, asyncio.Event()
        renewed.set()


_OwnerToken = tuple[OwnerTokens, Mapping[str, Any]]


def _select_valid_tokens(given: Iterable[_OwnerToken]) -> dict[bytes, _ListedToken]:
    """Return the valid tokens, without trusting the store: others than ``agentsd sync`` may write to it.

    The top-level file wins: nobody can take an admin's token over by listing its hash. A hash that two
    other owners list belongs to nobody, because its owner cannot be determined.
    """
    found: dict[bytes, _ListedToken] = {}
    claimed: set[bytes] = set()
    for owner, token in sorted(given, key=lambda one: one[0].path != USER_FILE):
        listed = _parse_token(owner, token)
        earlier = found.get(listed.digest) if listed else None
        if listed is None:
            _log.warning("a token is ignored: it is not usable", extra={"owner": owner.username})
        elif earlier is None:
            found[listed.digest] = listed
            if owner.path == USER_FILE:
                claimed.add(listed.digest)
        elif earlier.holder.owner != owner.username and listed.digest not in claimed:
            _log.warning("a token is ignored: several owners list it", extra={"owner": owner.username})
            found[listed.digest] = _ListedToken(listed.digest, replace(earlier.holder, expires=-inf))
    return found


def _parse_token(owner: OwnerTokens, token: Mapping[str, Any]) -> _ListedToken | None:
    """Parse one entry; None where it breaks a rule: only the top-level file makes admins."""
    if not isinstance(token, Mapping):
        return None
    role, expires = str(token.get("role", "viewer")), token.get("expires")
    if role not in ROLES or (role == "admin" and owner.path != USER_FILE):
        return None
    try:
        digest = bytes.fromhex(str(token.get("sha256")))
    except ValueError:
        return None
    end = parse_expiry(None if expires is None else str(expires))
    name = str(token.get("name", ""))
    return _ListedToken(digest, Principal(owner.username, name, cast("Role", role), end, owner.email, digest))
