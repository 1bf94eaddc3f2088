"""``agentsd merge-driver`` and ``diff-driver``: what git runs on sealed manifests."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path

import click

from agentsd.cli.compose.factories import load_settings, make_catalog, make_opener, make_sops
from agentsd.cli.output import get_stderr, print_lines
from agentsd.core.names import escape_unprintable

_FILE_WORD = re.compile(r"(?<![A-Z_])FILE(?![A-Z_])")
"""The manifest in a hint, and not a part of SOPS_AGE_KEY_FILE."""
_FILE_TYPE = click.Path(path_type=Path, dir_okay=False)


@click.command("merge-driver")
@click.argument("base", required=False, type=_FILE_TYPE)
@click.argument("ours", required=False, type=_FILE_TYPE)
@click.argument("theirs", required=False, type=_FILE_TYPE)
@click.argument("path", required=False, type=_FILE_TYPE)
@click.option("--install", is_flag=True, help="Make git use it, and the diff driver, in this repository.")
def merge_driver_command(
    base: Path | None, ours: Path | None, theirs: Path | None, path: Path | None, install: bool
) -> None:
    """Merge manifests field by field, secrets included. Git runs it: %O %A %B %P.

    Secrets stay sealed: in the file, in the index and after a conflict. Two changes of different
    secrets need the private key; without one, ciphertexts are merged where possible.

    \b
    Examples:
      agentsd merge-driver --install            once in each clone
      git checkout --merge agents.d/a.yaml      merge a file again, now with the key
    """
    if install:
        from agentsd.cli.commands.merge_driver_setup import install_drivers

        install_drivers()
        return
    if base is None or ours is None or theirs is None or path is None:
        raise click.UsageError("git passes four arguments: %O %A %B %P; to set it up: --install")
    sys.exit(asyncio.run(_merge_files(base, ours, theirs, path)))


async def _merge_files(base: Path, ours: Path, theirs: Path, path: Path) -> int:
    from agentsd.control.sealing.merge_driver import merge_manifests

    settings = load_settings()
    versions = [one.read_bytes() for one in (base, ours, theirs)]
    result = await merge_manifests(
        *versions,
        file=path,
        opener=make_opener(settings),
        sops=make_sops(settings),
        destinations=make_catalog().destinations,
    )
    if result.data is not None and result.data != versions[1]:
        ours.write_bytes(result.data)
    if result.clean:
        return 0
    name = escape_unprintable(str(path))
    lines = [(("bold red", "conflict: "), ("", f"{name}: {problem}")) for problem in result.problems]
    hint = _FILE_WORD.sub(lambda _: shlex.quote(name), result.hint)
    print_lines(get_stderr(), [*lines, (("dim", "    → "), ("", hint))])
    return 1


@click.command("diff-driver")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def diff_driver_command(file: Path) -> None:
    """Print a manifest as a diff should show it: a short hash for each ciphertext, no sops metadata.

    \b
    Examples:
      agentsd merge-driver --install            git diff and git log -p use it from then on
    """
    from agentsd.core.trust.sealed_text import mask_sealed_text

    text = file.read_bytes().decode(errors="surrogateescape")
    try:
        sys.stdout.buffer.write(mask_sealed_text(text).encode(errors="surrogateescape"))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
