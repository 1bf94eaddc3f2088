"""Rules for what a section may add to a vendor's requests: headers, query and body fields. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

OPTIONS = ("headers", "query", "extra_body")
"""Fields of a section that are added to every request to the vendor."""

BODY_RESERVED = frozenset({"model", "messages", "stream", "tools"})
"""Body fields that are set here, never by ``extra_body``."""

_CREDENTIAL = re.compile(
    r"auth|cookie|secret|passw|credential|signature|(?:^|[-_.])(?:api|access|private|subscription)?[-_]?"
    r"(?:key|token)$",
    re.IGNORECASE,
)
_CONNECTION_HEADERS = frozenset(
    {
        "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect",
        "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{0,4000}")


def find_option_problems(section: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield (field, key, problem, what to do) of every addition that a section must not make."""
    for field in OPTIONS:
        added = section.get(field)
        for key, value in added.items() if isinstance(added, Mapping) else ():
            if found := _find_problem(field, str(key), value):
                yield field, str(key), *found


def may_hold_credential(name: str) -> bool:
    """Return whether a header, or a member of a query or body, is likely to hold a credential."""
    return _CREDENTIAL.search(name) is not None


def _find_problem(field: str, key: str, value: object) -> tuple[str, str] | None:
    if may_hold_credential(key):
        return "it may hold a credential", "seal the key as api_key; only that field is bound to its origin"
    if field == "extra_body":
        return ("it is set by agentsd", "remove it") if key in BODY_RESERVED else None
    return find_header_problem(key, value) if field == "headers" else None


def find_header_problem(key: str, value: object) -> tuple[str, str] | None:
    """Return (problem, what to do) of a header that a manifest must not set; None if it may."""
    lower = key.lower()
    if lower in _CONNECTION_HEADERS or lower.startswith("proxy-"):
        return "it is set by the connection", "remove it"
    if not _HEADER_NAME.fullmatch(key) or not _HEADER_VALUE.fullmatch(str(value)):
        return "it is not a valid header", "use printable ASCII in its name and value"
    return None
