"""Errors of edits that were not made. Each is one status of the API.

The files are as they were, unless the error describes otherwise.
"""

from __future__ import annotations

from agentsd.core.errors import AgentsdError


class ReadOnly(AgentsdError):
    """Refusal because nothing can be written here, with the reason."""


class Forbidden(AgentsdError):
    """Refusal because this user may not write that owner's agents."""


class AgentExists(AgentsdError):
    """Refusal because a manifest of that name exists."""


class WriteConflict(AgentsdError):
    """Refusal because the state of the files does not allow this edit."""


class TokenExists(AgentsdError):
    """Refusal because a token of that name, or the very token, exists."""


class TokenNotFound(AgentsdError):
    """Refusal because no token has that name."""


class LockedOut(AgentsdError):
    """Refusal because afterwards nobody, or not the caller, could write here, without ``force``."""


class PreconditionFailed(AgentsdError):
    """Refusal because the agent is not what the caller saw."""


class NotSynced(AgentsdError):
    """Failure of the sync after the file was written: the next one will apply it."""

    retryable = True
