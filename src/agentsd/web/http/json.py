"""JSON as bytes: the one way in which this room writes it."""

from __future__ import annotations

import json
from typing import Any

import orjson

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC


def to_json(value: Any) -> bytes:
    """Compact UTF-8 JSON. Dates are RFC 3339 in UTC, UUIDs their text.

    What orjson refuses (lone surrogates, integers beyond 64 bits) the standard library writes.
    """
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except TypeError:
        return json.dumps(value, default=str, separators=(",", ":")).encode()
