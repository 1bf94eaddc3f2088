"""``Reminder``: reports of lasting states, at once and then with growing pauses."""

from __future__ import annotations

from collections.abc import Hashable

FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 600.0


class Reminder:
    """Scheduler of repeated reports of a lasting state. The caller provides the clock."""

    def __init__(
        self, *, first_pause: float = FIRST_PAUSE_SECONDS, longest_pause: float = LONGEST_PAUSE_SECONDS
    ) -> None:
        """Set the pauses in seconds: the first one, doubled with each report up to the longest one."""
        self._first, self._longest = first_pause, longest_pause
        self._state: Hashable = None
        self._next = 0.0
        self._pause = first_pause

    def due(self, now: float, state: Hashable) -> bool:
        """Return whether ``state`` is due: it is new, or was last reported long enough ago."""
        if state != self._state:
            self._state, self._pause = state, self._first
        elif now < self._next:
            return False
        else:
            self._pause = min(self._pause * 2, self._longest)
        self._next = now + self._pause
        return True

    def clear(self) -> None:
        """Forget the state, which is over."""
        self._state = None
