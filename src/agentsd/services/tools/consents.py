"""Consent of the user, kept in Postgres: for a conversation, or for requests that are answered by id."""

from __future__ import annotations

from collections.abc import Collection

from agentsd.store.database import Database
from agentsd.store.queries.tool_consents import grant_consents, insert_consent, take_consent
from agentsd.system.identifier import make_identifier

REQUESTS_MAX = 100
"""Requests of one call whose ids are known; older ones can be agreed to by words only."""


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


class CallApprovals:
    """Consent within a call: by the caller's next words, or by the answer to a request that has an id.

    Each turn gets a ``CallConsents`` of it. Words grant something once: an answer that was cut off is given
    again to the same words, and nobody has agreed to anything meanwhile.
    """

    def __init__(self, database: Database, call: str, token: bytes) -> None:
        self._database = database
        self._call = call
        self._token = token
        self._asked: dict[str, bytes] = {}  # hashes of calls by the ids of their requests
        self._words: str | None = None  # the item that the newest turn began with

    def of_turn(self, words: str | None, approved: Collection[str] = ()) -> CallConsents:
        """Return the consent of a turn that answers the item ``words``.

        ``approved``: ids of requests to which the client agreed, valid once.
        """
        hashes = {self._asked.pop(one) for one in approved if one in self._asked}
        return CallConsents(self, words, hashes)

    async def begin(self, words: str | None) -> None:
        """Grant what was asked for before ``words``, unless they began a turn already."""
        if words is None or words == self._words:
            return
        self._words = words
        await ConversationConsents(self._database, self._call, self._token, spoke=True).begin_turn()

    async def redeem(self, call: bytes, *, asked: bool) -> bool:
        """Return whether the call was granted, or ``asked`` for and agreed to; valid once."""
        async with self._database.transaction() as connection:
            return await take_consent(connection, [self._call], self._token, call, asked=asked)

    async def request(self, call: bytes) -> str:
        """Note that the caller is asked; return the request's id."""
        async with self._database.transaction() as connection:
            await insert_consent(connection, self._call, self._token, call)
        if len(self._asked) >= REQUESTS_MAX:
            del self._asked[next(iter(self._asked))]
        identifier = make_identifier("mcpr", "_")
        self._asked[identifier] = call
        return identifier

    async def decline(self, request: str) -> None:
        """Forget what was asked for: the caller does not want it. Raises ``StoreError``."""
        call = self._asked.pop(request, None)
        if call is not None:
            await self.redeem(call, asked=True)


class CallConsents:
    """Consent of one turn of a call."""

    def __init__(self, book: CallApprovals, words: str | None, approved: set[bytes]) -> None:
        self._book = book
        self._words = words
        self._approved = approved

    async def begin_turn(self) -> None:
        """Grant what was asked for in the turn before, if the caller has said something since."""
        await self._book.begin(self._words)

    async def redeem(self, call: bytes) -> bool:
        """Return whether the caller may have agreed to exactly this call; valid once."""
        asked = call in self._approved
        self._approved.discard(call)
        return await self._book.redeem(call, asked=asked)

    async def request(self, call: bytes) -> str | None:
        """Note that the caller is asked."""
        return await self._book.request(call)


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
