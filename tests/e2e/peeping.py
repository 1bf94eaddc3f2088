"""A thread that looks for secrets in files all the while: temporary ones, notes, what is lent by memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from tests.e2e.canary import TEMPORARY, Canaries, list_files

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
        for entry in self._temporary():  # what other programs left there before
            with suppress(OSError):
                self._seen[entry.path] = _signature(entry)

    def _run(self) -> None:
        while not self._over.wait(0.005):
            for entry in chain(self._lent(), self._files(), self._temporary()):  # what is soon gone first
                with suppress(OSError):
                    self._look(entry)

    def _look(self, entry: os.DirEntry[str]) -> None:
        signature = _signature(entry)
        if self._seen.get(entry.path) != signature and entry.is_file():
            self._seen[entry.path] = signature
            path = Path(entry.path)
            self._canaries.look(f"file {path}", path.read_bytes())
            self.names.add(path.readlink().name if path.is_symlink() else path.name)

    def _files(self) -> Iterator[os.DirEntry[str]]:
        for root in self._roots:
            yield from list_files(root)

    def _temporary(self) -> Iterator[os.DirEntry[str]]:
        for folder in TEMPORARY:
            with suppress(OSError), os.scandir(folder) as entries:
                yield from entries

    def _lent(self) -> Iterator[os.DirEntry[str]]:
        """Files without a name that processes hold (memfd_create)."""
        for pid in self._pids():
            with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
                for entry in entries:
                    with suppress(OSError):
                        if str(Path(entry.path).readlink()).startswith("/memfd:"):
                            yield entry


def _signature(entry: os.DirEntry[str]) -> Signature:
    status = entry.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
