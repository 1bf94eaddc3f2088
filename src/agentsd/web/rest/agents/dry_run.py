"""?dry_run=true: the result of a write, decided and checked as usual, but not made.

Where this server writes no files, the edit is shown on the stored manifest, for a person to make.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from posixpath import basename, normpath
from typing import Any

from aiohttp import web

from agentsd.control.writeback.commands import AgentCommand
from agentsd.control.writeback.delivery import EditPreview
from agentsd.control.writeback.errors import ReadOnly
from agentsd.control.writeback.offline_preview import OfflinePreviewFactory
from agentsd.control.writeback.preview import make_diff, make_preview_text
from agentsd.core.manifest.agent import AgentRow
from agentsd.core.masker import Masker
from agentsd.core.secret import is_secret_name
from agentsd.web.agent_lookup import get_principal, get_snapshot
from agentsd.web.context import AGENT_VIEWS, APP_CONTEXT
from agentsd.web.http.conditional import JSON_TYPE
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import bad_request

OFFLINE_PREVIEW = web.AppKey("sketchpad", OfflinePreviewFactory)


def is_dry_run(request: web.Request) -> bool:
    """Return whether the request is a dry run. Raise ``Problem`` 400 for an unclear or repeated value."""
    said = request.query.getall("dry_run", ["false"])
    if len(said) > 1 or said[0] not in ("true", "false"):
        raise bad_request("dry_run must be true or false", param="dry_run")
    return said[0] == "true"


async def preview_write(request: web.Request, command: AgentCommand) -> web.Response:
    """Return 200 with the diff. Raises the errors of the write itself. Nothing is recorded."""
    preview = await _preview_command(request, command)
    files, masker = request.app[APP_CONTEXT].files, request.app[AGENT_VIEWS].masker
    body = to_json(await asyncio.to_thread(make_preview_view, preview, files, masker))
    return web.Response(body=body, content_type=JSON_TYPE)


async def _preview_command(request: web.Request, command: AgentCommand) -> EditPreview:
    """Try the write on the files where they can be written, else on the stored manifests."""
    writeback, who = request.app[APP_CONTEXT].writeback, get_principal(request)
    if writeback is not None:
        with suppress(ReadOnly):
            return await writeback.preview(who, command)
    snapshot = get_snapshot(request)

    def rows(owner: str) -> list[AgentRow]:
        return [snapshot.entries[slug].row for slug in snapshot.slugs(owner)]

    return await request.app[OFFLINE_PREVIEW].of(rows).preview(who, command)


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
