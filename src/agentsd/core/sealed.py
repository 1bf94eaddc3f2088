"""Form of sealed values in a manifest that was not opened. Pure; nothing is verified."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

SAMPLE_RECIPIENT = "age1vjz8jfwqcktmc3hvjy9sw8tzx4lwazlmajhtxvwfp489mc2wfamskssp60"
"""Recipient of ``deploy/demo/age-key.txt``, which is published: it seals the samples' placeholders only."""

_BEGIN = "ENC[AES256_GCM,"


def is_sealed(value: Any) -> bool:
    """Return whether ``value`` is, or contains, a sealed string, judged by how it begins."""
    if isinstance(value, list | Mapping):
        return any(map(is_sealed, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, str) and value.startswith(_BEGIN)


def is_sealed_file(data: bytes) -> bool:
    """Return whether a file as a whole is what sops encrypted, as JSON (also of other formats) or YAML."""
    if _BEGIN.encode() not in data:
        return False
    _, found, block = (b"\n" + data).rpartition(b"\nsops:")
    if found and all(line[:1] in b" \t\r" for line in block.split(b"\n")[1:]):
        return True
    try:
        return data.lstrip()[:1] == b"{" and "sops" in orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
