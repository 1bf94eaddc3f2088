"""Drift as stored in the record of a run. Pure."""

from __future__ import annotations

import json
from typing import Any

from agentsd.core.plan.diff import FieldChange
from agentsd.core.plan.plan import Plan
from agentsd.core.text.render import VALUE_MAX, field_to_json, format_value, get_user_path

_ENTRIES_MAX = 100
"""Agents and owners of one record; more would only repeat that the store was edited."""


def drift_to_json(plan: Plan) -> list[dict[str, Any]]:
    """Return the drift for the record; of long texts such as prompts, only that they differ."""
    agents = [
        {
            "slug": change.slug,
            "path": change.path,
            "fields": [_shorten_field(field) for field in change.fields],
        }
        for change in plan.changes
        if change.stored is not None and change.stored.drifted
    ]
    owners = [
        {
            "user": user.username,
            "path": get_user_path(user) or f"{user.username}/_user.yaml",
            "fields": [_shorten_field(field) for field in user.fields],
        }
        for user in plan.users
        if user.operation == "heal"
    ]
    return (agents + owners)[:_ENTRIES_MAX]


_TEXT_FIELDS = ("system_prompt", "greeting", "description")


def _shorten_field(field: FieldChange) -> dict[str, Any]:
    body: dict[str, Any] = {**field_to_json(field)}
    if field.secret or field.pointer[0] in _TEXT_FIELDS:
        return {name: body[name] for name in body if name not in ("old", "new")}
    return body | {name: json.loads(_shorten_value(body[name])) for name in ("old", "new")}


def _shorten_value(value: Any) -> str:
    """Return ``value`` as JSON, or the start of that as a JSON string."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= VALUE_MAX else json.dumps(format_value(value), ensure_ascii=False)
