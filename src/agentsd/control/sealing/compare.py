"""Comparison of sealed documents as values: what sops sees of them, and whether they are as requested."""

from __future__ import annotations

import json
from binascii import a2b_base64
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Final

from agentsd.core.manifest.pointers import at
from agentsd.core.sealed import is_sealed
from agentsd.core.violations import Pointer
from agentsd.sops.format import seal_type


class _Kept:
    """Placeholder for a value that stays sealed: its seal authenticates it."""

    def __deepcopy__(self, memo: object) -> _Kept:
        return self


KEPT: Final = _Kept()


def agrees(opened: Any, wanted: Any) -> bool:
    """Return whether an opened value equals ``wanted``, types included; ``KEPT`` matches anything."""
    return _alike(opened, wanted, _equal)


def resembles(sealed: Any, wanted: Any) -> bool:
    """Return whether a sealed value can be ``wanted``.

    Plain leaves are equal, seals match in type and length.
    """
    return _alike(sealed, wanted, _fits)


def contents(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``value`` without the seal, and without the comments that sops turned into list items."""
    return {key: _without_comments(node) for key, node in value.items() if key != "sops"}


def planted(value: Mapping[str, Any], leaves: Mapping[Pointer, Any]) -> dict[str, Any]:
    """Return a copy of ``value`` with ``leaves`` in their places, whose parents exist."""
    result = deepcopy(dict(value))
    for pointer, leaf in leaves.items():
        at(result, pointer[:-1])[pointer[-1]] = leaf
    return result


def path_of(pointer: Pointer) -> tuple[str, ...]:
    """Return the names along the path, to which sops binds a sealed value. It omits indexes of lists."""
    return tuple(part for part in pointer if isinstance(part, str))


def in_one_line(value: Mapping[str, Any]) -> bytes:
    """Dump ``value`` as YAML that Go and Python read alike.

    Texts are quoted; there are no comments and no unusual line breaks.
    """
    text = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in text).encode()


def _without_comments(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _without_comments(child) for key, child in node.items()}
    if isinstance(node, list):
        return [_without_comments(child) for child in node if seal_type(child) != "comment"]
    return node


def _alike(one: Any, wanted: Any, leaf: Callable[[Any, Any], bool]) -> bool:
    if isinstance(one, Mapping) and isinstance(wanted, Mapping):
        return one.keys() == wanted.keys() and all(_alike(one[key], wanted[key], leaf) for key in one)
    if isinstance(one, list) and isinstance(wanted, list):
        return len(one) == len(wanted) and all(_alike(*pair, leaf) for pair in zip(one, wanted, strict=True))
    return leaf(one, wanted)


def _equal(one: Any, wanted: Any) -> bool:
    return wanted is KEPT or (type(one) is type(wanted) and bool(one == wanted))


def _fits(one: Any, wanted: Any) -> bool:
    if not is_sealed(one) or one == wanted:
        return _equal(one, wanted)
    if seal_type(one) != type(wanted).__name__:
        return False
    return not isinstance(wanted, str) or len(_ciphertext(one)) == len(wanted.encode())


def _ciphertext(seal: str) -> bytes:
    """Decode the ciphertext of a seal. AES-GCM keeps the length of what it encrypts."""
    return a2b_base64(seal.split("data:", 1)[1].split(",", 1)[0])
