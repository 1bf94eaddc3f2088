"""File without a name for a child process: what sops edits in place is in memory only."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MemoryFile:
    """Open file that a child process, which inherits ``inherited``, reaches by ``path``."""

    path: str
    descriptor: int
    inherited: tuple[int, ...]

    def read(self) -> bytes:
        """Return the current content."""
        with open(self.descriptor, "rb", closefd=False) as file:
            file.seek(0)
            return file.read()


@contextmanager
def lend_memory_file(data: bytes) -> Iterator[MemoryFile]:
    """Yield a file that contains ``data`` while the context lasts.

    For sealed text only, never for plaintext.

    On Linux an anonymous one (``memfd_create``): it disappears with its last descriptor, however the
    process ends. Elsewhere one of mode 0600 in a fresh folder of mode 0700.
    """
    with _open_anonymous_file() if hasattr(os, "memfd_create") else _open_temporary_file() as file:
        with open(file.descriptor, "wb", closefd=False) as out:
            out.write(data)
        yield file


@contextmanager
def _open_anonymous_file() -> Iterator[MemoryFile]:
    descriptor = os.memfd_create("agentsd", os.MFD_CLOEXEC)
    try:
        yield MemoryFile(f"/proc/self/fd/{descriptor}", descriptor, (descriptor,))
    finally:
        os.close(descriptor)


@contextmanager
def _open_temporary_file() -> Iterator[MemoryFile]:
    folder = Path(tempfile.mkdtemp(prefix="agentsd-"))
    try:
        path = folder / "sealed.yaml"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            yield MemoryFile(str(path), descriptor, ())
        finally:
            os.close(descriptor)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
