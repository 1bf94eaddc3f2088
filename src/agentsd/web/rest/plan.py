"""GET /api/sync/plan: the changes that a sync of this server's folder would make now. For admins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from agentsd.control.sync.planner import PlanResult
from agentsd.core.errors import AgentsdError, StoreError
from agentsd.core.masker import Masker
from agentsd.core.text.render import (
    FieldChangeJson,
    PlanJson,
    ViolationJson,
    plan_to_json,
    violation_to_json,
)
from agentsd.web.agent_lookup import get_principal
from agentsd.web.context import AGENT_VIEWS, APP_CONTEXT
from agentsd.web.http.problem import Problem
from agentsd.web.http.reply import Count, make_reply


class ServerPlan(PlanJson):
    """Plan, as `agentsd plan --format json` prints it, with the stored version that it starts from."""

    version: int
    applied: Literal[False]
    seconds: float


@dataclass(frozen=True)
class MassDeletionGuard:
    """Guard that would prevent a daemon from applying the plan."""

    code: str
    message: str
    hint: str
    removes: Count


@dataclass(frozen=True)
class PlanReply:
    """Plan of a sync of this server's folder."""

    plan: ServerPlan
    warnings: list[ViolationJson]
    guard: MassDeletionGuard | None
    commit: str | None
    at: datetime
    available: Literal[True] = True


@dataclass(frozen=True)
class NoPlanReply:
    """Reason why there is no plan."""

    why: str
    hint: str = ""
    available: Annotated[Literal[False], Field(description="This server has no input for a plan.")] = False


async def get_plan(request: web.Request) -> web.Response:
    """Return the plan, or why there is none. 503 without Postgres."""
    return make_reply(await load_plan(request))


async def load_plan(request: web.Request) -> PlanReply | NoPlanReply:
    """Return the plan, or why there is none. Raise ``Problem``, and ``StoreError`` without Postgres."""
    if not get_principal(request).is_admin:
        hint = "use a token with the role admin; /api/sync contains what concerns your own agents"
        raise Problem(403, "forbidden", "only admins may see the plan", hint=hint)
    planned = await look_at_files(request)
    if isinstance(planned, NoPlanReply):
        return planned
    return make_plan_reply(planned, request.app[AGENT_VIEWS].masker)


async def look_at_files(request: web.Request) -> PlanResult | NoPlanReply:
    """Return what a sync of all owners' files would do, for whoever reduces it to what may be seen."""
    planner = request.app[APP_CONTEXT].planner
    if planner is None:
        return NoPlanReply("this server has no folder of manifests")
    try:
        return await planner.look()
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
        return NoPlanReply(error.message, error.hint)


_RETRY_HEADERS = {"Retry-After": "5"}


def make_plan_reply(planned: PlanResult, masker: Masker) -> PlanReply:
    """Return the plan as ``agentsd plan --format json`` prints it, secrets masked once more."""
    outcome = planned.outcome
    plan = plan_to_json(outcome.plan)
    for change in (*plan["changes"], *plan["users"]):
        for field in change.get("fields", ()):
            _mask_field(field, masker)
    return PlanReply(
        {**plan, "version": outcome.stored.version, "applied": False, "seconds": outcome.seconds},
        [violation_to_json(violation) for violation in outcome.warnings],
        _make_guard(planned),
        planned.commit,
        planned.at,
    )


def _make_guard(planned: PlanResult) -> MassDeletionGuard | None:
    count, source = planned.removes, planned.outcome.plan.source
    if not count:
        return None
    message = f"this would remove {count} agent{'s' if count > 1 else ''} of source {source!r} at once"
    hint = "no daemon does that by itself; if intended, run: agentsd sync --allow-mass-delete"
    return MassDeletionGuard("mass-deletion", message, hint, count)


def _mask_field(field: FieldChangeJson, masker: Masker) -> None:
    """Mask a value under its name in the manifest, so that secret names are recognised."""
    name = field["field"].rpartition(".")[2]
    if "old" in field:
        field["old"] = masker.mask({name: field["old"]})[name]
    if "new" in field:
        field["new"] = masker.mask({name: field["new"]})[name]
