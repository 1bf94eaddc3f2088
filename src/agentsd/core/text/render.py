"""Plans and violations for people and machines. Pure: values in, text out.

Text is returned as lines of (style, text) spans; a terminal applies the styles, a pipe drops them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from posixpath import normpath
from typing import Annotated, Any, Literal, NotRequired
from urllib.parse import quote

from pydantic import Field
from typing_extensions import TypedDict

from agentsd.core.names import escape_unprintable
from agentsd.core.plan.diff import FieldOperation, SecretChange
from agentsd.core.plan.plan import Change, FieldChange, Operation, Plan, UserChange
from agentsd.core.violations import Severity, Violation, format_pointer

Span = tuple[str, str]
"""(style, text): a style of ``rich``, or ``""``."""
Line = tuple[Span, ...]

_SIGNS: dict[str, Span] = {
    "create": ("green", "+"),
    "update": ("yellow", "~"),
    "rename": ("yellow", "→"),
    "delete": ("red", "-"),
    "heal": ("magenta", "±"),
}
_VERBS: dict[Operation, str] = {
    "create": "to create",
    "update": "to update",
    "rename": "to rename",
    "delete": "to delete",
    "heal": "drifted, to heal",
}
VALUE_MAX = 60
"""Characters of a value that are shown."""

ORPHANED = "is orphaned: its file is gone, and `prune: false` keeps it; delete it through the API"


def summarise_plan(plan: Plan) -> str:
    """Return ``1 to create, 2 to update; 7 unchanged``."""
    counts = [(verb, sum(c.operation == op for c in plan.changes)) for op, verb in _VERBS.items()]
    parts = [f"{count} {verb}" for verb, count in counts if count]
    healed = sum(user.operation == "heal" for user in plan.users)
    owners = len([user for user in plan.users if is_user_shown(user) and user.operation != "heal"])
    parts += [f"{healed} owner{'s' if healed > 1 else ''} drifted, to heal"] if healed else []
    if owners or (plan.users and not parts):
        parts.append(f"{owners or len(plan.users)} owner{'s' if owners > 1 else ''} to change")
    quarantined = f", {len(plan.quarantined)} quarantined" if plan.quarantined else ""
    return f"{', '.join(parts) or 'no changes'}; {plan.unchanged} unchanged{quarantined}"


def count_operations(plan: Plan) -> dict[str, int]:
    """Return the count of each operation, with ``unchanged`` and ``quarantined``."""
    by_operation: dict[str, int] = {op: sum(c.operation == op for c in plan.changes) for op in _VERBS}
    return {**by_operation, "unchanged": plan.unchanged, "quarantined": len(plan.quarantined)}


def format_plan(plan: Plan) -> Iterator[Line]:
    """Yield the plan's lines for a terminal."""
    for change in plan.changes:
        yield from _format_change(change)
    for user in filter(is_user_shown, plan.users):
        style, sign = _SIGNS[user.operation]
        yield ((style, f"  {sign} "), ("bold", f"owner {user.username}"), ("dim", f"  {get_user_path(user)}"))
        yield from format_fields(user.fields)
        if user.operation == "heal":
            yield _EDITED
    for quarantined in plan.quarantined:
        yield (
            ("red", "  ! "),
            ("bold", quarantined.path),
            ("dim", "  quarantined: its last good version stays"),
        )
        for violation in quarantined.violations:
            file = "" if violation.path == quarantined.path else f"{violation.path}:"  # a layer's
            yield (("dim", f"      {file}{violation.line}:{violation.column} "), ("", violation.message))
    for row in plan.orphaned:
        yield (("yellow", "  ! "), ("bold", row.slug), ("dim", f"  {row.path}"), ("", f" {ORPHANED}"))
    if plan.held_back:
        yield (
            ("yellow", f"  {len(plan.held_back)} not pruned while a file is quarantined: "),
            ("", ", ".join(plan.held_back[:5]) + (" …" if len(plan.held_back) > 5 else "")),
        )


def is_user_shown(user: UserChange) -> bool:
    """Return whether an owner's change is shown.

    An owner that comes or goes with its agents is not.
    """
    return bool(get_user_path(user)) or user.operation == "heal"


