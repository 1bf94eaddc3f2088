"""GET /api/sync/plan: the changes that a sync of this server's folder would make now. For admins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from agentsd.control.sync.planner import PlanResult
from agentsd.core.errors import AgentsdError, StoreError
from agentsd.core.masker import Masker
from agentsd.core.text.render import plan_to_json, violation_to_json
from agentsd.web.agent_lookup import get_principal
from agentsd.web.context import AGENT_VIEWS, APP_CONTEXT
from agentsd.web.http.conditional import JSON_TYPE
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import Problem


async def get_plan(request: web.Request) -> web.Response:
    """Return ``{"available": true, "plan", …}`` or ``{"available": false, "why", "hint"}``.

    503 without Postgres.
    """
    if not get_principal(request).is_admin:
        hint = "use a token with the role admin; /api/sync contains what concerns your own agents"
        raise Problem(403, "forbidden", "only admins may see the plan", hint=hint)
    planner = request.app[APP_CONTEXT].planner
    if planner is None:
        return _make_reply({"available": False, "why": "this server has no folder of manifests", "hint": ""})
    try:
        planned = await planner.look()
    except TimeoutError:
        raise Problem(
            503,
            "busy",
            "the plan took too long",
            hint="try again, or run agentsd plan",
            headers=_RETRY_HEADERS,
        ) from None
    except StoreError:
        raise
    except AgentsdError as error:  # no folder, or nothing pulled yet: there is no input for a plan
        return _make_reply({"available": False, "why": error.message, "hint": error.hint})
    return _make_reply({"available": True, **make_plan_view(planned, request.app[AGENT_VIEWS].masker)})


_RETRY_HEADERS = {"Retry-After": "5"}


def make_plan_view(planned: PlanResult, masker: Masker) -> dict[str, Any]:
    """Return the plan as ``agentsd plan --format json`` prints it, secrets masked once more."""
    outcome = planned.outcome
    plan = plan_to_json(outcome.plan)
    told = {
        "changes": [_mask_change(change, masker) for change in plan["changes"]],
        "users": [_mask_change(change, masker) for change in plan["users"]],
        "version": outcome.stored.version,
        "applied": False,
        "seconds": outcome.seconds,
    }
    return {
        "plan": plan | told,
        "warnings": [violation_to_json(violation) for violation in outcome.warnings],
        "guard": _make_guard_view(planned),
        "commit": planned.commit,
        "at": planned.at,
    }


def _make_guard_view(planned: PlanResult) -> dict[str, Any] | None:
    count, source = planned.removes, planned.outcome.plan.source
    if not count:
        return None
    message = f"this would remove {count} agent{'s' if count > 1 else ''} of source {source!r} at once"
    hint = "no daemon does that by itself; if intended, run: agentsd sync --allow-mass-delete"
    return {"code": "mass-deletion", "message": message, "hint": hint, "removes": count}


def _mask_change(change: Mapping[str, Any], masker: Masker) -> dict[str, Any]:
    if "fields" not in change:
        return dict(change)
    return {**change, "fields": [_mask_field(field, masker) for field in change["fields"]]}


def _mask_field(field: Mapping[str, Any], masker: Masker) -> dict[str, Any]:
    """Mask a value under its name in the manifest, so that secret names are recognised."""
    name = str(field["field"]).rpartition(".")[2]
    shown = {side: masker.mask({name: field[side]})[name] for side in ("old", "new") if side in field}
    return {**field, **shown}


def _make_reply(body: Mapping[str, Any]) -> web.Response:
    return web.Response(body=to_json(body), content_type=JSON_TYPE)
