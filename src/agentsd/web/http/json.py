"""JSON as bytes: the only way in which this package writes it."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import Any

import orjson

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC


def to_json(value: Any) -> bytes:
    """Encode ``value`` as compact UTF-8 JSON. Dates are RFC 3339 in UTC, UUIDs their text.

    The standard library writes what orjson refuses (lone surrogates, integers beyond 64 bits).
    """
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except TypeError:
        return json.dumps(value, default=_to_plain, separators=(",", ":")).encode()


def _to_plain(value: Any) -> Any:
    """Return a value that is not JSON as orjson writes it: a dataclass as an object, a date as RFC 3339."""
    if is_dataclass(value):
        return {one.name: getattr(value, one.name) for one in fields(value)}
    return orjson.loads(orjson.dumps(value, default=str, option=_OPTIONS))
