"""``python -m tests``: every check there is, in the order of cost. CI runs the same."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
WORKERS = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")
"""More than two cores: tests of processes wait more than they compute. In order: those are not the last."""
CHECKS = (
    ("ruff check", "ruff", "check", "."),
    ("ruff format", "ruff", "format", "--check", "."),
    ("import floors", "lint-imports"),
    ("names", "python", "scripts/check_names.py"),
    ("types", "mypy"),
    ("javascript", "python", "-m", "tests.javascript"),
    ("schemas", "agentsd", "schema", "--check", "schemas"),
    ("samples", "agentsd", "validate"),
    ("compose file", "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"),
    ("browser", "python", "-m", "tests.browser"),
    ("tests", "pytest", "-q", *WORKERS),
)


def main() -> int:
    """Run all checks, also after one failed; 1 if any did."""
    # A shell's background jobs ignore SIGINT, and would hand that down to the processes that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    failed = []
    for name, program, *arguments in CHECKS:
        started = time.monotonic()
        print(f"── {name}", flush=True)
        code = subprocess.run([BIN / program, *arguments], cwd=ROOT, check=False).returncode
        print(f"   {'ok' if code == 0 else 'FAILED'} ({time.monotonic() - started:.0f} s)", flush=True)
        failed += [name] if code else []
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