def get_user_path(user: UserChange) -> str:
    """Return the path of an owner's file; empty if there is none."""
    sides = (user.desired, user.stored)
    return next((side.path for side in sides if side is not None and side.path), "")


def _format_change(change: Change) -> Iterator[Line]:
    style, sign = _SIGNS[change.operation]
    yield ((style, f"  {sign} "), ("bold", format_title(change)), ("dim", f"  {change.path}"))
    yield from format_fields(change.fields)
    if change.operation == "heal":
        yield _EDITED
    if is_form_only(change):
        yield _FORM_ONLY


_FORM_ONLY: Line = (("dim", "      comments, layout or line endings only: every value is the same"),)


def is_form_only(change: Change) -> bool:
    """Return whether the file's text differs from the stored one, and no value does."""
    known = change.stored is not None and change.stored.value is not None
    return known and change.operation == "update" and not change.fields


_EDITED: Line = (("dim", "      its row was edited in the database; the file wins"),)


def format_fields(fields: Iterable[FieldChange]) -> Iterator[Line]:
    """Yield one line for each field that differs."""
    for field in fields:
        yield (("", "      "), ("cyan", format_pointer(field.pointer)), ("", "  "), *_format_field(field))


def format_title(change: Change) -> str:
    """Return the agent's name; for a rename, both names."""
    if change.operation == "rename" and change.stored:
        return f"{change.stored.slug} → {change.slug}"
    return change.slug


def _format_field(field: FieldChange) -> Line:
    if field.secret:
        return (("magenta", describe_secret(field)),)
    old, new = format_value(field.old), format_value(field.new)
    if field.operation == "add":
        return (("green", new),)
    if field.operation == "remove":
        return (("red", old), ("dim", " (removed)"))
    return (("red", old), ("dim", " → "), ("green", new))


def describe_secret(field: FieldChange) -> str:
    """Return a description of a secret's change."""
    if field.operation != "change":
        return "secret added" if field.operation == "add" else "secret removed"
    return "secret changed" if field.secret == "changed" else "resealed"  # noqa: S105


