"""Run every check, in the order of cost: ``python -m tests``. CI runs the same.

``python -m tests --quick`` leaves out the browser, whole processes and everything else that takes minutes.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
WORKERS = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")
"""More than two cores: tests of processes wait more than they compute. In order: those are not the last."""
STATIC_CHECKS = (
    ("ruff check", "ruff", "check", "."),
    ("ruff format", "ruff", "format", "--check", "."),
    ("import floors", "lint-imports"),
    ("names", "python", "scripts/check_names.py"),
    ("types", "mypy"),
    ("javascript", "python", "-m", "tests.javascript"),
    ("schemas", "agentsd", "schema", "--check", "schemas"),
    ("samples", "agentsd", "validate"),
    ("compose file", "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"),
)
CHECKS = (
    *STATIC_CHECKS,
    ("browser", "python", "-m", "tests.browser"),
    ("tests", "pytest", "-q", *WORKERS),
)
QUICK_FOLDERS = ("tests/audio", "tests/core", "tests/docs", "tests/plugins", "tests/test_supervisor.py")
QUICK_CHECKS = (*STATIC_CHECKS, ("tests", "pytest", "-q", *WORKERS, *QUICK_FOLDERS))


def main(arguments: Sequence[str]) -> int:
    """Run all checks, also after one failed; 1 if any did, 2 for an unknown argument."""
    if arguments not in ([], ["--quick"]):
        print("usage: python -m tests [--quick]", file=sys.stderr)
        return 2
    # A shell's background jobs ignore SIGINT, and would hand that down to the processes that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    failed = []
    for name, program, *options in QUICK_CHECKS if arguments else CHECKS:
        started = time.monotonic()
        print(f"── {name}", flush=True)
        code = subprocess.run([BIN / program, *options], cwd=ROOT, check=False).returncode
        print(f"   {'ok' if code == 0 else 'FAILED'} ({time.monotonic() - started:.0f} s)", flush=True)
        failed += [name] if code else []
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
