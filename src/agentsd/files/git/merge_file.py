"""Git's own merge of texts, for texts that are not in a repository."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from agentsd.core.errors import ConfigError
from agentsd.files.git.command import run

_MANY = 127
"""``git merge-file`` exits with the number of conflicts, this at most; with more where it failed."""


async def merge_texts(
    base: bytes, ours: bytes, theirs: bytes, *, favour_ours: bool = False
) -> tuple[bytes, int]:
    """The merged text, with conflict markers, and how many conflicts there are.

    ``favour_ours``: ours is taken in a conflict. Best only what is sealed, or plain anyway: git reads files.
    Raises ``ConfigError`` where git cannot do it.
    """
    with TemporaryDirectory(prefix="agentsd-merge-") as folder:
        place = Path(folder)
        for name, data in (("ours", ours), ("base", base), ("theirs", theirs)):
            (place / name).write_bytes(data)
        favour = ("--ours",) if favour_ours else ()
        ran = await run(place, "merge-file", "-p", "--quiet", *favour, "ours", "base", "theirs")
    if ran.code > _MANY or ran.code < 0 or (ran.code == _MANY and not ran.out):
        raise ConfigError("git cannot merge these texts", hint="is git installed? try: git merge-file -h")
    return ran.out, ran.code
