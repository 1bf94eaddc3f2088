"""Join a base URL, as people write it, with the path of an interface. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

_VERSION = re.compile(r"v\d+[a-z0-9]*")
"""Segment of a path that names a version of an interface: ``v1``, ``v1beta``."""


def join_url(base: str, path: str) -> str:
    """Return the URL of ``path`` under ``base``, where ``base`` may contain some or all of it already.

    Vendors print their base URLs with and without the version: ``https://h/v1`` and ``/v1/x`` make
    ``https://h/v1/x``, as ``https://h`` and ``https://h/v1/x`` do. A base with another version keeps its
    own: ``https://h/v1beta/openai`` and ``/v1/x`` make ``https://h/v1beta/openai/x``.
    """
    trimmed = base.rstrip("/")
    have = [segment for segment in urlsplit(trimmed).path.split("/") if segment]
    wanted = [segment for segment in path.split("/") if segment]
    shared = _count_shared(have, wanted)
    if not shared and any(map(_VERSION.fullmatch, have)) and wanted and _VERSION.fullmatch(wanted[0]):
        shared = 1
    rest = "/".join(wanted[shared:])
    return f"{trimmed}/{rest}" if rest else trimmed


def find_listing_url(url: str, paths: Sequence[str]) -> str | None:
    """Return the address under which an OpenAI-compatible server lists its models; None where it is unknown.

    ``paths``: ends of ``url`` that ``/models`` takes the place of, such as ``/chat/completions``.
    """
    address, _, query = url.partition("?")
    for path in paths:
        if address.endswith(path):
            return f"{address.removesuffix(path)}/models{'?' if query else ''}{query}"
    return None


def swap_socket_scheme(url: str) -> str:
    """Return the origin of a WebSocket's address as that of HTTP: ``wss://h/x`` → ``https://h``."""
    parts = urlsplit(url)
    scheme = {"wss": "https", "ws": "http"}.get(parts.scheme, parts.scheme)
    return f"{scheme}://{parts.netloc}"


def _count_shared(have: list[str], wanted: list[str]) -> int:
    """Return how many of the last segments of ``have`` are the first of ``wanted``."""
    longest = min(len(have), len(wanted))
    return next((size for size in range(longest, 0, -1) if have[-size:] == wanted[:size]), 0)
