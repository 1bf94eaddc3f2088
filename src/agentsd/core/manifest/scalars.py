"""Plain YAML scalars as Go's ``yaml.v3`` reads them (resolve.go of v3.0.4, which sops 3.11 uses).

PyYAML differs: here ``yes``, ``No`` and ``1:30`` are texts, ``1e3``, ``09`` and ``-.5`` are
floats, ``017`` is 15, ``1_000`` is 1000.
"""

from __future__ import annotations

import re
from decimal import Decimal
from math import isinf

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_NOT_FINITE = re.compile(r"\.(nan|NaN|NAN)|[-+]?\.(inf|Inf|INF)")
_NUMBER_STARTS = frozenset("+-.0123456789")
_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<bin>[01]+)|0[oO]?(?P<oct>[0-7]+)"
    r"|(?P<dec>0|[1-9][0-9]*))"
)
_SIGN_WITHIN = re.compile(r"0(?:b(?P<bin>[-+][01]+)|o(?P<oct>[-+][0-7]+))")  # 0b-101 is -5 to Go
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_BASES = {"hex": 16, "bin": 2, "oct": 8, "dec": 10}
_DATE = re.compile(
    r"\d{4}-(\d{1,2})-(\d{1,2})(?:[Tt](\d{1,2}):(\d{1,2}):(\d{1,2})([.,]\d+)?(?:Z|[-+]\d\d:\d\d)"
    r"| +(\d{1,2}):(\d{1,2}):(\d{1,2})([.,]\d+)?)?",
    re.ASCII,
)
_INT64 = 1 << 63


class UnusableScalar(ValueError):
    """Scalar that no field of a manifest can contain, with a message and a hint."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def resolve_scalar(plain: str) -> str | int | float | bool | None:
    """Return the value of an unquoted scalar. Raises ``UnusableScalar``."""
    if plain in _WORDS:
        return _WORDS[plain]
    if plain[0] not in _NUMBER_STARTS:
        return plain
    return _resolve_number(plain)


def is_text(plain: str) -> bool:
    """Return whether an unquoted scalar is a string, as a key must be."""
    if plain not in _WORDS and plain[0] not in _NUMBER_STARTS:
        return True
    try:
        return isinstance(resolve_scalar(plain), str)
    except UnusableScalar:
        return False


def format_float(value: float) -> str:
    """Return Go's ``FormatFloat(value, 'f', -1, 64)`` of a finite float: shortest, no exponent."""
    text = format(Decimal(repr(value)), "f")
    return text.removesuffix(".0")


def _resolve_number(plain: str) -> str | int | float:
    if _NOT_FINITE.fullmatch(plain):
        raise UnusableScalar("not a finite number", "write a number, or put a string in quotes")
    if plain[4:5] == "-" and _DATE.fullmatch(plain):
        raise UnusableScalar("an unquoted date", "put it in quotes, so that it is a string")
    if plain[0] == ".":
        return _parse_float(plain, plain)
    digits = plain.replace("_", "")
    whole = _parse_integer(digits)
    return _parse_float(digits, plain) if whole is None else whole


def _parse_integer(digits: str) -> int | None:
    """Return the int that Go reads; None for a float, a text or a number out of range."""
    match = _INTEGER.fullmatch(digits) or _SIGN_WITHIN.fullmatch(digits)
    if match is None:
        return None
    base = match.lastgroup or "dec"
    if base == "dec" and len(digits) > 21:
        return None  # beyond 64 bits; and Python refuses to read thousands of digits
    value = int(match[base], _BASES[base])
    sign = match.groupdict().get("sign", "")
    value = -value if sign == "-" else value
    if -_INT64 <= value < _INT64:
        return value
    if not sign and 0 <= value < 2 * _INT64:
        raise UnusableScalar(
            "a whole number above 9223372036854775807", "put it in quotes, so that it is a string"
        )
    return None


def _parse_float(digits: str, plain: str) -> str | float:
    if not _FLOAT.fullmatch(digits):
        return plain
    value = float(digits)
    return plain if isinf(value) else value
