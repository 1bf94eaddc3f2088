"""``python -m tests.browser``: a browser for the tests of the pages, from Debian, where there is none yet.

Only root can install packages, and only Debian and its like have them: elsewhere those tests are skipped,
and both this and they say so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress

from tests.ui import chromium

INSTALL = ("apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium")
UPDATE = ("apt-get", "update", "-q", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20")
PATIENCE = 180
"""Seconds of each command: a machine without a way to Debian must not wait long to find out."""


def main() -> int:
    """0 with a browser, and also without one where none can be had."""
    if chromium.find() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print("installing chromium", flush=True)
        with suppress(subprocess.TimeoutExpired):
            for command in (UPDATE, INSTALL):
                _run(command)
    print(chromium.find() or chromium.MISSING)
    return 0


def _run(command: tuple[str, ...]) -> None:
    subprocess.run(
        command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        timeout=PATIENCE,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())
