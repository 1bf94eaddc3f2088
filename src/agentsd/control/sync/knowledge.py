"""Passages of attached sources, stored with the apply that needs them."""

from __future__ import annotations

import asyncio
import logging

from psycopg import AsyncConnection

from agentsd.control.validation.text_extraction import extract_passages
from agentsd.core.errors import describe_error
from agentsd.core.manifest.agent import Attachment
from agentsd.core.manifest.chunks import Chunk
from agentsd.core.plan.plan import Plan
from agentsd.store.queries import knowledge

_log = logging.getLogger(__name__)


async def store_sources(conn: AsyncConnection, decided: Plan) -> None:
    """Store the passages of new sources, ready to be searched when this transaction commits."""
    attached = [source for c in decided.changes if c.desired for source in c.desired.attachments.sources]
    sources = {source.digest: source for source in attached if source.data is not None}
    missing = await knowledge.find_missing_sources(conn, sources.keys())
    cut = {}
    for digest, source in sources.items():
        if digest in missing and (found := await _extract_passages(source)) is not None:
            cut[digest] = source.path, found
    await knowledge.store_sources(conn, cut)


async def _extract_passages(source: Attachment) -> tuple[Chunk, ...] | None:
    """Return the passages of a source; None, and a line in the log, where it cannot be split.

    Its check passed. A difference now must not stop the apply for everybody.
    """
    if source.passages is not None:
        return source.passages
    try:
        return await asyncio.to_thread(extract_passages, source.path, source.data or b"")
    except Exception as error:
        _log.error(
            "a source of knowledge is omitted", extra={"file": source.path, "error": describe_error(error)}
        )
        return None


async def drop_sources(conn: AsyncConnection, decided: Plan) -> None:
    """Drop the passages that no agent needs any more."""
    if any(change.stored and change.stored.attachments.sources for change in decided.changes):
        await knowledge.drop_unused_sources(conn)
