"""gpg without a network: an untrusted message must not make it query key servers."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_OPTIONS = ("--disable-dirmngr", "--no-auto-key-retrieve", "--no-auto-key-locate")
"""dirmngr is the only part of GnuPG that connects anywhere; the options override those of gpg.conf."""


@contextmanager
def offline_gpg(environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield the variable by which sops calls a gpg without network access, while the context lasts."""
    gpg = environ.get("SOPS_GPG_EXEC") or "gpg"
    folder = Path(tempfile.mkdtemp(prefix="agentsd-gpg-"))
    try:
        program = folder / "gpg"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(gpg)} {shlex.join(_OPTIONS)} "$@"\n')
        program.chmod(0o700)
        yield {"SOPS_GPG_EXEC": str(program)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
