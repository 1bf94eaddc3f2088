"""Every ``bash`` block of README and docs works as printed, pasted in order by a newcomer.

A block whose first line is a comment ``# needs X`` needs what a machine may lack; the reader of the page
sees it as well. It is run where X is here and can be used, and otherwise checked by what can check it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.docs.needs import check_unrun, is_usable
from tests.docs.reader import Block, Reader, copy_checkout, read_blocks
from tests.e2e.forks import SERVER
from tests.e2e.home import REPOSITORY, echo
from tests.files.git.remote import ssh_key
from tests.vendors.openai_server import OpenAIServer

PAGES = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")])
SHOWN = {str(path.relative_to(REPOSITORY)): read_blocks(path) for path in PAGES}
CHECKED_ELSEWHERE = {
    r"python -m tests( --quick)?$": "tests/docs/test_docs.py::test_ci_runs_the_test_command_of_the_readme"
}
"""Blocks with this command would run the suite within itself."""

CHECKOUT = ("agents.d", "deploy", "schemas", ".sops.yaml")
FRESH = ("README.md", "docs/howto/offline.md")
"""Pages whose blocks install this checkout, Postgres included."""
EMPTY = ("docs/howto/start.md", "docs/howto/migrate.md")
"""Pages that begin without a checkout."""
SERVED = ("docs/http.md", "docs/howto/fleet.md", "docs/howto/notifications.md", "docs/howto/rollback.md")
SERVED += ("docs/howto/observe.md", "docs/howto/cost.md", "docs/howto/tokens.md")
"""Pages for somebody whose `agentsd up` runs already: one and the same here. The last closes it."""

_IDENTITY = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[Reader]:
    """A person with an empty home, this environment's programs, and a database."""
    root = Path(mkdtemp(prefix="agentsd-docs-"))
    env = {
        "PATH": f"{root}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": sysconfig.get_paths()["purelib"],  # what pip would install is here already
        "HOME": str(root / "home"),
        "TMPDIR": str(root),
        "AGENTSD_DATABASE_URL": database_url,
        "LANG": "C.UTF-8",
        "PIP_NO_COMPILE": "1",
    }
    env |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    if importlib.util.find_spec("hatchling"):  # else it comes from an index, once for each installation
        env |= {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    own = [
        (r"postgresql://\S+@db/agentsd", database_url),
        (
            r"https://git\.example\.org/org/agents\.git|git@git\.example\.org:org/agents\.git",
            f"file://{root}/origin.git",
        ),
        (r"https://(alerts|hooks)\.example\.\S+", "https://127.0.0.1:9/hook"),
        (r"(?<![\d.])0\.0\.0\.0\b|\bHOST\b", "127.0.0.1"),
        (r"git\.example\.org", "git.invalid"),
        (r"/run/secrets", f"{root}/run/secrets"),
        (r"/srv/agents\b", f"{root}/work"),
        (r"(acme/sales) 41\b", r"acme/sales 1"),
    ]
    made = Reader(root, env, own)
    SERVER.write_command(root / "bin")
    write_python(root / "bin")
    home = root / "home"
    (home / ".curlrc").write_text("fail-with-body\nmax-time = 60\n")
    (home / ".gitconfig").write_text(
        "[user]\n  name = Ada\n  email = ada@example.org\n[init]\n  defaultBranch = main\n"
    )
    yield made
    await made.leave()


def write_python(folder: Path) -> None:
    """Write a ``python3`` whose ``-m venv`` lends the real pip, since unpacking one takes five seconds."""
    program = folder / "python3"
    program.write_text(
        f"""#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec {sys.executable} "$@"
{sys.executable} -m venv --without-pip "$3"
printf '#!/bin/sh\\nexec {sys.executable} -m pip --python "%s/bin/python" "$@"\\n' "$3" > "$3/bin/pip"
chmod +x "$3/bin/pip"
"""
    )
    program.chmod(0o755)


def git(folder: Path, *arguments: str) -> None:
    """Run git in the reader's folder."""
    subprocess.run(["git", *_IDENTITY, *arguments], cwd=folder, check=True, capture_output=True)


def clone(reader: Reader, *names: str) -> None:
    """A clone of the samples, whose origin is a repository of the reader's own; the demo key."""
    copy_checkout(reader.folder, *(names or CHECKOUT))
    bare, key = reader.root / "origin.git", reader.folder / "deploy/demo/age-key.txt"
    git(reader.folder, "init", "-qb", "main")
    git(reader.folder, "add", "--all")
    git(reader.folder, "commit", "-qm", "Samples")
    git(reader.root, "clone", "-q", "--bare", str(reader.folder), str(bare))
    git(reader.folder, "remote", "add", "origin", str(bare))
    git(reader.folder, "push", "-qu", "origin", "main")
    reader.env["SOPS_AGE_KEY_FILE"] = str(key)


async def settle_in(reader: Reader, page: str, vendor: OpenAIServer) -> None:
    """Have what the page takes for granted."""
    root = reader.root
    if page in EMPTY:
        prepare_migration(reader)
        return
    clone(reader, *CHECKOUT, *(("tests/__init__.py", "tests/vendors") if page == "docs/testing.md" else ()))
    shop = reader.folder / "agents.d/shop.yaml"
    shop.write_text(shop.read_text().replace("8090", str(reader.ports["8090"])))
    sales = reader.folder / "agents.d/acme/sales.yaml"
    sales.write_text(
        echo("Sold.", id="2f3e4d5c-6b7a-4899-a8b7-c6d5e4f3a206", name="Sales")
        + f"tts: {{provider: openai-compatible, model: m, voice: v, api_url: {vendor.url}}}\n"
        + f"stt: {{provider: openai-compatible, model: m, api_url: {vendor.url}}}\n"
    )
    (reader.folder / "speech.pcm").write_bytes(bytes(32_000))
    git(reader.folder, "add", "agents.d")
    git(reader.folder, "commit", "-qm", "Acme sells")
    (root / "manifests").mkdir()
    git(root / "manifests", "init", "-q")
    sign_commits(reader)
    if page in SERVED:
        await reader.paste(Block("agentsd up", 0))
        rename = "sed -i 's/^name: Sales/name: Sellers/' agents.d/acme/sales.yaml"
        await reader.paste(Block(f"{rename}\nagentsd sync", 0))


def prepare_migration(reader: Reader) -> None:
    """The configurations of other systems."""
    (reader.folder / ".env").write_text(
        "LLM_PROVIDER=groq.com\nGROQ_LLM_API_KEY=gsk-4711\nGROQ_LLM_MODEL=m\n"
    )
    (reader.folder / "config.yaml").write_text(
        "model_list:\n- model_name: fast\n  litellm_params: {model: groq/m, api_key: gsk-4711}\n"
    )


def sign_commits(reader: Reader) -> None:
    """The newest commit at the origin is signed, by the key that the reader lists."""
    private, public = ssh_key(reader.root, "signer")
    reader.own_names.insert(0, (r"ssh-ed25519 AAAA…", " ".join(public.split()[:2])))
    signing = ("-c", "gpg.format=ssh", "-c", f"user.signingkey={private}")
    git(reader.folder, *signing, "commit", "-q", "--allow-empty", "-S", "-m", "Signed")
    git(reader.folder, "push", "-q", "origin", "main")


async def paste_page(reader: Reader, page: str) -> None:
    """Paste the blocks of a page, those that need something only where it is here."""
    for block in SHOWN[page]:
        if any(re.search(command, block.text, re.MULTILINE) for command in CHECKED_ELSEWHERE):
            continue
        if is_usable(block.needs):
            await reader.paste(block)
        else:
            check_unrun(block)


APART = [page for page, blocks in SHOWN.items() if blocks and page not in (*FRESH, *SERVED)]


@pytest.mark.parametrize("pages", [*((page,) for page in APART), SERVED], ids=lambda pages: pages[0])
async def test_blocks_work_as_printed(reader: Reader, pages: Sequence[str]) -> None:
    """Each statement succeeds, or is refused with the status that the page names."""
    async with OpenAIServer() as vendor:
        await settle_in(reader, pages[0], vendor)
        for page in pages:
            await paste_page(reader, page)


async def test_a_fresh_checkout(reader: Reader) -> None:
    """README, then the page on talking without an account: installed, with a Postgres of its own."""
    copy_checkout(reader.folder, *CHECKOUT, "README.md", "LICENSE", "pyproject.toml", "src", "alembic")
    del reader.env["AGENTSD_DATABASE_URL"]
    for page in FRESH:
        await paste_page(reader, page)
    said = reader.terminals[-1].text
    assert "hello" in said
    assert (reader.folder / "hello.mp3").stat().st_size > 1000


def test_no_block_is_left_out() -> None:
    """Commands are in ``bash`` blocks, not in others, and what is checked elsewhere is."""
    for path in PAGES:
        assert "```sh\n" not in path.read_text(), path
    for place in CHECKED_ELSEWHERE.values():
        path, _, name = place.partition("::")
        assert f"def {name}(" in (REPOSITORY / path).read_text()
    assert sum(map(len, SHOWN.values())) > 40, "the search no longer finds blocks"
    assert shutil.which("bash")
