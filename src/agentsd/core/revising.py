"""What changed from one revision of an agent to the next, in a plan's words. Pure; needs no key.

Of a secret it is told that it changed; texts (prompts, and what else has several lines) as line diffs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import unified_diff
from typing import Any

from agentsd.core.diff import FieldChange, diff
from agentsd.core.names import printable
from agentsd.core.render import Line, field_json, field_lines
from agentsd.core.secret import MASK, looks_secret
from agentsd.core.violations import dotted

_LINES_MAX = 200
"""Lines of one text's diff that are told; of more, that there are more."""

_TEXTS = ("system_prompt", "prompt")


@dataclass(frozen=True, slots=True)
class State:
    """An agent at one revision."""

    slug: str
    path: str
    value: Mapping[str, Any] = field(repr=False)  # its own manifest, sealed strings in place
    prompt: str | None = field(default=None, repr=False)  # the text of its ``system_prompt_file``
    attached: Mapping[str, str] = field(default_factory=dict)  # path → start of the digest


def changes(old: State, new: State) -> tuple[FieldChange, ...]:
    """Names first, then the manifest's fields, then the files beside it."""
    found = (
        *diff({"slug": old.slug, "path": old.path}, {"slug": new.slug, "path": new.path}),
        *diff(old.value, new.value),
        *diff(_text(old), _text(new)),
        *diff({"attached": old.attached}, {"attached": new.attached}),
    )
    return tuple(map(_discreet, found))


def _text(state: State) -> dict[str, str]:
    return {} if state.prompt is None else {"prompt": state.prompt}


def _discreet(change: FieldChange) -> FieldChange:
    """A plain value under a secret's name should not be in a manifest; should it be, it is not told."""
    if not any(looks_secret(part) for part in change.pointer if isinstance(part, str)):
        return change
    old, new = (None if value in (None, "") else MASK for value in (change.old, change.new))
    return replace(change, old=old, new=new)


def changes_json(found: Sequence[FieldChange]) -> list[dict[str, Any]]:
    """``{"operation", "field"}`` each, with ``old`` and ``new``, or ``secret``, or ``lines`` of a text."""
    return [
        {"operation": one.operation, "field": dotted(one.pointer), "lines": list(_lines(one))}
        if _is_text(one)
        else field_json(one)
        for one in found
    ]


def changes_lines(found: Sequence[FieldChange]) -> Iterator[Line]:
    """For a terminal."""
    for one in found:
        if not _is_text(one):
            yield from field_lines([one])
            continue
        yield (("", "      "), ("cyan", dotted(one.pointer)))
        for text in _lines(one):
            style = {"+": "green", "-": "red", "@": "dim"}.get(text[:1], "")
            yield (("", "        "), (style, printable(text)))


def _is_text(one: FieldChange) -> bool:
    if one.secret is not None or not all(isinstance(value, str | None) for value in (one.old, one.new)):
        return False
    return one.pointer[0] in _TEXTS or "\n" in f"{one.old or ''}{one.new or ''}"


def _lines(one: FieldChange) -> Iterator[str]:
    old, new = (str(value or "").splitlines() for value in (one.old, one.new))
    told = list(unified_diff(old, new, lineterm="", n=2))[2:]  # without the names of files
    yield from told[:_LINES_MAX]
    if len(told) > _LINES_MAX:
        yield f"… and {len(told) - _LINES_MAX} lines more"
