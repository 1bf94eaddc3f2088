"""Run every check: ``python -m tests``. CI runs the same.

``--quick`` leaves out the browser, whole processes and everything else that takes minutes. ``--install`` lets
the checks install what they need and do not find: a browser (Debian, as root), eslint and the TypeScript
compiler (npm), and clients of OpenAI (PyPI, npm). So does ``CI=true``. Without it nothing is installed, and
what is skipped is printed.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.consent import OPTION

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
WORKERS = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")
"""More than two cores: tests of processes wait more than they compute. In order: those are not the last."""

Check = tuple[str, ...]
"""Its name, its program and the program's arguments."""

JAVASCRIPT: Check = ("javascript", "python", "-m", "tests.javascript")
CLIENTS: Check = ("clients", "python", "-m", "tests.clients", "--core", "--pinned")
"""Beside everything else: it waits for registries and for other programs."""
BROWSER: Check = ("browser", "python", "-m", "tests.browser")
INSTALLING = (JAVASCRIPT, BROWSER, CLIENTS)
STATIC_CHECKS: tuple[Check, ...] = (
    ("types", "mypy"),
    ("ruff check", "ruff", "check", "."),
    ("ruff format", "ruff", "format", "--check", "."),
    ("import floors", "lint-imports"),
    ("names", "python", "scripts/check_names.py"),
    ("schemas", "agentsd", "schema", "--check", "schemas"),
    ("samples", "agentsd", "validate"),
    ("compose file", "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"),
    ("page modules", "python", "scripts/check_page_modules.py"),
    JAVASCRIPT,
)
QUICK_FOLDERS = (
    *("tests/audio", "tests/core", "tests/docs", "tests/plugins"),
    *("tests/test_supervisor.py", "tests/test_consent.py"),
)


def main(arguments: Sequence[str]) -> int:
    """Run all checks, also after one failed; 1 if any did, 2 for an unknown argument."""
    options = parse(arguments)
    # A shell's background jobs ignore SIGINT, and would hand that down to the processes that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Three test processes and hundreds of commands load the same modules: each is compiled once.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    folders = QUICK_FOLDERS if options.quick else ()
    asked = (OPTION,) if options.install else ()
    with ThreadPoolExecutor(1) as beside:
        clients = None if options.quick else beside.submit(run_check, (*CLIENTS, *asked))
        with ThreadPoolExecutor(2) as lanes:
            lanes.submit(compile_tests, folders)
            checks = STATIC_CHECKS if options.quick else (*STATIC_CHECKS, BROWSER)
            checks = tuple((*check, *asked) if check in INSTALLING else check for check in checks)
            failed = [*lanes.map(run_check, checks)]
        failed.append(run_tests(folders))
    failed.append(clients.result() if clients else "")
    names = [name for name in failed if name]
    if names:
        print(f"failed: {', '.join(names)}")
    return 1 if names else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; ends the program with 2 for an unknown one."""
    parser = argparse.ArgumentParser(prog="python -m tests", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only what takes seconds")
    parser.add_argument(OPTION, action="store_true", help="install a browser and eslint if they are absent")
    return parser.parse_args(arguments)


def run_check(check: Check) -> str:
    """Run one check and print its output once it is complete; return its name if it failed, else nothing."""
    name, program, *options = check
    started = time.monotonic()
    done = subprocess.run(
        [BIN / program, *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(f"── {name}\n{done.stdout}{judge(done.returncode, started)}", flush=True)
    return name if done.returncode else ""


def run_tests(folders: Sequence[str]) -> str:
    """Run the tests, whose output is printed as it comes; return their name if one failed, else nothing."""
    started = time.monotonic()
    print("── tests", flush=True)
    done = subprocess.run([BIN / "pytest", "-q", *WORKERS, *folders], cwd=ROOT, check=False)
    print(judge(done.returncode, started), flush=True)
    return "tests" if done.returncode else ""


def judge(code: int, started: float) -> str:
    """Return the line that ends a check."""
    return f"   {'ok' if code == 0 else 'FAILED'} ({time.monotonic() - started:.0f} s)"


def compile_tests(folders: Sequence[str]) -> None:
    """Compile the tests of a fresh clone beside the static checks: else each worker compiles them all."""
    if not (ROOT / "tests" / "__pycache__").exists():
        command = [BIN / "pytest", "--collect-only", "-q", *folders]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
