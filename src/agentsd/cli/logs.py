"""Logging of the long-running commands: lines for people, or JSON for machines, on stderr."""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
from datetime import UTC, datetime
from types import TracebackType

from agentsd.telemetry import REQUEST_ID

OWN_LOGGER = "agentsd"
"""The logger of this program; all others are libraries'."""
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


_log = logging.getLogger(__name__)


def set_up_logging(form: str, level: str) -> None:
    """Log to stderr. ``form`` is ``text`` or ``json``; ``level`` as ``logging`` names it."""
    logging.raiseExceptions = False  # a failed log write must not print the record
    handler = logging.StreamHandler()
    handler.setFormatter(make_formatter(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(OWN_LOGGER).setLevel(level.upper())
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread


def _log_unraisable(raised: sys.UnraisableHookArgs) -> None:
    """Log where a finalizer failed, without the error's text, which Python would print."""
    _log_place("finalizer", raised.exc_type, raised.exc_traceback)


def _log_thread(raised: threading.ExceptHookArgs) -> None:
    """Log where a thread failed, without the error's text, which Python would print."""
    _log_place("thread", raised.exc_type, raised.exc_traceback)


def _log_place(what: str, kind: type[BaseException], trace: TracebackType | None) -> None:
    _log.error("unexpected %s in a %s\n%s", kind.__name__, what, "".join(traceback.format_tb(trace)))


def make_formatter(form: str) -> logging.Formatter:
    """Return the formatter that writes lines of that form."""
    return _JsonFormatter() if form == "json" else _TextFormatter()


def _collect_extras(record: logging.LogRecord) -> dict[str, object]:
    if record.name.partition(".")[0] != OWN_LOGGER:
        return {}
    extras = {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
    return extras | {"request_id": found} if (found := REQUEST_ID.get()) else extras


def format_message(record: logging.LogRecord) -> str:
    """Return the logged text of a record: our own in full, of a library nothing that came from outside.

    Libraries put exceptions' texts, URLs and peers into their arguments, and asyncio the ``repr`` of an
    exception into its message; so their template stays as it is, without arguments, up to its first
    line.
    """
    if record.name.partition(".")[0] == OWN_LOGGER:
        return record.getMessage()
    template = str(record.msg).split("\n", 1)[0] if record.args or record.name == "asyncio" else "a message"
    kind = record.exc_info[0] if record.exc_info else None
    raised = f" ({kind.__name__})" if kind else ""
    return f"{record.name}: {template}{raised}"


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        extras = "".join(f" {key}={value}" for key, value in _collect_extras(record).items())
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        return f"{at} {level}{format_message(record)}{extras}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        body = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": format_message(record),
            **_collect_extras(record),
        }
        return json.dumps(body, ensure_ascii=False, default=str)
