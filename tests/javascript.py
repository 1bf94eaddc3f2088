"""``python -m tests.javascript [--install]``: check the scripts of the pages with eslint and tsc.

Both come from npm, in the exact versions of ``scripts/javascript/package.json``. They are installed beside
it, and again when that file changed, where that is asked for: by ``--install``, or in CI by ``CI=true``.
Without them, without npm or without a registry that answers, the check is skipped with one line.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.consent import may_install

FOLDER = Path(__file__).resolve().parents[1] / "scripts" / "javascript"
PACKAGES = FOLDER / "package.json"
STAMP = FOLDER / "node_modules" / ".agentsd-installed"
"""The digest of the ``package.json`` whose packages are installed. Git ignores the folder."""

PROBE = ("view", "typescript", "version", "--fetch-retries=0", "--fetch-timeout=10000")
INSTALL = ("install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")
CHECKS = ("lint", "types")
PROBE_TIMEOUT_SECONDS = 20
INSTALL_TIMEOUT_SECONDS = 180
CHECK_TIMEOUT_SECONDS = 120


def main(arguments: Sequence[str]) -> int:
    """Return 0 if the scripts pass or cannot be checked here, 1 if they or the installation fail."""
    npm = shutil.which("npm")
    if npm is None:
        return skip("npm is not installed")
    if not is_installed():
        if not may_install(arguments):
            return skip("eslint and tsc are not installed (python -m tests.javascript --install does it)")
        if not run_npm(npm, *PROBE, timeout=PROBE_TIMEOUT_SECONDS, quiet=True):
            return skip("npm's registry does not answer")
        if not install_packages(npm):
            print("npm could not install the packages of scripts/javascript/package.json")
            return 1
    results = [run_npm(npm, "run", "--silent", check, timeout=CHECK_TIMEOUT_SECONDS) for check in CHECKS]
    return 0 if all(results) else 1


def skip(reason: str) -> int:
    """Report why the scripts are not checked; not an error."""
    print(f"skipped: {reason}, so the scripts of the pages are not checked")
    return 0


def is_installed() -> bool:
    """Return whether the packages of the present ``package.json`` are installed."""
    return STAMP.is_file() and STAMP.read_text() == digest_packages()


def install_packages(npm: str) -> bool:
    """Install the packages, and note for which ``package.json``."""
    STAMP.unlink(missing_ok=True)
    if not run_npm(npm, *INSTALL, timeout=INSTALL_TIMEOUT_SECONDS):
        return False
    STAMP.write_text(digest_packages())
    return True


def digest_packages() -> str:
    """Return the digest of ``package.json``."""
    return hashlib.sha256(PACKAGES.read_bytes()).hexdigest()


def run_npm(npm: str, *arguments: str, timeout: float, quiet: bool = False) -> bool:
    """Return whether npm succeeded in time."""
    output = subprocess.DEVNULL if quiet else None
    try:
        done = subprocess.run(
            [npm, "--no-update-notifier", *arguments],
            cwd=FOLDER,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        print(f"npm {arguments[0]} took longer than {timeout:g} seconds")
        return False
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
