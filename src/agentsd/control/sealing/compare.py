"""Sealed documents as values: what sops sees of them, and whether they are what was asked for."""

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
    """Stands for a value that stays sealed: its seal vouches for it."""

    def __deepcopy__(self, memo: object) -> _Kept:
        return self


KEPT: Final = _Kept()


def agrees(opened: Any, wanted: Any) -> bool:
    """Whether an opened value is ``wanted``, types included; anything may stand where it says ``KEPT``."""
    return _alike(opened, wanted, _equal)


def resembles(sealed: Any, wanted: Any) -> bool:
    """Whether a sealed value can be ``wanted``: plain leaves are equal, seals fit in type and length."""
    return _alike(sealed, wanted, _fits)


def contents(value: Mapping[str, Any]) -> dict[str, Any]:
    """``value`` without the seal, and without the comments that sops made items of lists."""
    return {key: _without_comments(node) for key, node in value.items() if key != "sops"}


def planted(value: Mapping[str, Any], leaves: Mapping[Pointer, Any]) -> dict[str, Any]:
    """A copy of ``value`` with ``leaves`` in their places, whose holders exist."""
    result = deepcopy(dict(value))
    for pointer, leaf in leaves.items():
        at(result, pointer[:-1])[pointer[-1]] = leaf
    return result


def path_of(pointer: Pointer) -> tuple[str, ...]:
    """The names on the way: what sops ties a sealed value to. It leaves out places in lists."""
    return tuple(part for part in pointer if isinstance(part, str))


def in_one_line(value: Mapping[str, Any]) -> bytes:
    """``value`` as YAML that Go and Python read alike: quoted texts, no comments, no unusual line breaks."""
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
    """AES-GCM keeps the length of what it encrypts."""
    return a2b_base64(seal.split("data:", 1)[1].split(",", 1)[0])
