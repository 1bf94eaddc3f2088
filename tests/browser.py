"""``python -m tests.browser [--install]``: find a browser for the tests of the pages, or install Debian's.

Installing changes the machine, so it is done only where that is asked for: by ``--install``, or in CI by
``CI=true``. Only root can install packages, and only Debian and its like have them. Elsewhere those tests are
skipped, and both this and they print so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

from tests.consent import may_install
from tests.ui import chromium

INSTALL = ("apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium-headless-shell")
UPDATE = ("apt-get", "update", "-q", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20")
COMMAND_TIMEOUT_SECONDS = 180
"""A machine without a way to Debian must not wait long to find out."""


def main(arguments: Sequence[str]) -> int:
    """Return 0 with a browser, and also without one where none can be had or none was asked for."""
    absent = shutil.which(chromium.NAMES[0]) is None
    if absent and may_install(arguments) and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {chromium.NAMES[0]}", flush=True)
        with suppress(subprocess.TimeoutExpired):
            for command in (UPDATE, INSTALL):
                _run(command)
    print(chromium.find() or f"skipped: {chromium.MISSING}")
    return 0


def _run(command: tuple[str, ...]) -> None:
    subprocess.run(
        command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        timeout=COMMAND_TIMEOUT_SECONDS,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
