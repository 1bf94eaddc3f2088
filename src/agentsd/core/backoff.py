"""Exponential back-off: delays before the next attempt."""

from __future__ import annotations

from dataclasses import dataclass

_MAX_EXPONENT = 64


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that grow from ``first_seconds`` by ``factor`` up to ``longest_seconds``."""

    first_seconds: float = 0.1
    longest_seconds: float = 10.0
    factor: float = 2.0

    def delay(self, failures: int, spread: float = 0.0) -> float:
        """Return the seconds to wait after so many failures in a row, the first of them being 0.

        ``spread`` is a random number from 0 to 1: it shortens the delay by up to half, so that
        processes that failed together do not come back together.
        """
        grown = self.first_seconds * self.factor ** min(max(failures, 0), _MAX_EXPONENT)
        return min(grown, self.longest_seconds) * (1 - spread / 2)
