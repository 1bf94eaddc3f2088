"""Texts beside a manifest, its prompt and its sources of knowledge: read here, and written as edits are.

    GET  /api/agents/{agent}/files            names and digests
    GET  /api/agents/{agent}/files/{path}     the text
    PUT  /api/agents/{agent}/files/{path}     {"text": "…"}; ``If-Match`` is the file's digest (see ``write``)

A prompt is in every replica's memory. A source of knowledge is only in the folder: it is shown where that is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from agentsd.control.validation.attachments import get_attachment_folder
from agentsd.core.errors import AgentsdError
from agentsd.core.manifest.agent import AgentRow
from agentsd.core.manifest.document import MAX_BYTES
from agentsd.core.names import strip_overlay
from agentsd.core.sealed import is_sealed_file
from agentsd.core.trust.rules import DestinationsOf
from agentsd.files.tree import TEXT_SUFFIXES
from agentsd.web.agent_lookup import find_agent
from agentsd.web.context import AGENT_VIEWS, APP_CONTEXT
from agentsd.web.http.conditional import make_cache_headers, make_conditional_response
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import Problem
from agentsd.web.http.reply import Hex, make_cached_reply
from agentsd.web.json_body import RequestModel
from agentsd.web.views.agent import load_document
from agentsd.web.views.pagination import NextCursor, encode_place, make_next_link, parse_page_query

TEXT_BYTES_MAX = MAX_BYTES
"""Bytes of a text that is shown and edited; a larger one is a document rather than a text."""

FILE_PATH = "/api/agents/{agent}/files/{path:.+}"


@dataclass(frozen=True)
class AgentFile:
    """File that an agent names."""

    path: Annotated[str, Field(description="In the folder of manifests, also where an overlay has it.")]
    role: Literal["prompt", "knowledge"]
    digest: Annotated[Hex, Field(description="SHA-256 of its bytes, and its ETag.")]
    is_text: Annotated[bool, Field(description="It can be shown and edited.")]


@dataclass(frozen=True)
class AgentFilePage:
    """Page of the files that an agent names, its prompt first."""

    items: list[AgentFile]
    next_cursor: NextCursor


@dataclass(frozen=True)
class AgentFileText(AgentFile):
    """File that an agent names, with its text."""

    text: str


class FileText(RequestModel):
    """Text, as it is to be in the file."""

    text: str


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.get("/api/agents/{agent}/files", get_files), web.get(FILE_PATH, get_file)]


async def get_files(request: web.Request) -> web.Response:
    """Return a page of files; none for the built-in agent."""
    query = parse_page_query(request.query, "file")
    start, end = query.number or 0, (query.number or 0) + query.limit
    entry = find_agent(request, request.match_info["agent"])
    destinations = request.app[AGENT_VIEWS].destinations
    found = [] if entry is None else await asyncio.to_thread(list_files, entry.row, destinations)
    cursor = encode_place("file", end) if end < len(found) else None
    link = make_next_link(request.path, request.query, cursor)
    return make_cached_reply(request, AgentFilePage(found[start:end], cursor), link=link)


async def get_file(request: web.Request) -> web.Response:
    """Return the file with its text. 404 where the agent names no such file, or its text is not here."""
    found = await load_file(request, request.match_info["agent"], request.match_info["path"])
    etag = f'"{found.digest}"'
    return make_conditional_response(request, to_json(found), etag, make_cache_headers(etag))


async def load_file(request: web.Request, ref: str, path: str) -> AgentFileText:
    """Return a file that the agent ``ref`` names, with its text. Raise ``AgentNotFound`` and ``Problem``."""
    entry = find_agent(request, ref)
    destinations = request.app[AGENT_VIEWS].destinations
    files = [] if entry is None else await asyncio.to_thread(list_files, entry.row, destinations)
    found = next((one for one in files if one.path == path), None)
    if entry is None or found is None:
        raise _make_missing("the agent names no such file", "GET …/files lists them")
    data = entry.row.prompt if found.role == "prompt" else await _read_source(request, found)
    if data is None or len(data) > TEXT_BYTES_MAX or not _is_text(data):
        raise _make_missing(
            "this server does not have the text of that file",
            f"open {request.app[APP_CONTEXT].files}/{found.path} where the files are",
        )
    digest = sha256(data).hexdigest()
    return AgentFileText(found.path, found.role, digest, found.is_text, data.decode())


def list_files(row: AgentRow, destinations: DestinationsOf) -> list[AgentFile]:
    """Return the files of an agent, its prompt first."""
    found = [_make_file(strip_overlay(path), "knowledge", digest.hex()) for path, digest in row.sources]
    prompt = _find_prompt(row, load_document(row, destinations))
    return [prompt, *found] if prompt else found


def _find_prompt(row: AgentRow, document: Mapping[str, Any]) -> AgentFile | None:
    name = document.get("system_prompt_file")
    if row.prompt is None or not isinstance(name, str):
        return None
    path = get_attachment_folder(row.path) + name
    return _make_file(path, "prompt", sha256(row.prompt).hexdigest())


def _make_file(path: str, role: Literal["prompt", "knowledge"], digest: str) -> AgentFile:
    return AgentFile(path, role, digest, path.endswith(TEXT_SUFFIXES))


async def _read_source(request: web.Request, file: AgentFile) -> bytes | None:
    writeback = request.app[APP_CONTEXT].writeback
    if writeback is None or not file.is_text:
        return None
    try:
        read = await writeback.read_text(file.path)
    except (AgentsdError, OSError):
        return None
    return read.data if read is not None and read.problem is None else None


def _is_text(data: bytes) -> bool:
    """Return whether an editor may show ``data``, and write it again without loss."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return not is_sealed_file(data)


def _make_missing(detail: str, hint: str) -> Problem:
    return Problem(404, "file_not_found", detail, hint=hint)
