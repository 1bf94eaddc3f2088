"""Transcription of an utterance, part by part; again where a recogniser's connection was lost half-way."""

from __future__ import annotations

from collections.abc import Callable

from agentsd.core.errors import ProviderError
from agentsd.providers.base import STT, ProviderUnavailable
from agentsd.services.voicebot.streams import close_at_end
from agentsd.services.voicebot.utterance import TranscriptBuilder, Utterance

REPLAYS_MAX = 2
"""How often a part is sent again after a connection was lost that had transcribed some of it already.

Before that, the provider's own retries and fallbacks do it.
"""

Report = Callable[[str, str], None]
"""Receiver of what is new in the transcript, and of the whole transcript so far."""

ReportPause = Callable[[str], None]
"""Receiver of the whole transcript in a pause, which may be the end."""


async def transcribe_utterance(
    stt: STT, utterance: Utterance, report: Report, report_pause: ReportPause
) -> str:
    """Return the transcript when the caller has finished. Raises ``ProviderError``."""
    builder, part = TranscriptBuilder(), 0
    while await utterance.has_part(part):
        await _transcribe_part(stt, utterance, part, builder, report)
        builder.keep()
        utterance.free(part)
        part += 1
        if utterance.pauses_before(part):
            report_pause(builder.text)
    return builder.text


async def _transcribe_part(
    stt: STT, utterance: Utterance, part: int, builder: TranscriptBuilder, report: Report
) -> None:
    """Transcribe one part. What was final once is kept, even if nobody can go on with it."""
    known = best = builder.text
    for replays in range(REPLAYS_MAX + 1):
        begun = False
        try:
            async with close_at_end(stt.stream(utterance.sound(stt.sample_rate, part))) as transcripts:
                async for transcript in transcripts:
                    begun = True
                    report(builder.take(transcript), builder.text)
            return
        except ProviderError as error:
            best = max(best, builder.final, key=len)
            if isinstance(error, ProviderUnavailable) and begun and replays < REPLAYS_MAX:
                builder.restore(known)
                continue
            if best == known:
                raise
            builder.restore(best)
            return
