"""``agentsd merge-driver --install``: git's settings of this clone, and ``.gitattributes`` for all clones."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from pathlib import Path

from agentsd.cli.compose.factories import load_settings
from agentsd.cli.output import get_stderr, print_lines
from agentsd.core.errors import ConfigError
from agentsd.core.names import SUFFIXES
from agentsd.files.git.command import find_repository, run

_NAME = "agentsd"
_OVERLAYS = "envs"
_SPECIAL = re.compile("[^A-Za-z0-9._/-]")


def install_drivers() -> None:
    """Install the drivers. Raises ``ConfigError`` outside a repository, or if git refuses."""
    folder = load_settings().path
    top = find_repository(folder if folder.is_dir() else Path())
    if top is None:
        raise ConfigError(f"{folder} is not in a git repository", hint="git init")
    asyncio.run(_configure_git(top))
    added = _add_attributes(top, _list_patterns(top, folder.resolve()))
    told = (
        "added the manifests to .gitattributes: commit it"
        if added
        else ".gitattributes already lists the manifests"
    )
    print_lines(
        get_stderr(),
        [
            (
                ("green", "✓ "),
                ("", f"git merges and diffs the manifests of {top} with agentsd in this clone"),
            ),
            (("green", "✓ "), ("", told)),
        ],
    )


async def _configure_git(top: Path) -> None:
    program = f"{shlex.quote(sys.executable)} -P -m agentsd".replace(
        "%", "%%"
    )  # -P: import nothing from the work tree
    settings = {
        f"merge.{_NAME}.name": "manifests of agents, field by field",
        f"merge.{_NAME}.driver": f"{program} merge-driver %O %A %B %P",
        # A merge of ancestors must not resolve a conflict that was never shown.
        f"merge.{_NAME}.recursive": "binary",
        f"diff.{_NAME}.textconv": f"{program.replace('%%', '%')} diff-driver",
    }
    for name, value in settings.items():
        if (await run(top, "config", "--local", name, value)).code:
            raise ConfigError(f"git cannot set {name} in {top}", hint="check that .git/config is writable")


def _list_patterns(top: Path, folder: Path) -> list[str]:
    folders = [folder.relative_to(top)]
    if (folder.parent / _OVERLAYS).is_dir():
        folders.append((folder.parent / _OVERLAYS).relative_to(top))
    return [
        f"{_quote_pattern('' if one == Path() else f'{one.as_posix()}/')}**/*{suffix}"
        f" merge={_NAME} diff={_NAME}"
        for one in folders
        for suffix in SUFFIXES
    ]


def _quote_pattern(path: str) -> str:
    """Return a path as a pattern of gitattributes(5): special characters are matched by any character."""
    return _SPECIAL.sub("?", path)


def _add_attributes(top: Path, lines: list[str]) -> bool:
    file = top / ".gitattributes"
    text = file.read_text() if file.exists() else ""
    missing = [line for line in lines if line not in text.splitlines()]
    if missing:
        gap = "" if not text or text.endswith("\n") else "\n"
        file.write_text(f"{text}{gap}{chr(10).join(missing)}\n")
    return bool(missing)
