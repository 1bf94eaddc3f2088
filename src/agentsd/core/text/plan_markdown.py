"""Plan as a comment on a pull request, safe against the contents of the branch.

GitHub and GitLab render the same form. Names, values and messages come from a branch of unknown
authors, so they are put in code spans, in fences longer than any of theirs, or escaped as HTML. In
code, mentions and links are inactive, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import accumulate
from posixpath import normpath
from typing import Any, TypeVar

from agentsd.core.manifest.agent import SECTIONS
from agentsd.core.masker import Masker
from agentsd.core.names import escape_unprintable
from agentsd.core.plan.diff import diff_documents
from agentsd.core.plan.plan import Change, FieldChange, Plan, Quarantined
from agentsd.core.text.line_diff import diff_lines
from agentsd.core.text.render import (
    ORPHANED,
    describe_secret,
    format_title,
    format_value,
    get_user_path,
    is_user_shown,
    summarise_plan,
)
from agentsd.core.violations import format_pointer

MAX_BYTES = 60_000
"""GitHub takes comments of 65,536 characters; a CI job may want to add a line of its own."""

_TABLE_BYTES = MAX_BYTES // 2
_SIGNS = {"create": "+", "update": "~", "rename": "→", "delete": "-", "heal": "±"}
_FIELDS_MAX = 6  # named in a row of the table
_LINE_MAX = 400  # characters of a line of a text
_LINES_MAX = 120  # lines of one text's diff
_COMPARED_LINES_MAX = 2000  # texts up to this many lines are compared line by line
_TEXT_MAX = 8_000  # bytes of one text's diff
_RESERVED_BYTES = 250  # bytes for the two notes about what is omitted
T = TypeVar("T")
_RUN = re.compile("`{3,}")


def format_plan_markdown(
    plan: Plan,
    *,
    notes: Sequence[str] = (),
    prefix: str = "",
    masker: Masker = Masker(),  # noqa: B008  (frozen)
) -> str:
    """Return the plan in GitHub's Markdown: a line of counts, a table and folded details.

    At most ``MAX_BYTES`` of UTF-8; what does not fit is counted. ``notes`` are Markdown already.
    ``prefix`` precedes the files' paths; ``masker`` hides the secret fields of new agents.
    """
    page = _Page()
    page.add(f"### agentsd plan: {summarise_plan(plan)}\n")
    for note in [*notes, *_list_remarks(plan)]:
        page.add(f"\n{note}\n")
    rows = [*_format_rows(plan, prefix)]
    if rows:
        page.add("\n| | agent | what changes | file |\n| --- | --- | --- | --- |\n")
        page.fill(rows, str, _TABLE_BYTES, "\n… and {} more.\n")
    rest = "\n{} more are omitted here: see the job's log, or run it locally.\n"
    page.fill(plan.quarantined, lambda one: _format_quarantined(one, prefix), MAX_BYTES, rest)
    detailed = [(change, fields) for change in plan.changes if (fields := _list_fields(change, masker))]
    page.fill(detailed, lambda one: _format_detail(*one), MAX_BYTES, rest)
    return page.text


@dataclass
class _Page:
    """Text with a size limit."""

    parts: list[str] = field(default_factory=list)
    size: int = 0

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def add(self, text: str) -> None:
        self.parts.append(text)
        self.size += len(text.encode())

    def fill(self, things: Sequence[T], write: Callable[[T], str], limit: int, rest: str) -> None:
        """Add whole texts only, in order, as long as they and ``rest`` fit."""
        for number, thing in enumerate(things):
            text = write(thing)
            if self.size + len(text.encode()) > limit - _RESERVED_BYTES:
                self.add(rest.format(len(things) - number))
                return
            self.add(text)


def format_code(text: str) -> str:
    """Return inline code that its own text cannot end, whatever a manifest contains."""
    return f"`{escape_unprintable(text).replace('`', 'ʼ') or ' '}`"


def _format_cell(text: str) -> str:
    """Return ``format_code`` for a table: a bar would end the cell even in code (GFM, 4.10)."""
    return format_code(text if len(text) <= _LINE_MAX else f"{text[: _LINE_MAX - 1]}…").replace("|", "\\|")


def _format_place(prefix: str, path: str) -> str:
    """Return a file's path from where the command ran: an overlay is beside the folder of manifests."""
    return normpath(f"{prefix}{path}") if prefix else path


def _escape_html(text: str) -> str:
    return f"<code>{escape(escape_unprintable(text))}</code>"


def _list_remarks(plan: Plan) -> Iterator[str]:
    bad = len(plan.quarantined)
    if bad:
        yield (
            f"**{bad} file{'s' if bad > 1 else ''} would be quarantined**, and `agentsd sync` would refuse "
            "to apply anything."
        )
    if plan.held_back:
        held = ", ".join(map(_format_cell, plan.held_back[:_FIELDS_MAX])) + (
            " …" if len(plan.held_back) > _FIELDS_MAX else ""
        )
        yield f"Not pruned while a file is quarantined: {held}"


