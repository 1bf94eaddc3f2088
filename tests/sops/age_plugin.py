"""A plug-in of age that needs no token: it "wraps" a file key by XOR. For tests of who runs plug-ins only.

https://c2sp.org/age-plugin; run as ``age-plugin-canary --age-plugin=recipient-v1`` or ``identity-v1``.
"""

from __future__ import annotations

import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_MASK = 0x55


def install(folder: Path, note: Path) -> None:
    """Put ``age-plugin-canary`` into ``folder``; whenever it is run, ``note`` is written."""
    program = folder / "age-plugin-canary"
    program.write_text(f'#!/bin/sh\necho ran > "{note}"\nexec "{sys.executable}" -S "{__file__}" "$@"\n')
    program.chmod(0o755)


def bech32(prefix: str) -> str:
    """One byte under ``prefix``, in Bech32."""
    data = [0, 4]  # the byte 1: 00000 001(00)
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + data + [0] * 6
    checksum = _polymod(values) ^ 1
    data += [(checksum >> 5 * (5 - index)) & 31 for index in range(6)]
    return f"{prefix}1{''.join(_CHARSET[value] for value in data)}"


def _polymod(values: list[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for index in range(5):
            checksum ^= _GENERATOR[index] if top >> index & 1 else 0
    return checksum


RECIPIENT = bech32("age1canary")
IDENTITY = bech32("age-plugin-canary-").upper()


def _stanzas() -> Iterator[tuple[list[str], bytes]]:
    """(words, body) of each stanza that comes in, up to ``done``."""
    while line := sys.stdin.readline():
        words, body = line.split()[1:], ""
        while True:
            part = sys.stdin.readline().rstrip("\n")
            body += part
            if len(part) < 64:
                break
        if words == ["done"]:
            return
        yield words, b64decode(body + "=" * (-len(body) % 4))


def _say(words: str, body: bytes = b"") -> None:
    print(f"-> {words}\n{b64encode(body).decode().rstrip('=')}", flush=True)
    if words != "done":
        sys.stdin.readline(), sys.stdin.readline()  # "-> ok" and its empty body


def main() -> None:
    """Wrap or unwrap what comes in."""
    for words, body in list(_stanzas()):
        if words[0] == "wrap-file-key":
            _say("recipient-stanza 0 canary", bytes(byte ^ _MASK for byte in body))
        elif words[:1] == ["recipient-stanza"] and words[2] == "canary":
            _say(f"file-key {words[1]}", bytes(byte ^ _MASK for byte in body))
    _say("done")


if __name__ == "__main__":
    main()