def format_value(value: Any) -> str:
    """Return a value on one line, truncated if it is long."""
    text = escape_unprintable(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= VALUE_MAX else f"{text[: VALUE_MAX - 1]}…"


class FieldChangeJson(TypedDict):
    """Field that differs: with `old` and `new`, or `secret`, or the `lines` of a text's diff."""

    operation: FieldOperation
    field: str
    old: NotRequired[Any]
    new: NotRequired[Any]
    secret: NotRequired[Annotated[SecretChange, Field(description="`resealed`: a new ciphertext.")]]
    lines: NotRequired[list[str]]


class AgentChangeJson(TypedDict):
    """Change of one agent. `heal`: its row was edited in the database, and the file wins."""

    operation: Operation
    id: Annotated[str, Field(json_schema_extra={"format": "uuid"})]
    slug: str
    owner: str
    path: str
    old_slug: NotRequired[str]
    fields: list[FieldChangeJson]
    reason: NotRequired[
        Annotated[Literal["form"], Field(description="Comments, layout or line endings only.")]
    ]


class UserChangeJson(TypedDict):
    """Change of one owner."""

    operation: Literal["create", "update", "delete", "heal"]
    username: str
    fields: NotRequired[list[FieldChangeJson]]


class ViolationJson(TypedDict):
    """Broken rule of one file."""

    path: str
    line: int
    column: int
    code: str
    severity: Severity
    field: str
    message: str
    hint: str


class QuarantinedJson(TypedDict):
    """Quarantined file."""

    path: str
    violations: list[ViolationJson]


class PlanJson(TypedDict):
    """Plan, as `agentsd plan --format json` prints it."""

    source: str
    empty: bool
    summary: Annotated[dict[str, int], Field(description="The count of each operation.")]
    changes: list[AgentChangeJson]
    users: list[UserChangeJson]
    quarantined: list[QuarantinedJson]
    held_back: Annotated[list[str], Field(description="Agents that stay while a file is quarantined.")]
    orphaned: Annotated[list[str], Field(description="Agents that remain without a file.")]


def plan_to_json(plan: Plan) -> PlanJson:
    """Return the plan for a machine, without sealed values."""
    return {
        "source": plan.source,
        "empty": plan.empty,
        "summary": count_operations(plan),
        "changes": [_change_to_json(change) for change in plan.changes],
        "users": [_user_to_json(user) for user in plan.users],
        "quarantined": [
            {"path": q.path, "violations": [violation_to_json(v) for v in q.violations]}
            for q in plan.quarantined
        ],
        "held_back": list(plan.held_back),
        "orphaned": [row.slug for row in plan.orphaned],
    }


def _user_to_json(user: UserChange) -> UserChangeJson:
    body: UserChangeJson = {"operation": user.operation, "username": user.username}
    return {**body, "fields": [field_to_json(field) for field in user.fields]} if user.fields else body


def _change_to_json(change: Change) -> AgentChangeJson:
    body: AgentChangeJson = {
        "operation": change.operation,
        "id": str(change.id),
        "slug": change.slug,
        "owner": change.owner,
        "path": change.path,
        "fields": [field_to_json(field) for field in change.fields],
    }
    if is_form_only(change):
        body["reason"] = "form"
    if change.operation == "rename" and change.stored:
        body["old_slug"] = change.stored.slug
    return body


def field_to_json(field: FieldChange) -> FieldChangeJson:
    """Return one field that differs; for a secret only that it does."""
    body: FieldChangeJson = {"operation": field.operation, "field": format_pointer(field.pointer)}
    if field.secret:
        return {**body, "secret": field.secret}
    return {**body, "old": field.old, "new": field.new}


def prefix_path(prefix: str, path: str) -> str:
    """Return a file's path for display: an overlay is beside the folder of manifests, not in it."""
    return normpath(prefix + path) if path.startswith("../") else prefix + path


def format_violations(violations: Iterable[Violation], prefix: str = "") -> Iterator[Line]:
    """Yield violations for a terminal: ``file:line:column``, message and hint."""
    for violation in violations:
        style = "bold red" if violation.severity == "error" else "yellow"
        yield (
            ("bold", prefix_path(prefix, violation.where)),
            ("", " "),
            (style, violation.severity),
            ("", f" {violation.message} "),
            ("dim", f"[{violation.code}]"),
        )
        if violation.hint:
            yield (("dim", "    → "), ("", violation.hint))


def violation_to_json(violation: Violation) -> ViolationJson:
    """Return one violation for a machine."""
    return {
        "path": violation.path,
        "line": violation.line,
        "column": violation.column,
        "code": violation.code,
        "severity": violation.severity,
        "field": violation.field,
        "message": violation.message,
        "hint": violation.hint,
    }


def violations_to_github(violations: Iterable[Violation], prefix: str = "") -> str:
    """Return workflow commands, which GitHub shows beside the lines of a pull request."""
    lines = []
    for v in violations:
        file, title = _escape_command(prefix_path(prefix, v.path), True), _escape_command(v.code, True)
        place = f"file={file},line={v.line},col={v.column},title={title}"
        text = f"{v.message}. {v.hint}" if v.hint else v.message
        lines.append(f"::{v.severity} {place}::{_escape_command(text)}")
    return "".join(f"{line}\n" for line in lines)


def _escape_command(text: str, is_property: bool = False) -> str:
    """Escape text as GitHub's workflow commands require."""
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if is_property else text


def violations_to_sarif(violations: Sequence[Violation], version: str, prefix: str = "") -> dict[str, Any]:
    """Return SARIF 2.1.0, for code scanning."""
    rules = sorted({violation.code for violation in violations})
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "agentsd",
                        "version": version,
                        "rules": [{"id": rule} for rule in rules],
                    }
                },
                "results": [_make_sarif_result(violation, prefix) for violation in violations],
            }
        ],
    }


def _make_sarif_result(violation: Violation, prefix: str) -> dict[str, Any]:
    text = f"{violation.message}. {violation.hint}" if violation.hint else violation.message
    return {
        "ruleId": violation.code,
        "level": violation.severity,
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(prefix_path(prefix, violation.path))},
                    "region": {"startLine": violation.line, "startColumn": violation.column},
                }
            }
        ],
    }
