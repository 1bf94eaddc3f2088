"""Consent of the user, kept in Postgres: for a conversation, or for requests that are answered by id."""

from __future__ import annotations

from collections.abc import Collection

from agentsd.store.database import Database
from agentsd.store.queries.tool_consents import grant_consents, insert_consent, take_consent
from agentsd.system.identifier import make_identifier


class ConversationConsents:
    """Consent within a conversation: what the model asked in one turn it may do in the user's next one.

    Whether the user agreed is the model's reading of that turn. ``spoke``: this turn begins with words of the
    user, not with results of the client's tools.
    """

    def __init__(self, database: Database, conversation: str, token: bytes, *, spoke: bool) -> None:
        self._database = database
        self._conversation = conversation
        self._token = token
        self._spoke = spoke

    async def begin_turn(self) -> None:
        """Grant what was asked for in the turn before. Raises ``StoreError``."""
        if self._spoke:
            async with self._database.transaction() as connection:
                await grant_consents(connection, self._conversation, self._token)

    async def redeem(self, call: bytes) -> bool:
        """Return whether the call was granted; valid once."""
        async with self._database.transaction() as connection:
            return await take_consent(connection, [self._conversation], self._token, call, asked=False)

    async def request(self, call: bytes) -> str | None:
        """Note that the user is asked."""
        async with self._database.transaction() as connection:
            await insert_consent(connection, self._conversation, self._token, call)
        return self._conversation


class ApprovalConsents:
    """Consent by requests that have ids, and ``approved``: the ids that the user agreed to."""

    def __init__(self, database: Database, token: bytes, approved: Collection[str]) -> None:
        self._database = database
        self._token = token
        self._approved = approved

    async def begin_turn(self) -> None:
        """Do nothing: the client's request contains the user's answers."""

    async def redeem(self, call: bytes) -> bool:
        """Return whether the user agreed to this very call; valid once."""
        if not self._approved:
            return False
        async with self._database.transaction() as connection:
            return await take_consent(connection, self._approved, self._token, call, asked=True)

    async def request(self, call: bytes) -> str | None:
        """Note that the user is asked; return the new request's id."""
        identifier = make_identifier("mcpr", "_")
        async with self._database.transaction() as connection:
            await insert_consent(connection, identifier, self._token, call)
        return identifier
