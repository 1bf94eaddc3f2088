"""A run of the checks installs nothing on a machine unless that was asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run_with_installers(module: str, folder: Path, *arguments: str, **env: str) -> tuple[str, str]:
    """Return what a check prints where ``apt-get`` and ``npm`` only note their arguments, and the notes."""
    notes = folder / "notes"
    notes.touch()
    for name in ("apt-get", "npm"):
        program = folder / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> "{notes}"\n')
        program.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={"PATH": str(folder), "HOME": str(folder), **env},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, notes.read_text()


@pytest.mark.parametrize("module", ["tests.browser", "tests.javascript"])
def test_nothing_is_installed_unasked(module: str, tmp_path: Path) -> None:
    """Also as root: what is absent is skipped with a line that names the command to install it."""
    output, notes = run_with_installers(module, tmp_path)
    assert "install" not in notes
    if " run --silent" not in notes:  # the packages are installed already: the scripts were checked
        assert f"python -m {module} --install" in output
        assert "skipped" in output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages")
@pytest.mark.parametrize(("arguments", "env"), [(["--install"], {}), ([], {"CI": "true"})])
def test_a_browser_is_installed_where_that_is_asked_for(
    arguments: list[str], env: dict[str, str], tmp_path: Path
) -> None:
    """By the option, and in CI."""
    _, notes = run_with_installers("tests.browser", tmp_path, *arguments, **env)
    assert "chromium" in notes
