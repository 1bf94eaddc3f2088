"""A forge that takes commit statuses, as GitHub and GitLab do.

https://docs.github.com/rest/commits/statuses
https://docs.gitlab.com/api/commits/#set-commit-pipeline-status
"""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from tests.vendors.base import VendorServer

TOKEN = "forge-token-canary-1"
_SHA = re.compile("[0-9a-f]{40}")
_STATES = {
    "github": {"error", "failure", "pending", "success"},
    "gitlab": {"pending", "running", "success", "failed", "canceled", "skipped"},
}


class ForgeServer(VendorServer):
    """Both forges at once: GitHub's API at ``/``, GitLab's below ``/api/v4``. ``statuses``: what was set."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[tuple[str, str, dict[str, Any]]] = []  # (project, commit, body)

    def routes(self, app: web.Application) -> None:
        """One route each."""
        app.router.add_post("/repos/{project:.+}/statuses/{sha}", self._github)
        app.router.add_post("/api/v4/projects/{project}/statuses/{sha}", self._gitlab)

    async def _github(self, request: web.Request) -> web.StreamResponse:
        allowed = request.headers.get("Authorization") == f"Bearer {TOKEN}"
        return await self._set(request, "github", "description", allowed=allowed)

    async def _gitlab(self, request: web.Request) -> web.StreamResponse:
        return await self._set(
            request, "gitlab", "name", allowed=request.headers.get("PRIVATE-TOKEN") == TOKEN
        )

    async def _set(
        self, request: web.Request, kind: str, needed: str, *, allowed: bool
    ) -> web.StreamResponse:
        body = await request.json()
        self.receive(request, body)
        if (refusal := await self.refuse(request)) is not None:
            return refusal
        if not allowed:
            return web.json_response({"message": f"Bad credentials {TOKEN}"}, status=401)
        sha = request.match_info["sha"]
        if not _SHA.fullmatch(sha) or body.get("state") not in _STATES[kind] or needed not in body:
            return web.json_response({"message": "Validation Failed"}, status=422)
        if len(body.get("description", "")) > 140:
            return web.json_response({"message": "description is too long"}, status=422)
        self.statuses.append((request.match_info["project"], sha, body))
        return web.json_response({"id": len(self.statuses)}, status=201)
