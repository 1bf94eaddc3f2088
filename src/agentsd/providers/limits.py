"""Limits on the size of a vendor's answer, checked before it is parsed. Pure.

Each limit applies to what one agent's vendor sends for one request. An answer beyond one is a
``ProviderProtocolError`` that names the limit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

MIB = 1 << 20

ANSWER_BYTES_MAX = 8 * MIB
"""Bytes of a vendor's whole answer, of one event or of one message, unless the operator sets others."""
RECORDING_BYTES_MAX = 25 * MIB
"""Bytes of speech that is sent to a vendor as a whole; OpenAI's own limit."""
HEADER_BYTES_MAX = 32 << 10
"""Bytes of one header line of a vendor's answer; aiohttp takes 128 of them."""
RECEIVE_BYTES = 32 << 10
"""Bytes taken from a connection at a time: asyncio's 256 KiB may be 64,000 frames to parse at once."""
SLICE_BYTES = 16 << 10
"""Bytes of a stream that are parsed at a time: other tasks run between two of them."""
INFORMATIONAL_MAX = 8
"""Informational heads (1xx) before the real one; HTTP sets no bound."""
SPEECH_BYTES_MAX = 256 * MIB
"""Bytes of one spoken answer: 46 minutes at 48 kHz."""
TRANSCRIPT_CHARACTERS_MAX = 1 << 20
"""Characters of all transcripts of one utterance."""
DIMENSIONS_MAX = 16_384
"""Numbers of one vector."""


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """Bounds of one answer. The defaults are those of a chat: a text, or a few images in base64."""

    body: int = ANSWER_BYTES_MAX  # bytes of an answer that is read as a whole
    event: int = ANSWER_BYTES_MAX  # bytes of one event of a stream: an image arrives as one
    values: int = 250_000  # commas of one JSON text: what it costs to parse grows with its values
    stream: int = SPEECH_BYTES_MAX  # bytes of a streamed answer
    lines: int = 3_000_000  # lines of a streamed answer: an event has two, a comment one
    frames: int = 1_000_000  # messages of a WebSocket
    frame: int = ANSWER_BYTES_MAX  # bytes of one WebSocket message


@dataclass(frozen=True, slots=True)
class OperatorLimits:
    """Bounds that the operator may set: ``AGENTSD_MAX_ANSWER``, ``…_ANSWER_HEADER`` and ``…_UPLOAD``."""

    answer: int = ANSWER_BYTES_MAX
    header: int = HEADER_BYTES_MAX
    recording: int = RECORDING_BYTES_MAX

    def scale(self, limits: AnswerLimits) -> AnswerLimits:
        """Return ``limits`` with their sizes in proportion to ``answer``: vectors are larger than texts."""
        if self.answer == ANSWER_BYTES_MAX:
            return limits
        body, event, frame = (
            size * self.answer // ANSWER_BYTES_MAX for size in (limits.body, limits.event, limits.frame)
        )
        return replace(limits, body=body, event=event, frame=frame, stream=max(limits.stream, event))


CHAT_LIMITS = AnswerLimits()
TRANSCRIPT_LIMITS = AnswerLimits(body=2 * MIB, values=100_000)
VECTOR_LIMITS = AnswerLimits(body=16 * MIB, values=1_000_000)
FRAME_LIMITS = AnswerLimits(values=10_000)
