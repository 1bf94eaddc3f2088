"""Audit entries of commands, recorded if a database is available."""

from __future__ import annotations

import asyncio
import getpass
from contextlib import suppress

from agentsd.cli.compose.factories import open_database
from agentsd.core.errors import AgentsdError
from agentsd.settings import Settings

_TIMEOUT_SECONDS = 3.0
"""Seconds; the command is done, and the user waits for it to exit."""


async def record_command(settings: Settings, action: str, target: str, *, path: str, owner: str) -> None:
    """Record a command's action, if a database answers; it is never required, and none is started."""
    from agentsd.control.status.audit import record_action

    with suppress(AgentsdError, TimeoutError):
        async with asyncio.timeout(_TIMEOUT_SECONDS), open_database(settings, start=False) as database:
            await record_action(
                database, _find_actor(), action, target, outcome="done", status=None, path=path, owner=owner
            )


def _find_actor() -> str:
    """Return ``cli:alice``: no owner's name contains a colon, so it is never taken for a token's."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        return "cli"
