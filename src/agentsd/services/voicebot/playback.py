"""Playback: how much of an answer the caller has heard. Pure: times are given.

Sound reaches the caller faster than it plays, so what was sent was not yet heard: it plays in real
time from when it came. No vendor here reports which word is where in the sound, so words are taken
to be as long as their letters; a client with better data sends it (conversation.item.truncate).
"""

from __future__ import annotations

MS_PER_CHARACTER = 65.0
"""Usual speed of speech, about 15 characters a second: for text without audio so far."""


class Playback:
    """Sound of one answer, as a caller's loudspeaker plays it."""

    __slots__ = ("_ends", "lead_ms", "sent_ms")

    def __init__(self, lead_ms: int | None = None) -> None:
        self.sent_ms = 0.0
        self.lead_ms = lead_ms  # sound that may be sent ahead of its playing; None: any
        self._ends = 0.0  # when all audio sent so far has been played

    def sent(self, ms: float, now: float) -> None:
        """Add this much sound, sent to the caller. ``now`` is in seconds."""
        self._ends = max(self._ends, now) + ms / 1000
        self.sent_ms += ms

    def starts(self, now: float) -> float:
        """Return when sound that is sent now begins to play."""
        return max(self._ends, now)

    def left(self, now: float) -> float:
        """Return the seconds that the sound sent so far goes on."""
        return max(0.0, self._ends - now)

    def wait_seconds(self, ms: float, now: float) -> float:
        """Return how long further ``ms`` of sound must wait, so that the lead is kept to."""
        return 0.0 if self.lead_ms is None else self.left(now) - max(0.0, self.lead_ms - ms) / 1000

    def heard_ms(self, now: float) -> float:
        """Return how much of it has been played."""
        return max(0.0, self.sent_ms - max(0.0, self._ends - now) * 1000)


def cut_to_heard(text: str, heard_ms: float, sound_ms: float, *, whole: bool) -> str:
    """Return the words of ``text`` that were heard: those begun after ``heard_ms`` are left out.

    ``sound_ms`` is the sound there is for it so far; ``whole``: it is the sound of all of it.
    """
    total = sound_ms if whole else max(sound_ms, len(text) * MS_PER_CHARACTER)
    if heard_ms <= 0 or total <= 0:
        return ""
    if heard_ms >= total:
        return text
    cut = int(len(text) * heard_ms / total)
    while 0 < cut < len(text) and not text[cut - 1].isspace() and not text[cut].isspace():
        cut -= 1
    return text[:cut].rstrip()
