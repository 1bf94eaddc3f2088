"""Lenient reading of manually edited values: within Python's ranges, and in their column's shape.

One odd value must not make its whole query fail, and all other rows with it. A value of the wrong
shape reads as empty; its row is drifted, so the next sync heals it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.adapt import Loader
from psycopg.pq import Format

EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)
"""Value for ``infinity`` and other times that Python cannot represent, in any time zone."""

_TIMESTAMPTZ = 1184  # pg_type.dat


class _Clamped(Loader):
    """Loader of ``timestamptz`` as psycopg's, but with the nearest possible time for what that refuses."""

    def __init__(self, oid: int, context: Any = None) -> None:
        super().__init__(oid, context)
        inner = psycopg.adapters.get_loader(_TIMESTAMPTZ, self.format)
        if inner is None:
            raise psycopg.NotSupportedError("psycopg has no loader for timestamptz")
        self._load = inner(oid, context).load

    def load(self, data: bytes | bytearray | memoryview) -> Any:
        """Return the moment."""
        try:
            return self._load(data)
        except (psycopg.DataError, ValueError, OverflowError):
            return EARLIEST if self._is_past(bytes(data)) else LATEST

    def _is_past(self, data: bytes) -> bool:
        return data.startswith(b"-") or data.endswith(b"BC")


class _ClampedBinary(_Clamped):
    format = Format.BINARY

    def _is_past(self, data: bytes) -> bool:
        return data[:1] >= b"\x80"  # the sign of a big-endian integer


def accept_any_timestamp(connection: AsyncConnection) -> None:
    """Make ``connection`` read every time, also out of Python's range."""
    if connection.adapters.get_loader(_TIMESTAMPTZ, Format.BINARY) is not _ClampedBinary:
        connection.adapters.register_loader(_TIMESTAMPTZ, _Clamped)
        connection.adapters.register_loader(_TIMESTAMPTZ, _ClampedBinary)


def read_mapping(value: object) -> dict[str, Any]:
    """Return a JSON object; an empty one for everything else."""
    return dict(value) if isinstance(value, Mapping) else {}


def read_mappings(value: object) -> tuple[dict[str, Any], ...]:
    """Return the objects of a JSON array."""
    return tuple(one for one in value if isinstance(one, dict)) if isinstance(value, list) else ()


def read_strings(value: object) -> frozenset[str]:
    """Return the strings of a JSON array."""
    return frozenset(one for one in value if isinstance(one, str)) if isinstance(value, list) else frozenset()


def read_named_digests(value: object) -> tuple[tuple[str, bytes], ...] | None:
    """Return ``[{"path", "digest"}, …]`` as (path, digest) each; None where it is anything else."""
    if value is None:
        return ()
    try:
        found = tuple((one["path"], bytes.fromhex(one["digest"])) for one in value)  # type: ignore[attr-defined]
    except (TypeError, KeyError, ValueError, AttributeError):
        return None
    return found if all(isinstance(path, str) for path, _ in found) else None