def _format_rows(plan: Plan, prefix: str) -> Iterator[str]:
    for one in plan.quarantined:
        first, more = one.violations[0], len(one.violations) - 1
        rest = f" and {more} more" if more else ""
        where = f"{_format_place(prefix, first.path)}:{first.line}:{first.column}"
        yield f"| `!` **quarantined** | | {_format_cell(first.message)}{rest} | {_format_cell(where)} |\n"
    for change in plan.changes:
        what = _describe_change(change)
        sign = f"`{_SIGNS[change.operation]}` {change.operation}"
        place = _format_cell(_format_place(prefix, change.path))
        yield f"| {sign} | {_format_cell(format_title(change))} | {what} | {place} |\n"
    for user in filter(is_user_shown, plan.users):
        owner = f"owner {user.username}"
        sign = f"`{_SIGNS[user.operation]}` {user.operation}"
        what = ", ".join(_format_cell(format_pointer(one.pointer)) for one in user.fields[:_FIELDS_MAX])
        place = _format_cell(_format_place(prefix, get_user_path(user)))
        yield f"| {sign} | {_format_cell(owner)} | {what} | {place} |\n"
    for row in plan.orphaned:
        place = _format_cell(_format_place(prefix, row.path))
        yield f"| `!` orphaned | {_format_cell(row.slug)} | {ORPHANED} | {place} |\n"


def _describe_change(change: Change) -> str:
    if change.operation == "delete":
        return "the agent is deleted"
    if change.operation == "create":
        return ", ".join(_list_providers((change.desired and change.desired.value) or {}))
    named = [_format_field_name(one) for one in change.fields[:_FIELDS_MAX]]
    more = len(change.fields) - len(named)
    if not named:
        return {"update": "the file, but none of its fields", "rename": "the name only"}.get(
            change.operation, ""
        )
    return ", ".join(named) + (f" and {more} more" if more else "")


def _format_field_name(one: FieldChange) -> str:
    name = _format_cell(format_pointer(one.pointer))
    return f"{name} **{describe_secret(one)}**" if one.secret else name


def _list_providers(value: Mapping[str, Any]) -> Iterator[str]:
    for kind in SECTIONS:
        section = value.get(kind)
        if isinstance(section, Mapping):
            yield _format_cell(f"{kind}: {section.get('provider', '')}")


def _format_quarantined(one: Quarantined, prefix: str) -> str:
    lines = [
        f"- {format_code(f'{_format_place(prefix, v.path)}:{v.line}:{v.column}')} {format_code(v.message)}"
        + (f"<br>→ {format_code(v.hint)}" if v.hint else "")
        for v in one.violations[:_LINES_MAX]
    ]
    return _format_folded(
        f"quarantined {_escape_html(_format_place(prefix, one.path))}", "\n".join(lines), is_open=True
    )


def _list_fields(change: Change, masker: Masker) -> tuple[FieldChange, ...]:
    """Return the fields that differ; for a new agent, all of its fields."""
    if change.operation == "create" and change.desired is not None:
        return diff_documents({}, change.desired.value, masker=masker)
    return change.fields


def _format_detail(change: Change, fields: Sequence[FieldChange]) -> str:
    texts = [one for one in fields if _is_text(one)]
    lines = [
        f"- {format_code(format_pointer(one.pointer))}: {_format_value(one)}"
        for one in fields
        if not _is_text(one)
    ]
    parts = ["\n".join(lines)] if lines else []
    count = f"{len(fields)} field{'s' if len(fields) > 1 else ''}"
    body = "\n\n".join([*parts, *map(_format_text_diff, texts)])
    if len(body.encode()) > _TABLE_BYTES:
        body = "Too long to show here."
    return _format_folded(f"{change.operation} {_escape_html(format_title(change))}: {count}", body)


def _format_folded(head: str, body: str, *, is_open: bool = False) -> str:
    return f"\n<details{' open' if is_open else ''}><summary>{head}</summary>\n\n{body}\n\n</details>\n"


def _format_value(one: FieldChange) -> str:
    if one.secret:
        return f"_{describe_secret(one)}_"
    old, new = format_code(format_value(one.old)), format_code(format_value(one.new))
    if one.operation == "add":
        return new
    return f"{old} (removed)" if one.operation == "remove" else f"{old} → {new}"


def _is_text(one: FieldChange) -> bool:
    """Return whether a field is better shown line by line."""
    sides = [side for side in (one.old, one.new) if side is not None]
    if one.secret or not sides or not all(isinstance(side, str) for side in sides):
        return False
    return any("\n" in side or len(side) > 60 for side in sides)


def _format_text_diff(one: FieldChange) -> str:
    whole = [*_diff_bounded(_split_lines(one.old), _split_lines(one.new))]
    sizes = accumulate(len(line.encode()) + 1 for line in whole)
    lines = [line for line, size in zip(whole[:_LINES_MAX], sizes, strict=False) if size <= _TEXT_MAX]
    if len(lines) < len(whole):
        lines.append(f"… {len(whole) - len(lines)} more lines")
    fence = "`" * max([3, *(len(run) + 1 for run in _RUN.findall("\n".join(lines)))])
    return "\n".join([f"{format_code(format_pointer(one.pointer))}:", "", f"{fence}diff", *lines, fence])


def _split_lines(text: str | None) -> list[str]:
    return [escape_unprintable(line)[:_LINE_MAX] for line in (text or "").splitlines()]


def _diff_bounded(old: Sequence[str], new: Sequence[str]) -> Iterable[str]:
    if max(len(old), len(new)) > _COMPARED_LINES_MAX:
        return [f"- {len(old):,} lines", f"+ {len(new):,} lines"]
    return diff_lines(old, new)
