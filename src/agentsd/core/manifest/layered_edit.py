"""Edits of an agent merged with its layers, turned into edits of its own manifest. Pure.

A value equal to that of the layers below stays theirs: the result of ``GET`` can be ``PUT`` back,
and nothing of it is copied. A layer's value can be replaced here, but never removed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from copy import deepcopy
from typing import Any

from agentsd.core.manifest.edit import InvalidEdit, ManifestEdit, SecretNeeded, to_api_name
from agentsd.core.manifest.pointers import get_value, iter_leaves, set_leaf
from agentsd.core.sealed import is_sealed
from agentsd.core.secret import MASK
from agentsd.core.violations import Pointer

Merge = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""A manifest's own value → the value merged with its layers."""

_NOTHING = object()


def extract_own_part(
    edit: ManifestEdit, own: Mapping[str, Any], inherited: Mapping[str, Any], merge: Merge
) -> ManifestEdit:
    """Return the part of an edit of the whole that the manifest itself must contain.

    ``own``: the manifest's previous value; ``inherited``: the value of the layers. Raises
    ``SecretNeeded`` if a layer's secret would have to be copied.
    """
    value = deepcopy(_remove_inherited(edit.value, own, inherited, edit.secrets, ()))
    whole = merge(fill_secrets(ManifestEdit(value, edit.secrets)))
    for name, child in edit.value.items():  # a section that inherits less than before repeats all fields
        if not _contains_wanted(whole.get(name, _NOTHING), child, edit.secrets, (name,)):
            value[name] = deepcopy(child)
    mine = {leaf for _, leaf in iter_leaves(own) if is_sealed(leaf)}
    for pointer, leaf in list(iter_leaves(value)):
        if not is_sealed(leaf) or leaf in mine:
            continue
        if pointer not in edit.secrets:
            param = to_api_name(pointer)
            hint = "send the secret again, for this agent only"
            raise SecretNeeded(f"{param} is a layer's secret, and cannot be copied", hint=hint, param=param)
        set_leaf(value, pointer, None)
    return ManifestEdit(value, edit.secrets)


def fill_secrets(edit: ManifestEdit) -> dict[str, Any]:
    """Return the edit's value with a placeholder for each new secret."""
    value = deepcopy(edit.value)
    for pointer in edit.secrets:
        set_leaf(value, pointer, MASK)
    return value


def refuse_removal(fields: Mapping[str, Any], whole: Mapping[str, Any]) -> None:
    """Raise ``InvalidEdit`` if ``PATCH`` sets to null what a layer still provides."""
    for pointer in _find_nulls(fields, ()):
        if get_value(whole, pointer) is not None:
            param = to_api_name(pointer)
            hint = "change the layer (_defaults.yaml), or set another value here"
            raise InvalidEdit(f"{param} is inherited, so it cannot be removed here", hint=hint, param=param)


def _find_nulls(fields: Mapping[str, Any], pointer: Pointer) -> Iterator[Pointer]:
    for name, child in fields.items():
        if child is None:
            yield (*pointer, name)
        elif isinstance(child, Mapping):
            yield from _find_nulls(child, (*pointer, name))


def _remove_inherited(
    value: Mapping[str, Any],
    own: Mapping[str, Any],
    inherited: Mapping[str, Any],
    secrets: Collection[Pointer],
    pointer: Pointer,
) -> dict[str, Any]:
    """Return ``value`` without what is ``inherited``; what ``own`` repeats stays repeated."""
    kept: dict[str, Any] = {}
    for name, child in value.items():
        here = (*pointer, name)
        below, mine = inherited.get(name, _NOTHING), own.get(name, _NOTHING)
        needed = any(secret[: len(here)] == here for secret in secrets)
        if isinstance(child, Mapping) and isinstance(below, Mapping):
            part = _remove_inherited(child, mine if isinstance(mine, Mapping) else {}, below, secrets, here)
            if part or needed or mine == {}:
                kept[name] = part
        elif needed or not _is_same(child, below) or _is_same(child, mine):
            kept[name] = child
    return kept


def _contains_wanted(whole: Any, wanted: Any, secrets: Collection[Pointer], pointer: Pointer) -> bool:
    """Return whether ``whole`` contains everything of ``wanted`` but the secrets yet to come."""
    if pointer in secrets:
        return True
    if isinstance(wanted, Mapping):
        return isinstance(whole, Mapping) and all(
            _contains_wanted(whole.get(name, _NOTHING), child, secrets, (*pointer, name))
            for name, child in wanted.items()
        )
    if any(secret[: len(pointer)] == pointer for secret in secrets):
        return True  # a list with a new secret in it was kept as it is
    return _is_same(whole, wanted)


def _is_same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)
