"""Tokens as a secret scanner recognises them: by their form and their checksum."""

from __future__ import annotations

import re
from zlib import crc32

TOKEN = re.compile(r"agentsd_([A-Za-z0-9_-]{43})([0-9A-Za-z]{6})", re.ASCII)
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def is_token(text: str) -> bool:
    """Whether ``text`` is a token: the checksum is CRC-32 in base 62, as in GitHub's tokens."""
    match = TOKEN.fullmatch(text)
    if match is None:
        return False
    number = 0
    for digit in match[2]:
        number = number * 62 + DIGITS.index(digit)
    return number == crc32(text[:-6].encode())
