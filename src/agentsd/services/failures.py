"""Failures of vendors as values: of an error only its class, a code of a fixed list, and names are kept."""

from __future__ import annotations

from agentsd.core.errors import ProviderError
from agentsd.providers.base import (
    ProviderAuthError,
    ProviderBroken,
    ProviderEmpty,
    ProviderForbidden,
    ProviderNotFound,
    ProviderProtocolError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnreachable,
)
from agentsd.providers.error_codes import CODE_OF_WORD, CONTEXT, FILTER, QUOTA
from agentsd.services.turn_records.record import TurnFailure

_REASONS: tuple[tuple[type[ProviderError], str], ...] = (
    (ProviderAuthError, "wrong-key"),
    (ProviderRateLimited, "rate-limited"),
    (ProviderNotFound, "not-found"),
    (ProviderForbidden, "forbidden"),
    (ProviderTimeout, "timeout"),
    (ProviderUnreachable, "unreachable"),
    (ProviderProtocolError, "wrong-url"),
    (ProviderEmpty, "silent"),
    (ProviderBroken, "broken"),
    (ProviderRejected, "rejected"),
    (ProviderError, "failed"),
)
_CODES = frozenset(CODE_OF_WORD.values())
REQUEST_CODES = frozenset({CONTEXT, FILTER, "max_tokens_reached"})
"""Codes of refusals that concern one request, and not the agent."""


def find_reason(error: ProviderError) -> str:
    """Return the reason of a vendor's failure."""
    if error.code == QUOTA:
        return "no-credit"
    return next(reason for kind, reason in _REASONS if isinstance(error, kind))


def describe_failure(error: BaseException | None) -> TurnFailure | None:
    """Return the failure of a turn as a value; None where the error is not a vendor's."""
    if not isinstance(error, ProviderError) or not error.kind:
        return None
    code = error.code if error.code in _CODES or error.code in REQUEST_CODES else None
    return TurnFailure(error.kind, error.vendor, find_reason(error), code)
