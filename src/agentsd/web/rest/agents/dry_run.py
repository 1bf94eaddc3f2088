"""?dry_run=true: the result of a write, decided and checked as usual, but not made.

Where this server writes no files, the edit is shown on the stored manifest, for a person to make.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from posixpath import basename, normpath
from typing import Annotated

from aiohttp import web
from pydantic import Field

from agentsd.control.writeback.commands import AgentCommand
from agentsd.control.writeback.delivery import EditPreview, WriteMode
from agentsd.control.writeback.errors import ReadOnly
from agentsd.control.writeback.offline_preview import OfflinePreviewFactory
from agentsd.control.writeback.preview import make_diff, make_preview_text
from agentsd.core.manifest.agent import AgentRow
from agentsd.core.masker import Masker
from agentsd.core.secret import is_secret_name
from agentsd.web.agent_lookup import get_principal, get_snapshot
from agentsd.web.context import AGENT_VIEWS, APP_CONTEXT
from agentsd.web.http.problem import ViolationReply, bad_request

OFFLINE_PREVIEW = web.AppKey("sketchpad", OfflinePreviewFactory)


@dataclass(frozen=True)
class PreviewReply:
    """Preview of an edit. Seals are shortened to `ENC[…]`, and secrets are masked."""

    mode: Annotated[
        WriteMode,
        Field(description="`off`: based on the stored manifest, to be made by hand."),
    ]
    path: Annotated[str, Field(description="The manifest, below the folder of manifests.")]
    file: Annotated[str, Field(description="The same with that folder: the file to edit.")]
    branch: Annotated[str | None, Field(description="The branch of the edit; `…` replaces its random part.")]
    changed: Annotated[bool, Field(description="False: the file is unchanged.")]
    diff: Annotated[str, Field(description="Diff of all files that it changes, as from `git diff`.")]
    text: Annotated[str, Field(description="The resulting manifest; empty if it would be deleted.")]
    commit_message: str | None
    violations: Annotated[list[ViolationReply], Field(description="Empty: a refused edit is a 422.")]


def is_dry_run(request: web.Request) -> bool:
    """Return whether the request is a dry run. Raise ``Problem`` 400 for an unclear or repeated value."""
    said = request.query.getall("dry_run", ["false"])
    if len(said) > 1 or said[0] not in ("true", "false"):
        raise bad_request("dry_run must be true or false", param="dry_run")
    return said[0] == "true"


async def preview_command(request: web.Request, command: AgentCommand) -> PreviewReply:
    """Return the diff. Raises the errors of the write itself. Nothing is recorded."""
    preview = await _try_command(request, command)
    files, masker = request.app[APP_CONTEXT].files, request.app[AGENT_VIEWS].masker
    return await asyncio.to_thread(make_preview_reply, preview, files, masker)


async def _try_command(request: web.Request, command: AgentCommand) -> EditPreview:
    """Try the write on the files where they can be written, else on the stored manifests."""
    writeback, who = request.app[APP_CONTEXT].writeback, get_principal(request)
    if writeback is not None:
        with suppress(ReadOnly):
            return await writeback.preview(who, command)
    snapshot = get_snapshot(request)

    def rows(owner: str) -> list[AgentRow]:
        return [snapshot.entries[slug].row for slug in snapshot.slugs(owner)]

    return await request.app[OFFLINE_PREVIEW].of(rows).preview(who, command)


def make_preview_reply(preview: EditPreview, files: str, masker: Masker) -> PreviewReply:
    """Return a preview without secrets. ``files``: the displayed folder of manifests."""
    decided = preview.decided

    def is_secret(name: str) -> bool:
        return name in masker.names or is_secret_name(name)

    return PreviewReply(
        mode=preview.mode,
        path=decided.path,
        file=normpath(f"{files}/{decided.path}"),
        branch=preview.branch,
        changed=bool(decided.changing or decided.explicit),
        diff=make_diff(preview, _make_relative_folder(files), is_secret),
        text=make_preview_text(preview, is_secret),
        commit_message=preview.message,
        violations=[],
    )


def _make_relative_folder(files: str) -> str:
    """Return the folder as in a diff: relative to the repository, of which it is usually a top folder."""
    folder = normpath(files)
    return basename(folder) if folder.startswith(("/", "..")) else folder
