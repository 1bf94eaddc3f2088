"""API tokens: their form, their expiry and their entries in ``_user.yaml``. Pure."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from math import inf
from typing import Any
from zlib import crc32

from agentsd.core.access import parse_expiry
from agentsd.core.errors import ConfigError
from agentsd.core.manifest.user import Role
from agentsd.core.names import DEFAULT_OWNER, USER_FILE, find_slug_problem, suggest_slug
from agentsd.core.violations import suggest_word

TOKEN_PREFIX = "agentsd_"  # noqa: S105
RANDOM_BYTES = 32

SHOWN_CHARS = 8
"""Hex digits of a hash that are shown: enough to distinguish tokens."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@-]{0,98}[A-Za-z0-9])?", re.ASCII)
_SPAN = re.compile(r"([1-9]\d{0,4})([hdwy])", re.ASCII)
_UNITS = {"d": timedelta(days=1), "w": timedelta(weeks=1), "y": timedelta(days=365)}
_EXPIRY_HINT = (
    "give a period (90d, 12h, 2w, 1y), the last valid day (2027-01-31) or a time (2027-01-31T12:00:00Z)"
)


def make_token(random: bytes) -> str:
    """Return the token made of ``RANDOM_BYTES`` random bytes.

    The checksum is CRC-32 in six digits of base 62, as in GitHub's tokens
    (https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/).
    """
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"a token is made of {RANDOM_BYTES} bytes")
    body = TOKEN_PREFIX + urlsafe_b64encode(random).decode().rstrip("=")
    return body + _compute_checksum(body)


def _compute_checksum(body: str) -> str:
    number, digits = crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _DIGITS[digit] + digits
    return digits


def hash_token(token: str) -> str:
    """Return the hash that is stored for a token.

    A token has 256 random bits, so a plain SHA-256 cannot be reversed by search.
    """
    return sha256(token.encode()).hexdigest()


def resolve_expiry(text: str, now: datetime) -> str:
    """Return the value of ``--expires`` in the form of ``_user.yaml``.

    Raises ``ConfigError`` if the value is malformed or in the past.
    """
    span = _SPAN.fullmatch(text)
    try:
        end = _add_span(int(span[1]), span[2], now) if span else text
    except OverflowError:
        end = ""
    last = parse_expiry(end)
    if last is None or last <= now.timestamp():
        why = "is not a time" if last in (None, -inf) else "is in the past"
        raise ConfigError(f"--expires {text!r} {why}", hint=_EXPIRY_HINT)
    return end


def _add_span(count: int, unit: str, now: datetime) -> str:
    if unit == "h":
        return (now + timedelta(hours=count)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (now + count * _UNITS[unit]).astimezone(UTC).date().isoformat()


def user_path(owner: str) -> str:
    """Return the path of an owner's ``_user.yaml``, relative to the tree.

    Raises ``ConfigError`` if ``owner`` is not a valid owner name.
    """
    if owner == DEFAULT_OWNER:
        return USER_FILE
    problem = "an owner is a single folder, without '/'" if "/" in owner else find_slug_problem(owner)
    if problem:
        raise ConfigError(f"{owner!r}: {problem}", hint=f"for example: {suggest_slug(owner).split('/')[0]}")
    return f"{owner}/{USER_FILE}"


def make_token_entry(name: str, owner: str, role: Role, sha256: str, expires: str | None) -> dict[str, Any]:
    """Return the ``_user.yaml`` entry of a token.

    Raises ``ConfigError`` for an invalid name or a role that the owner cannot have.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not a valid token name",
            hint="up to 100 ASCII letters, digits, '.', '_', '-' and '@', since logs and commits quote it",
        )
    if role == "admin" and owner != DEFAULT_OWNER:
        raise ConfigError(
            f"an admin sees every owner's agents, so {user_path(owner)} cannot list one",
            hint="omit --owner, since only the top-level file may list admins; or use --role editor",
        )
    entry = {"name": name, "sha256": sha256, "role": role}
    return entry | ({"expires": expires} if expires else {})


def add_token(value: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a user file's value with one more token. Raises ``ConfigError`` if its name is taken."""
    tokens = _get_entries(value)
    if any(token.get("name") == entry["name"] for token in tokens):
        raise ConfigError(
            f"a token {entry['name']!r} already exists",
            hint=f"use another name, or first run: agentsd token revoke {entry['name']}",
        )
    return {**value, "tokens": [*tokens, dict(entry)]}


def remove_token(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a user file's value without the token called ``name``.

    Raises ``ConfigError`` if there is none. An empty list stays: a file without any key is not a valid
    user file.
    """
    tokens = _get_entries(value)
    kept = [token for token in tokens if token.get("name") != name]
    if len(kept) == len(tokens):
        near = suggest_word(name, [str(token.get("name")) for token in tokens])
        raise ConfigError(f"there is no token {name!r}", hint=near or "see: agentsd token list")
    return {key: kept if key == "tokens" else item for key, item in value.items()}


def _get_entries(value: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the token entries; a value that is not a list is left to the checker and passes through."""
    tokens = value.get("tokens", [])
    if not isinstance(tokens, list) or not all(isinstance(token, Mapping) for token in tokens):
        raise ConfigError("`tokens` is not a list of tokens", hint="run: agentsd validate")
    return tokens


@dataclass(frozen=True, slots=True)
class ListedToken:
    """Token as it is displayed."""

    owner: str
    name: str
    role: str
    expires: str | None
    expired: bool
    hash: str  # the first ``SHOWN_CHARS`` digits


def list_tokens(owner: str, tokens: Sequence[Mapping[str, Any]], now: datetime) -> Iterator[ListedToken]:
    """Yield the tokens of a valid user file."""
    for token in tokens:
        expires = token.get("expires")
        end = parse_expiry(expires)
        expired = end is not None and end <= now.timestamp()
        role = str(token.get("role", "viewer"))
        yield ListedToken(
            owner, str(token["name"]), role, expires, expired, str(token["sha256"])[:SHOWN_CHARS]
        )
