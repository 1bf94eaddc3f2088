"""A thread that looks for secrets in files all the while: temporary ones, notes, what is lent by memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.e2e.canary import TEMPORARY, Canaries

Signature = tuple[int, int, int]


class Peeper:
    """Looks at files below ``roots``, and at the top of temporary folders, as soon as they are changed."""

    def __init__(self, canaries: Canaries, roots: Sequence[Path], pids: Callable[[], Sequence[int]]) -> None:
        self._canaries = canaries
        self._roots = roots
        self._pids = pids
        self._seen: dict[str, Signature] = {}
        self._over = threading.Event()
        self.names: set[str] = set()  # of what was looked at

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look while the block runs."""
        self._begin()
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _begin(self) -> None:
        for path in self._temporary():  # what other programs left there before
            with suppress(OSError):
                self._seen[str(path)] = _signature(path)

    def _run(self) -> None:
        while not self._over.wait(0.005):
            for path in (*self._files(), *self._temporary(), *self._lent()):
                with suppress(OSError):
                    self._look(path)

    def _look(self, path: Path) -> None:
        signature = _signature(path)
        if self._seen.get(str(path)) != signature and path.is_file():
            self._seen[str(path)] = signature
            self._canaries.look(f"file {path}", path.read_bytes())
            self.names.add(path.readlink().name if path.is_symlink() else path.name)

    def _files(self) -> Iterator[Path]:
        for root in self._roots:
            for folder, _, names in os.walk(root):
                yield from (Path(folder, name) for name in names)

    def _temporary(self) -> Iterator[Path]:
        for folder in TEMPORARY:
            with suppress(OSError):
                yield from folder.iterdir()

    def _lent(self) -> Iterator[Path]:
        """Files without a name that processes hold (memfd_create)."""
        for pid in self._pids():
            with suppress(OSError):
                for path in Path(f"/proc/{pid}/fd").iterdir():
                    with suppress(OSError):
                        if str(path.readlink()).startswith("/memfd:"):
                            yield path


def _signature(path: Path) -> Signature:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
