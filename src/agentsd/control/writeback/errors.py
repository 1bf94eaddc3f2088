"""Why an edit was not made. Each is one status of the API; the files are as they were, unless it says so."""

from __future__ import annotations

from agentsd.core.errors import AgentsdError


class ReadOnly(AgentsdError):
    """Nothing can be written here, and why."""


class Forbidden(AgentsdError):
    """This user may not write that owner's agents."""


class AgentExists(AgentsdError):
    """There is a manifest of that name."""


class WriteConflict(AgentsdError):
    """The files are in a state in which this edit cannot be made."""


class TokenExists(AgentsdError):
    """There is a token of that name, or the very token."""


class TokenNotFound(AgentsdError):
    """There is no token of that name."""


class LockedOut(AgentsdError):
    """Afterwards nobody, or not who asks, could write here; it was not said that this is meant."""


class PreconditionFailed(AgentsdError):
    """The agent is not what the caller saw."""


class NotSynced(AgentsdError):
    """The file is written, but the sync after it failed: the next one will take it."""

    retryable = True
