"""Model files that a manifest names: only within the operator's folders, and only regular files.

Anyone who edits a manifest chooses ``model_path``. Without this check a native parser would read
any file of the server, and reveal which paths exist; a FIFO would block its reader for ever.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from agentsd.core.errors import ConfigError
from agentsd.core.trust.engine_limits import EngineLimits

DESCRIPTION_BYTES_MAX = 1 << 20
"""Largest JSON file beside a model."""


def find_model(field: str, named: str, what: str, limits: EngineLimits, inner: str = "") -> Path:
    """Return the real path of the model that ``field`` of a manifest names. Raises ``ConfigError``.

    ``what`` describes the expected file, for messages; ``inner`` is a file that a model's folder
    contains.
    """
    path = Path(os.path.realpath(named))
    if not any(path.is_relative_to(folder) for folder in limits.folders):
        raise ConfigError(
            f"{field} is outside the folders that this server reads models from",
            hint="the server's operator lists them in AGENTSD_MODEL_DIRS",
        )
    try:
        with _open_regular_file(path / inner) as file:
            empty = not file.read(1)
    except (OSError, ValueError):
        raise ConfigError(f"{field} does not name {what} on this machine", hint=f"give {what}") from None
    if empty:
        raise ConfigError(f"{field} names an empty file", hint=f"give {what}: copy it again")
    return path


def read_description(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file beside a model. Raises ``OSError`` and ``ValueError``."""
    with _open_regular_file(path) as file:
        text = file.read(DESCRIPTION_BYTES_MAX + 1)
    if len(text) > DESCRIPTION_BYTES_MAX:
        raise ValueError("too long")
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _open_regular_file(path: Path) -> Any:
    """Open a regular file for reading. Raises ``ValueError`` for others, without blocking."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(file).st_mode):
        return os.fdopen(file, "rb")
    os.close(file)
    raise ValueError("not a regular file")
