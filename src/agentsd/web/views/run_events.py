"""Runs and manifests' conditions as server-sent events, as far as they are visible to a principal."""

from __future__ import annotations

from agentsd.runtime.follower.run_feed import RunEvent
from agentsd.web.http.json import to_json
from agentsd.web.http.sse import encode_event
from agentsd.web.views import visibility as scoping


def make_run_event_frame(happening: RunEvent, version: int, owner: str | None) -> bytes | None:
    """Return one event; None where it is not for users of ``owner``. ``owner`` None: an admin gets all."""
    if happening.run is not None:
        runs = [happening.run]
        if owner is not None:
            made = {happening.run.version} if owner in happening.owners else set()
            runs = scoping.filter_runs(runs, owner, {one for one in made if one is not None})
        return (
            encode_event("run", to_json({"version": version, "slugs": [], "run": runs[0]})) if runs else None
        )
    if happening.condition is not None:
        conditions = [happening.condition]
        if owner is not None:
            conditions = scoping.filter_conditions(conditions, owner)
        for one in conditions:
            body = {"version": version, "slugs": [one.slug], "condition": one}
            return encode_event("condition", to_json(body))
    return None
