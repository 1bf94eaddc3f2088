"""Comparison of sealed documents as values: what sops sees of them, and whether they are as requested."""

from __future__ import annotations

import json
from binascii import a2b_base64
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Final

from agentsd.core.manifest.pointers import get_existing
from agentsd.core.sealed import is_sealed
from agentsd.core.violations import Pointer
from agentsd.sops.format import read_seal_type


class _KeptSeal:
    """Placeholder for a value that stays sealed: its seal authenticates it."""

    def __deepcopy__(self, memo: object) -> _KeptSeal:
        return self


KEPT: Final = _KeptSeal()


def equal_opened(opened: Any, wanted: Any) -> bool:
    """Return whether an opened value equals ``wanted``, types included; ``KEPT`` matches anything."""
    return _compare_leaves(opened, wanted, _is_equal)


def compatible_sealed(sealed: Any, wanted: Any) -> bool:
    """Return whether a sealed value can be ``wanted``.

    Plain leaves are equal, seals match in type and length.
    """
    return _compare_leaves(sealed, wanted, _is_compatible)


def strip_sops_metadata(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``value`` without the seal, and without the comments that sops turned into list items."""
    return {key: _strip_comments(node) for key, node in value.items() if key != "sops"}


def with_leaves(value: Mapping[str, Any], leaves: Mapping[Pointer, Any]) -> dict[str, Any]:
    """Return a copy of ``value`` with ``leaves`` in their places, whose parents exist."""
    result = deepcopy(dict(value))
    for pointer, leaf in leaves.items():
        get_existing(result, pointer[:-1])[pointer[-1]] = leaf
    return result


def make_sops_path(pointer: Pointer) -> tuple[str, ...]:
    """Return the names along the path, to which sops binds a sealed value. It omits indexes of lists."""
    return tuple(part for part in pointer if isinstance(part, str))


def dump_in_one_line(value: Mapping[str, Any]) -> bytes:
    """Dump ``value`` as YAML that Go and Python read alike.

    Texts are quoted; there are no comments and no unusual line breaks.
    """
    text = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in text).encode()


def _strip_comments(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _strip_comments(child) for key, child in node.items()}
    if isinstance(node, list):
        return [_strip_comments(child) for child in node if read_seal_type(child) != "comment"]
    return node


def _compare_leaves(one: Any, wanted: Any, leaf: Callable[[Any, Any], bool]) -> bool:
    if isinstance(one, Mapping) and isinstance(wanted, Mapping):
        return one.keys() == wanted.keys() and all(
            _compare_leaves(one[key], wanted[key], leaf) for key in one
        )
    if isinstance(one, list) and isinstance(wanted, list):
        return len(one) == len(wanted) and all(
            _compare_leaves(*pair, leaf) for pair in zip(one, wanted, strict=True)
        )
    return leaf(one, wanted)


def _is_equal(one: Any, wanted: Any) -> bool:
    return wanted is KEPT or (type(one) is type(wanted) and bool(one == wanted))


def _is_compatible(one: Any, wanted: Any) -> bool:
    if not is_sealed(one) or one == wanted:
        return _is_equal(one, wanted)
    if read_seal_type(one) != type(wanted).__name__:
        return False
    return not isinstance(wanted, str) or len(_decode_ciphertext(one)) == len(wanted.encode())


def _decode_ciphertext(seal: str) -> bytes:
    """Decode the ciphertext of a seal. AES-GCM keeps the length of what it encrypts."""
    return a2b_base64(seal.split("data:", 1)[1].split(",", 1)[0])
