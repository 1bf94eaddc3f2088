"""Errors of the store: what psycopg raises becomes one of our errors, with our text.

Library texts are never passed on: they may quote a statement, a value or a connection string.
Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import re

import psycopg

from agentsd.core.errors import (
    SchemaMismatch,
    SessionLost,
    StoreError,
    StoreReadOnly,
    StoreRefused,
    StoreUnavailable,
)

_MIGRATE_HINT = "run: agentsd migrate"
_REACH_HINT = "check that Postgres runs and can be reached from here"

_CODES: dict[str, tuple[type[StoreError], str, str]] = {
    "28P01": (StoreRefused, "refused the password", "correct the password in AGENTSD_DATABASE_URL"),
    "28000": (
        StoreRefused,
        "refused this user",
        "check the user in AGENTSD_DATABASE_URL and the server's pg_hba.conf",
    ),
    "3D000": (
        StoreRefused,
        "has no such database",
        "create it (createdb), or correct the name in AGENTSD_DATABASE_URL",
    ),
    "25006": (
        StoreReadOnly,
        "is read-only",
        "point AGENTSD_DATABASE_URL at the primary, not at a standby; during a switch-over: wait",
    ),
    "25P03": (SessionLost, "ended a transaction that waited too long", "look at the load of this machine"),
    "57P01": (SessionLost, "ended the session", _REACH_HINT),
    "57P02": (SessionLost, "crashed and ended the session", _REACH_HINT),
    "57P05": (SessionLost, "ended an idle session", _REACH_HINT),
    "26000": (
        SessionLost,
        "lost a prepared statement",
        "behind a pooler, set AGENTSD_DATABASE_DIRECT_URL to Postgres itself",
    ),
    "42501": (
        StoreRefused,
        "denies a privilege that this needs",
        "grant the user of AGENTSD_DATABASE_URL what deploy/grants.sql lists",
    ),
    "42P01": (SchemaMismatch, "lacks a table that this program needs", _MIGRATE_HINT),
    "42703": (SchemaMismatch, "lacks a column that this program needs", _MIGRATE_HINT),
    "42883": (SchemaMismatch, "lacks a function that this program needs", _MIGRATE_HINT),
    "57014": (
        StoreUnavailable,
        "took too long and the statement was cancelled",
        "look for a long lock or load",
    ),
    "55P03": (StoreUnavailable, "is busy: another sync holds the lock", "try again when that sync has ended"),
    "23505": (
        StoreRefused,
        "refused two rows that share a slug, a default or an email",
        "another source or a manual edit has it: run agentsd plan",
    ),
}
_SESSION_FAULTS = frozenset({"25006", "25P03", "26000", "57P01", "57P02", "57P03", "57P04", "57P05"})

_CLASSES: dict[str, tuple[type[StoreError], str, str]] = {
    "08": (SessionLost, "broke the connection", _REACH_HINT),
    "40": (StoreUnavailable, "ended the transaction in favour of another", "try again"),
    "53": (StoreUnavailable, "has no resources left (connections, memory or disk)", _REACH_HINT),
    "57": (StoreUnavailable, "is shutting down or starting up", _REACH_HINT),
    "58": (StoreUnavailable, "reports a system error", "read the server's log"),
    "22": (StoreRefused, "refused a value", "run agentsd validate: a text may be too long or contain a NUL"),
    "23": (StoreRefused, "refused rows that break a constraint", "run agentsd plan"),
    "28": (StoreRefused, "refused this user", "check AGENTSD_DATABASE_URL"),
}

# libpq gives no code for a refused connection, only the server's text, here in English.
_TEXT_CODES = (
    (r"password authentication failed|no password supplied", "28P01"),
    (r"too many|remaining connection slots", "53300"),
    (r"starting up|shutting down|not yet accepting|in recovery mode", "57P03"),
    (r'database "[^"]*" does not exist', "3D000"),
    (r"permission denied for database", "42501"),
    (r'pg_hba\.conf|role "[^"]*"|authentication failed', "28000"),
)


def translate_error(error: psycopg.Error, place: str) -> StoreError:
    """Return the error to raise instead of ``error``. ``place`` names the server without a password."""
    code = error.sqlstate or _find_text_code(error)
    if _is_stale_plan(error):
        return SessionLost(
            f"Postgres at {place} changed its tables under a prepared statement", hint=_REACH_HINT
        )
    if code is None:
        return StoreUnavailable(f"Postgres at {place} cannot be reached", hint=_REACH_HINT)
    kind, words, hint = _CODES.get(code) or _CLASSES.get(code[:2]) or _describe_unknown(code)
    return kind(f"Postgres at {place} {words}", hint=hint)


def is_session_fault(error: psycopg.Error) -> bool:
    """Return whether a new session may succeed where this one fails, which must then be closed."""
    code = error.sqlstate
    if code is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return code.startswith("08") or code in _SESSION_FAULTS or _is_stale_plan(error)


def _is_stale_plan(error: psycopg.Error) -> bool:
    """Return whether a migration changed what a prepared statement of this session returns.

    The code alone (0A000) means no more than "not supported", and the text is in the server's language.
    """
    return error.sqlstate == "0A000" and error.diag.source_function == "RevalidateCachedQuery"


def _find_text_code(error: psycopg.Error) -> str | None:
    """Return the code that a failed connection would have had; None where no server answered."""
    text = str(error)
    return next((code for saying, code in _TEXT_CODES if re.search(saying, text)), None)


def _describe_unknown(code: str) -> tuple[type[StoreError], str, str]:
    return StoreError, f"answered with error {code}", "read the server's log; this may be a bug in agentsd"
