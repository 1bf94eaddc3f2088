"""Logging of the long-running commands: lines for people, or JSON for machines, on stderr."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def setup(form: str, level: str) -> None:
    """Log to stderr. ``form`` is ``text`` or ``json``; ``level`` as ``logging`` names it."""
    logging.raiseExceptions = False  # a log that cannot be written ends nothing, and quotes nothing
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if form == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("agentsd").setLevel(level.upper())


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        extras = "".join(f" {key}={value}" for key, value in _extras(record).items())
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        return f"{at} {level}{record.getMessage()}{extras}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        body = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        return json.dumps(body, ensure_ascii=False, default=str)
