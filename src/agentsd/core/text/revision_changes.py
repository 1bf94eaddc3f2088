"""Changes between two revisions of an agent, in a plan's terms. Pure; needs no key.

Of a secret only the fact of its change is reported; texts (prompts and other multi-line values) are
shown as line diffs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from agentsd.core.masker import Masker
from agentsd.core.names import escape_unprintable
from agentsd.core.plan.diff import FieldChange, diff_documents
from agentsd.core.text.line_diff import diff_lines
from agentsd.core.text.render import FieldChangeJson, Line, field_to_json, format_fields
from agentsd.core.violations import format_pointer

_LINES_MAX = 200
"""Lines of one text's diff that are shown; the rest is counted."""

_LINE_MAX = 2_000
"""Characters of one line that are shown."""
_TEXT_MAX = 1 << 20
"""Texts up to this many characters are compared line by line."""

_TEXT_FIELDS = ("system_prompt", "prompt")


@dataclass(frozen=True, slots=True)
class RevisionState:
    """Agent at one revision."""

    slug: str
    path: str
    value: Mapping[str, Any] = field(repr=False)  # its own manifest, sealed strings in place
    prompt: str | None = field(default=None, repr=False)  # the text of its ``system_prompt_file``
    attached: Mapping[str, str] = field(default_factory=dict)  # path → start of the digest


def diff_revisions(old: RevisionState, new: RevisionState, masker: Masker) -> tuple[FieldChange, ...]:
    """Return the changes: names first, then the manifest's fields, then the files beside it."""
    return (
        *diff_documents({"slug": old.slug, "path": old.path}, {"slug": new.slug, "path": new.path}),
        *diff_documents(old.value, new.value, masker=masker),
        *diff_documents(_collect_texts(old), _collect_texts(new)),
        *diff_documents({"attached": old.attached}, {"attached": new.attached}),
    )


def _collect_texts(state: RevisionState) -> dict[str, str]:
    return {} if state.prompt is None else {"prompt": state.prompt}


def changes_to_json(found: Sequence[FieldChange]) -> list[FieldChangeJson]:
    """Return ``{"operation", "field"}`` each, with ``old`` and ``new``, ``secret``, or ``lines``.

    ``lines`` is the line diff of a text.
    """
    return [
        {"operation": one.operation, "field": format_pointer(one.pointer), "lines": list(_format_lines(one))}
        if _is_text(one)
        else field_to_json(one)
        for one in found
    ]


def format_changes(found: Sequence[FieldChange]) -> Iterator[Line]:
    """Yield the changes for a terminal."""
    for one in found:
        if not _is_text(one):
            yield from format_fields([one])
            continue
        yield (("", "      "), ("cyan", format_pointer(one.pointer)))
        for text in _format_lines(one):
            style = {"+": "green", "-": "red", "@": "dim"}.get(text[:1], "")
            yield (("", "        "), (style, escape_unprintable(text)))


def _is_text(one: FieldChange) -> bool:
    if one.secret is not None or not all(isinstance(value, str | None) for value in (one.old, one.new)):
        return False
    return one.pointer[0] in _TEXT_FIELDS or "\n" in f"{one.old or ''}{one.new or ''}"


def _format_lines(one: FieldChange) -> Iterator[str]:
    texts = str(one.old or ""), str(one.new or "")
    if max(map(len, texts)) > _TEXT_MAX:
        yield f"… too long to compare: {len(texts[0]):,} characters, and {len(texts[1]):,} now"
        return
    old, new = (text.splitlines() for text in texts)
    lines = diff_lines(old, new)
    yield from (line[:_LINE_MAX] for line in islice(lines, _LINES_MAX))
    left = sum(1 for _ in lines)
    if left:
        yield f"… and {left} lines more"
