"""?dry_run=true: the result of a write, decided and checked as usual, but not made.

Where this server writes no files, the edit is shown on the stored manifest, for a person to make.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from posixpath import basename, normpath
from typing import Any

from aiohttp import web

from agentsd.control.writeback.delivery import EditPreview
from agentsd.control.writeback.errors import ReadOnly
from agentsd.control.writeback.offline_preview import OfflinePreviewFactory
from agentsd.control.writeback.operations import AgentOperations
from agentsd.control.writeback.preview import make_diff, make_preview_text
from agentsd.core.manifest.agent import AgentRow
from agentsd.core.secret import is_secret_name
from agentsd.web.agent_lookup import get_principal, get_snapshot
from agentsd.web.context import AGENT_VIEWS, APP_CONTEXT
from agentsd.web.http.conditional import JSON_TYPE
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import bad_request
from agentsd.web.rest.write_errors import from_write_error
from agentsd.web.views.masker import Masker

OFFLINE_PREVIEW = web.AppKey("sketchpad", OfflinePreviewFactory)

Work = Callable[[AgentOperations[Any]], Awaitable[Any]]
"""One edit, of whichever edits it is given."""


def is_dry_run(request: web.Request) -> bool:
    """Return whether the request is a dry run. Raise ``Problem`` 400 for an unclear or repeated value."""
    said = request.query.getall("dry_run", ["false"])
    if len(said) > 1 or said[0] not in ("true", "false"):
        raise bad_request("dry_run must be true or false", param="dry_run")
    return said[0] == "true"


async def preview_write(request: web.Request, decide: Callable[[], Awaitable[Work]]) -> web.Response:
    """Return 200 with the diff; errors are those of the write itself. Nothing is recorded."""
    try:
        preview = await _try_write(request, await decide())
        files, masker = request.app[APP_CONTEXT].files, request.app[AGENT_VIEWS].masker
        body = to_json(await asyncio.to_thread(make_preview_view, preview, files, masker))
    except Exception as error:
        problem = from_write_error(error, get_principal(request).scope)
        if problem is None:
            raise
        raise problem from None
    return web.Response(body=body, content_type=JSON_TYPE)


async def _try_write(request: web.Request, work: Work) -> EditPreview:
    """Try the write on the files where they can be written, else on the stored manifests."""
    writeback = request.app[APP_CONTEXT].writeback
    if writeback is not None:
        try:
            return await _await_preview(work(writeback.rehearsal))
        except ReadOnly:
            pass
    snapshot = get_snapshot(request)

    def rows(owner: str) -> list[AgentRow]:
        return [snapshot.entries[slug].row for slug in snapshot.slugs(owner)]

    return await _await_preview(work(request.app[OFFLINE_PREVIEW].of(rows)))


async def _await_preview(coming: Awaitable[Any]) -> EditPreview:
    preview: EditPreview = await coming
    return preview


def make_preview_view(preview: EditPreview, files: str, masker: Masker) -> dict[str, Any]:
    """Return a preview as JSON values, without secrets. ``files``: the displayed folder of manifests."""
    decided = preview.decided

    def is_secret(name: str) -> bool:
        return name in masker.names or is_secret_name(name)

    return {
        "mode": preview.mode,
        "path": decided.path,
        "file": normpath(f"{files}/{decided.path}"),
        "branch": preview.branch,
        "changed": bool(decided.changing or decided.explicit),
        "diff": make_diff(preview, _make_relative_folder(files), is_secret),
        "text": make_preview_text(preview, is_secret),
        "commit_message": preview.message,
        "violations": [],
    }


def _make_relative_folder(files: str) -> str:
    """Return the folder as in a diff: relative to the repository, of which it is usually a top folder."""
    folder = normpath(files)
    return basename(folder) if folder.startswith(("/", "..")) else folder
