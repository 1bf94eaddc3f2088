"""``agentsd edit``: the one moment when a plaintext is a file, and how it ends."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.home import Home
from tests.e2e.processes import until
from tests.runtime.world import text_of

KEY = "sk-edit-55d0"


def files(folder: Path) -> list[Path]:
    """Every file below ``folder``, hidden ones too."""
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_a_signal_leaves_no_plaintext(home: Home, number: signal.Signals) -> None:
    """Ended while the editor is open, by a closed terminal too, it removes the plaintext and its copy."""
    sealed = home.keys.seal(text_of("http://127.0.0.1:9", id=uuid4(), key=KEY))
    file = home.write("a.yaml", sealed)
    running = home.root / "editor-runs"  # sops writes the plaintext a moment before it starts the editor
    waits = home.root / "editor.py"  # no shell: one that is just starting a command may miss a SIGINT
    waits.write_text(f"import pathlib, time\npathlib.Path({str(running)!r}).touch()\ntime.sleep(60)\n")
    edit = await home.start("edit", "a", EDITOR=f"{sys.executable} {waits}")

    async def opened() -> bool:
        return running.exists()

    await until(opened)
    assert any(KEY in path.read_text() for path in files(home.root / "home/run"))
    edit.send_all(number)
    done = await edit.ended()
    assert done.code == (130 if number is signal.SIGINT else 128 + number), done.said
    assert files(home.root / "home/run") == []
    assert (files(home.agents), file.read_text()) == ([file], sealed)


async def test_an_edit_that_nobody_can_correct_is_given_up(home: Home) -> None:
    """Without a terminal, an editor's result that is no YAML is an error at once, and changes nothing."""
    sealed = home.keys.seal(text_of("http://127.0.0.1:9", id=uuid4(), key=KEY))
    file = home.write("a.yaml", sealed)
    done = await home.run("edit", "a", EDITOR="sed -i s/model:/model/")
    assert done.code == 1, done.said
    assert "sops did not save the edit" in done.err
    assert KEY not in done.said
    assert (files(home.agents), file.read_text()) == ([file], sealed)
    assert files(home.root / "home/run") == []
