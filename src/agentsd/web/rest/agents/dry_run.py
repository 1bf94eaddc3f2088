"""?dry_run=true: the result of a write, decided and checked as usual, but not made.

Where this server writes no files, the edit is shown on the stored manifest, for a person to make.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from posixpath import basename, normpath
from typing import Any

from aiohttp import web

from agentsd.control.writeback.delivery import Preview
from agentsd.control.writeback.errors import ReadOnly
from agentsd.control.writeback.offline_preview import Sketchpad
from agentsd.control.writeback.operations import Edits
from agentsd.control.writeback.preview import diff_of, text_of
from agentsd.core.manifest.agent import AgentRow
from agentsd.core.secret import looks_secret
from agentsd.web.agent_lookup import principal_of, snapshot_of
from agentsd.web.context import PARTS, VIEWS
from agentsd.web.http.caching import JSON
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import bad_request
from agentsd.web.rest.write_errors import problem_of
from agentsd.web.views.masking import Masker

SKETCHPAD = web.AppKey("sketchpad", Sketchpad)

Work = Callable[[Edits[Any]], Awaitable[Any]]
"""One edit, of whichever edits it is given."""


def is_dry(request: web.Request) -> bool:
    """Return whether the request is a dry run. Raise ``Problem`` 400 for an unclear or repeated value."""
    said = request.query.getall("dry_run", ["false"])
    if len(said) > 1 or said[0] not in ("true", "false"):
        raise bad_request("dry_run is true or false", param="dry_run")
    return said[0] == "true"


async def previewed(request: web.Request, decide: Callable[[], Awaitable[Work]]) -> web.Response:
    """Return 200 with the diff; errors are those of the write itself. Nothing is recorded."""
    try:
        preview = await _tried(request, await decide())
        files, masker = request.app[PARTS].files, request.app[VIEWS].masker
        body = to_json(await asyncio.to_thread(preview_view, preview, files, masker))
    except Exception as error:
        problem = problem_of(error, principal_of(request).scope)
        if problem is None:
            raise
        raise problem from None
    return web.Response(body=body, content_type=JSON)


async def _tried(request: web.Request, work: Work) -> Preview:
    """Try the write on the files where they can be written, else on the stored manifests."""
    writeback = request.app[PARTS].writeback
    if writeback is not None:
        try:
            return await _preview(work(writeback.rehearsal))
        except ReadOnly:
            pass
    snapshot = snapshot_of(request)

    def rows(owner: str) -> list[AgentRow]:
        return [snapshot.entries[slug].row for slug in snapshot.slugs(owner)]

    return await _preview(work(request.app[SKETCHPAD].of(rows)))


async def _preview(coming: Awaitable[Any]) -> Preview:
    preview: Preview = await coming
    return preview


def preview_view(preview: Preview, files: str, masker: Masker) -> dict[str, Any]:
    """Return a preview as JSON values, without secrets. ``files``: the displayed folder of manifests."""
    decided = preview.decided

    def is_secret(name: str) -> bool:
        return name in masker.names or looks_secret(name)

    return {
        "mode": preview.mode,
        "path": decided.path,
        "file": normpath(f"{files}/{decided.path}"),
        "branch": preview.branch,
        "changed": bool(decided.changing or decided.explicit),
        "diff": diff_of(preview, _within(files), is_secret),
        "text": text_of(preview, is_secret),
        "commit_message": preview.message,
        "violations": [],
    }


def _within(files: str) -> str:
    """Return the folder as in a diff: relative to the repository, of which it is usually a top folder."""
    folder = normpath(files)
    return basename(folder) if folder.startswith(("/", "..")) else folder
