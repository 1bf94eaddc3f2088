"""Git's own merge of texts, for texts outside a repository."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from agentsd.core.errors import ConfigError
from agentsd.files.git.command import run

_CONFLICTS_MAX = 127
"""``git merge-file`` exits with the number of conflicts, at most this; a higher code is a failure."""


async def merge_texts(
    base: bytes, ours: bytes, theirs: bytes, *, favour_ours: bool = False
) -> tuple[bytes, int]:
    """Return the merged text, with conflict markers, and the number of conflicts.

    ``favour_ours``: ours is taken in a conflict. Best for sealed or public text only: git reads files.
    Raises ``ConfigError`` if git cannot merge.
    """
    with TemporaryDirectory(prefix="agentsd-merge-") as folder:
        place = Path(folder)
        for name, data in (("ours", ours), ("base", base), ("theirs", theirs)):
            (place / name).write_bytes(data)
        favour = ("--ours",) if favour_ours else ()
        ran = await run(place, "merge-file", "-p", "--quiet", *favour, "ours", "base", "theirs")
    if ran.code > _CONFLICTS_MAX or ran.code < 0 or (ran.code == _CONFLICTS_MAX and not ran.out):
        raise ConfigError("git cannot merge these texts", hint="is git installed? try: git merge-file -h")
    return ran.out, ran.code
