"""``agentsd init``: a repository of manifests that works at once."""

from __future__ import annotations

import asyncio
import json
import os
import re
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import click

from agentsd.cli.compose.factories import load_settings, make_catalog, make_sops
from agentsd.cli.output import get_stderr, print_lines
from agentsd.core.errors import ConfigError
from agentsd.core.manifest.document import parse_document

_TEMPLATES = {
    "agents.d/assistant.yaml": "assistant.yaml",
    "agents.d/support.yaml": "support.yaml",
    ".vscode/settings.json": "vscode-settings.json",
    ".vscode/extensions.json": "vscode-extensions.json",
    ".pre-commit-config.yaml": "pre-commit-config.yaml",
    ".gitattributes": "gitattributes",
    ".gitignore": "gitignore",
    "README.md": "README.md",
}
_INSTALL = ".ci/install-agentsd.sh"
_CI = {
    "github": {".github/workflows/agents.yml": "github.yml", _INSTALL: "install-agentsd.sh"},
    "gitlab": {".gitlab-ci.yml": "gitlab.yml", _INSTALL: "install-agentsd.sh"},
}
_SEALED = "agents.d/support.yaml"
_RULES = ".sops.yaml"


@click.command("init")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--ci", type=click.Choice(["github", "gitlab", "both", "none"]), default="both", show_default=True
)
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for the fresh age key [sops' default].",
)
def init_command(folder: Path, ci: str, key: Path | None) -> None:
    """Create a repository of manifests: a fresh age key, rules, sample agents, editor settings, CI.

    The key is appended to the file where sops looks for keys, outside the repository; what that
    file contains is kept. No existing file is changed: if one is in the way, nothing is created.

    \b
    Examples:
      agentsd init agents && cd agents && agentsd up
      agentsd init . --ci gitlab
      agentsd init agents --key ~/keys/agents.txt
    """
    from agentsd.control.sealing.bootstrap import add_key, find_default_keys_file, make_rules_text

    texts = _load_texts(ci)
    keys_file = key or find_default_keys_file(os.environ, Path.home())
    _check_targets(folder, [*texts, _RULES], keys_file)
    recipient = add_key(keys_file)
    rules = make_rules_text("agents.d", [recipient])
    contents = {_RULES: rules.encode(), **texts}
    contents[_SEALED] = asyncio.run(_seal_sample(rules, texts[_SEALED]))
    _write_files(folder, contents)
    _print_result(folder, contents, keys_file, told=key is not None)
    if _INSTALL in contents and b"pinned=''" in contents[_INSTALL]:
        _print_source_note(folder / _INSTALL)


def _load_texts(ci: str) -> dict[str, bytes]:
    """Return everything but the rules, by path; ``support.yaml`` still in plain text."""
    from agentsd.control.validation.schema import share_schemas

    source = files("agentsd.cli") / "scaffold"
    chosen = dict(_TEMPLATES)
    for name, templates in _CI.items():
        if ci in (name, "both"):
            chosen |= templates
    texts = {path: (source / name).read_bytes() for path, name in chosen.items()}
    for path in ("agents.d/assistant.yaml", _SEALED):
        texts[path] = texts[path].replace(b"id: ID\n", f"id: {uuid4()}\n".encode())
    if _INSTALL in texts:
        texts[_INSTALL] = texts[_INSTALL].replace(b"pinned=''", f"pinned='{find_source()}'".encode())
    schemas = {f"schemas/{name}": text.encode() for name, text in share_schemas(make_catalog()).files()}
    return texts | schemas


def find_source() -> str:
    """Return where this agentsd was installed from, if it is a commit that CI can install; else ``""``.

    PEP 610: an installer records the origin of what did not come from an index.
    """
    from importlib.metadata import PackageNotFoundError, distribution

    with suppress(PackageNotFoundError, ValueError, KeyError, TypeError):
        noted = json.loads(distribution("agentsd").read_text("direct_url.json") or "{}")
        found = f"git+{noted['url']}@{noted['vcs_info']['commit_id']}"
        if re.fullmatch(r"git\+https://[\w.:/~-]+@([0-9a-f]{40}|[0-9a-f]{64})", found, re.ASCII):
            return found
    return ""


def _check_targets(folder: Path, paths: list[str], keys_file: Path) -> None:
    taken = [str(folder / path) for path in paths if os.path.lexists(folder / path)]
    if taken:
        raise ConfigError(
            f"{', '.join(taken)}: already there; nothing was created",
            hint="name a new folder, or move these files",
        )
    if keys_file.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(
            f"{keys_file} is inside the repository, where a private key must never be",
            hint="name a file elsewhere, or omit --key",
        )


async def _seal_sample(rules: str, text: bytes) -> bytes:
    """Return the sample as sops seals it by ``rules``. The plaintext, a placeholder, is in no file."""
    from agentsd.control.sealing.seal import seal_document

    with TemporaryDirectory(prefix="agentsd-init-") as scratch:
        root = Path(scratch)
        (root / _RULES).write_text(rules, encoding="utf-8")
        (root / "agents.d").mkdir()
        return await seal_document(
            parse_document("support.yaml", text), root / _SEALED, make_sops(load_settings())
        )


def _write_files(folder: Path, contents: dict[str, bytes]) -> None:
    from agentsd.files.atomic.compare_and_swap import compare_and_swap

    for path, data in contents.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        compare_and_swap(file, None, data)


def _print_result(folder: Path, contents: dict[str, bytes], keys_file: Path, *, told: bool) -> None:
    ok, dim = ("green", "✓ "), "dim"
    lines = [
        (ok, ("", f"a fresh age key in {keys_file}"), (dim, "; keep a copy: no secret opens without it")),
        (ok, ("", f"{len(contents)} files in {folder}")),
        (),
        ((dim, "  Next:"),),
        (("", f"    cd {folder}"),),
        *([(("", f"    export SOPS_AGE_KEY_FILE={keys_file.absolute()}"),)] if told else []),
        (("", "    agentsd up"),),
        (("", "    git init && git add . && git commit -m 'Agents as code'"),),
    ]
    print_lines(get_stderr(), lines)


def _print_source_note(script: Path) -> None:
    line = f"CI fails until {script} names the source of agentsd: a commit, or a wheel with its hash"
    print_lines(get_stderr(), [(), (("yellow", "! "), ("", line))])
