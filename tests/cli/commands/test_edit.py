"""``agentsd edit``: nothing is replaced before it is valid, and the plaintext is nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.cli.sealed import SECRET, nowhere, opened
from tests.control.place import echo, groq


@pytest.fixture
def editor(keyed: Shell) -> Callable[[str], Path]:
    """Makes a script the editor; it notes where and how the plaintext stands."""

    def use(command: str) -> Path:
        script, seen = keyed.root / "editor.sh", keyed.root / "seen"
        script.write_text(
            f'#!/bin/sh\nstat -c "%a %n" "$1" > {seen}\nstat -f -c %T "$1" >> {seen}\n{command}\n'
        )
        script.chmod(0o755)
        keyed.env(EDITOR=str(script), VISUAL=None)
        return seen

    return use


class TestEdit:
    """``agentsd edit``."""

    def test_a_change(self, keyed: Shell, editor: Callable[[str], Path]) -> None:
        """The secret is opened, changed and sealed again; the plaintext stood in memory, for us alone."""
        file = keyed.write("acme/a.yaml", keyed.keys.seal(groq(1, key="sk-old")))
        seen = editor(f'sed -i "s/sk-old/{SECRET}/" "$1"')
        done = keyed.run("edit", "acme~a")
        assert done.code == 0, done.err
        assert "updated agents.d/acme/a.yaml" in done.err
        assert opened(keyed, "acme/a.yaml")["llm"]["api_key"] == SECRET  # type: ignore[index]
        mode, where = seen.read_text().split()[:2]
        assert mode == "600"
        assert where.startswith("/dev/shm/agentsd-")
        assert seen.read_text().split()[2] == "tmpfs"
        assert not Path(where).parent.exists()
        assert file.exists()
        nowhere(keyed)

    def test_a_manifest_without_a_seal(self, keyed: Shell, editor: Callable[[str], Path]) -> None:
        """Needs no sops."""
        keyed.write("a.yaml", echo(1))
        editor('sed -i "s/hello/bye/" "$1"')
        assert keyed.run("edit", "agents.d/a.yaml").code == 0
        assert (keyed.root / "agents.d/a.yaml").read_text() == echo(1, reply="bye")

    @pytest.mark.parametrize("sealed", [True, False])
    def test_no_change(self, keyed: Shell, editor: Callable[[str], Path], sealed: bool) -> None:
        """The file keeps its very bytes."""
        before = keyed.keys.seal(groq(1)) if sealed else echo(1)
        file = keyed.write("a.yaml", before)
        editor("true")
        done = keyed.run("edit", "a")
        assert (done.code, file.read_text()) == (0, before)
        assert "unchanged" in done.err

    def test_an_invalid_result(self, keyed: Shell, editor: Callable[[str], Path]) -> None:
        """1, what is wrong with it, and the old file stays."""
        before = keyed.keys.seal(groq(1))
        file = keyed.write("a.yaml", before)
        editor('sed -i "s/model: m/modell: m/" "$1"')
        done = keyed.run("edit", "a")
        assert done.code == 1
        assert "did you mean 'model'?" in done.err
        assert file.read_text() == before
        nowhere(keyed)

    @pytest.mark.parametrize("sealed", [True, False])
    def test_an_editor_that_fails(self, keyed: Shell, editor: Callable[[str], Path], sealed: bool) -> None:
        """Not taken for an edit."""
        before = keyed.keys.seal(groq(1)) if sealed else echo(1)
        file = keyed.write("a.yaml", before)
        editor('echo "x: 1" >> "$1"; exit 3')
        done = keyed.run("edit", "a")
        assert done.code in (1, 2)
        assert file.read_text() == before
        nowhere(keyed)

    def test_someone_else_was_faster(self, keyed: Shell, editor: Callable[[str], Path]) -> None:
        """Their change is never overwritten."""
        file = keyed.write("a.yaml", echo(1))
        theirs = echo(1, reply="theirs")
        (keyed.root / "theirs").write_text(theirs)
        editor(f'sed -i "s/hello/ours/" "$1"; cp {keyed.root}/theirs {file}')
        done = keyed.run("edit", "a")
        assert done.code == 2
        assert "someone else" in done.err
        assert file.read_text() == theirs

    def test_without_a_key(self, shell: Shell) -> None:
        """1, and the file stays."""
        before = shell.keys.seal(groq(1))
        file = shell.write("a.yaml", before)
        shell.env(EDITOR="true")
        assert shell.run("edit", "a").code == 1
        assert file.read_text() == before

    def test_no_such_agent(self, shell: Shell) -> None:
        """2, and how to make one."""
        done = shell.run("edit", "nobody")
        assert done.code == 2
        assert "agentsd new nobody" in done.err
