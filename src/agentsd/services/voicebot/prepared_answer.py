"""Answer that is prepared while the caller may still go on: used, or thrown away without a trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import Context
from typing import Any

from agentsd.services.voicebot.answer import Answer


class PreparedAnswer:
    """Answer behind a closed gate, in a task of its own from its making on."""

    def __init__(
        self, answer: Answer, question: object, source: AsyncIterator[dict[str, Any]], context: Context
    ) -> None:
        self.answer = answer
        self._question = question
        self._error: Exception | None = None
        self._task: asyncio.Task[None] | None = asyncio.create_task(self._run(source), context=context)

    @property
    def failed(self) -> bool:
        """Return whether it has ended, or is about to, before it was certain to be wanted."""
        return self.answer.broken or self._task is None or self._task.done()

    def answers(self, question: object) -> bool:
        """Return whether ``question`` is what it answers."""
        return question == self._question

    async def finish(self, asked_at: float | None) -> None:
        """Let the caller have it, and wait for its end: as ``Answer.run``."""
        self.answer.certify(asked_at)
        try:
            if self._task is not None:
                await asyncio.wait((self._task,))
        finally:
            await self.close()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def cancel(self) -> None:
        """Throw it away; its streams are closed in the next steps of the loop."""
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Wait until its streams are closed. An ended task refers to its frames, so it is forgotten."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait((task,))

    async def _run(self, source: AsyncIterator[dict[str, Any]]) -> None:
        try:
            await self.answer.run(source)
        except Exception as error:  # raised by ``finish``, which has the task of the turn
            self._error = error
