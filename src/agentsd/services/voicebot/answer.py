"""Answer of an agent: the LLM writes, the TTS speaks what is written, and both can be interrupted.

The LLM runs ahead of the voice (a queue lies between), so the first sentence is spoken while the
second is written; the TTS connects while the LLM thinks. ``interrupt`` ends the answer at once, for
the caller and for the conversation; the vendors' streams are closed in the next step of the loop.
Behind a closed gate it is *prepared*: the LLM runs to its first tool call, the voice to the end of the first
sentence, and nobody gets to know until ``certify``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from agentsd.audio.resampler import Resampler, measure_milliseconds
from agentsd.core.errors import AgentsdError
from agentsd.core.manifest.turn import Timeouts
from agentsd.core.text.sentences import find_last_start, has_sentence_end
from agentsd.core.text.speech_text import SpeechText
from agentsd.providers.base import TTS, LiveAgent, ProviderEmpty
from agentsd.providers.resilience.attempts import Attempts, FirstItemLimit
from agentsd.services.tools.events import (
    HandedOver,
    ParagraphBegan,
    ToolEnded,
    ToolEvent,
    ToolStarted,
    get_event,
)
from agentsd.services.tools.turn import ToolTurn
from agentsd.services.variables import fill_text
from agentsd.services.voicebot.answer_gate import AnswerGate, FirstSentence
from agentsd.services.voicebot.conversation import Conversation, ConversationItem, make_id
from agentsd.services.voicebot.events import (
    AnswerBegan,
    AnswerEnded,
    AnswerSound,
    AnswerStatus,
    AnswerText,
    AnswerTruncated,
    CallEvent,
    CancelReason,
)
from agentsd.services.voicebot.metrics import VoiceMetrics
from agentsd.services.voicebot.pipe import Pipe
from agentsd.services.voicebot.playback import MS_PER_CHARACTER, Playback, cut_to_heard
from agentsd.services.voicebot.server_calls import ServerCalls
from agentsd.services.voicebot.streams import (
    TaskGroup,
    close_at_end,
    detach_error,
    extract_content,
    extract_finish,
    find_first_error,
)
from agentsd.services.voicebot.tool_calls import ToolCallBuilder, has_calls
from agentsd.services.voicebot.tool_filler import ToolFiller

PARAGRAPH = "\n\n"
"""Separator of what the manifest says while tools run, and what the model does."""

AHEAD = 512
"""Maximum text deltas queued between the LLM and the voice."""

INCOMPLETE_REASONS: Mapping[str, CancelReason] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}
"""Ends of a chat completion after which an answer is incomplete."""

SLICE_MS = 200
"""Longest audio in one event: audio that was sent cannot be withdrawn."""

PACED_SLICES, PACED_SLICE_MS_MIN = 4, 20
"""Slices that the lead of a paced answer has, and the shortest."""


class Answer:
    """Answer from its first token to its last sound. ``run`` it once; ``open`` until it ended."""

    def __init__(
        self,
        agent: LiveAgent,
        gate: AnswerGate,
        *,
        rate: int,
        aloud: bool,
        clock: Callable[[], float],
        metrics: VoiceMetrics | None,
        asked_at: float | None,
        attempts: Attempts | None = None,
        timeouts: Timeouts | None = None,
        conversation: Conversation,
        tools: ToolTurn | None = None,
        label: object = None,
        ask: object = None,
        kept: bool = True,
        lead_ms: int | None = None,
    ) -> None:
        self.id = make_id("resp")
        self.kept = kept
        self.item = ConversationItem(make_id("item"), "assistant", spoken=aloud and agent.tts is not None)
        self.agent = agent
        self.aloud = aloud and agent.tts is not None
        self.open = True
        self.broken = False  # the model has failed
        self.usage: Mapping[str, Any] | None = None
        self.handed_over: HandedOver | None = None  # who is to go on
        self._citations: Sequence[Mapping[str, Any]] = ()
        self._gate = gate
        self._first: FirstSentence | None = None  # text for the voice, while it is prepared
        self._lead_ms = lead_ms  # sound that is sent ahead of its playing; None: as fast as it comes
        self._rate = rate
        self._label = label
        self._ask = ask
        self._calls = ToolCallBuilder(self.id, conversation)
        self.server_calls = ServerCalls(self.id, conversation, tools or ToolTurn(), gate)
        self._finish: str | None = None
        self._client_heard_ms: float | None = None  # what the client played, if it reported that already
        self._clock = clock
        self._metrics = metrics
        self._asked_at = asked_at  # when the caller finished; None for a greeting
        self._playback = Playback(lead_ms)
        self._sound_ms = 0.0  # synthesised so far
        self._whole = False  # whether it is complete
        self._text = ""
        self._written = False  # the whole text is known
        self._spoken = ""  # given to the voice
        self._failure: AgentsdError | None = None  # of the model, after text that is still spoken
        self._kept: tuple[float, float] | None = None  # (heard, all) in ms, once it was cut
        self._limits = timeouts
        self._voice_limit: FirstItemLimit | None = None
        if timeouts is not None and attempts is not None:
            self._voice_limit = FirstItemLimit(timeouts.first_sound_seconds, started=False)
            attempts.limits["tts"] = self._voice_limit
            attempts.limits["llm"] = FirstItemLimit(timeouts.first_token_seconds)
        self.status: AnswerStatus | None = None  # how it ended
        self.reason: CancelReason | None = None
        self.error: AgentsdError | None = None
        self.first_token_at: float | None = None
        self.first_sound_at: float | None = None
        self._scope: asyncio.Timeout | None = None
        self._deltas = 0  # of the text, which are about as many tokens

    @property
    def tokens(self) -> int:
        """Return how many tokens the model wrote so far: as the vendor counts, else the parts of the text."""
        counted = (self.usage or {}).get("completion_tokens")
        return counted if isinstance(counted, int) else self._deltas

    @property
    def sound_ms(self) -> float:
        """Return how much sound there is so far, heard or not."""
        return self._sound_ms

    @property
    def text(self) -> str:
        """Return all that was written so far, heard or not."""
        return self._text

    @property
    def spoken_characters(self) -> int:
        """Return how many characters the voice got."""
        if self._first is None or self._gate.is_open:
            return len(self._spoken)
        return self._first.characters

    @property
    def tools(self) -> ToolTurn:
        """Return what happened to the tools that this server runs."""
        return self.server_calls.tools

    @property
    def label(self) -> object:
        """Return the embedder's value."""
        return self._label

    def sounds(self) -> bool:
        """Return whether the caller hears it now, or is about to."""
        if not self.aloud:
            return False
        return self.open or self._playback.heard_ms(self._clock()) < self._sound_ms

    def playing_seconds(self) -> float:
        """Return how long the sound that was sent goes on."""
        return self._playback.left(self._clock())

    def rest(self) -> str | None:
        """Return what the caller has not heard, from the beginning of the sentence that was cut.

        None where the model was interrupted, so that nobody knows the rest.
        """
        if not self._written:
            return None
        return self._text[find_last_start(self._text, len(self.item.text)) :]

    def began(self, previous: str | None) -> AnswerBegan:
        """Return the event that comes first."""
        agent = self.agent
        if not self._text:
            self._calls.anchor = previous
        self.server_calls.anchor = previous
        return AnswerBegan(
            self.id,
            self.item.id,
            previous,
            agent.slug,
            agent.version,
            self.aloud,
            self._label,
            self._ask,
            self.kept,
        )

    @property
    def begun(self) -> bool:
        """Return whether it has text, so that its item was reported."""
        return bool(self._text)

    def certify(self, asked_at: float | None) -> None:
        """Let the caller have a prepared answer, for what was said until ``asked_at``."""
        self._asked_at = asked_at
        self._gate.open()
        if self.first_token_at is not None:
            self._note_first_token()
        if self.first_sound_at is not None:
            self._note_first_sound()
        if self._written or has_sentence_end(self._spoken):
            self._start_voice_limit()

    async def run(self, source: str | AsyncIterator[dict[str, Any]]) -> None:
        """Answer with a given text, or with chunks of a chat completion; report how it ended.

        Never raises an ``AgentsdError``: that is the end ``failed``. Interrupted, it returns.
        Other errors are raised, and reported as a failure as well.
        """
        try:
            async with asyncio.timeout(None) as self._scope:
                self.server_calls.begin()
                if self.open:  # it may have been interrupted before it began
                    await self._produce(source)
                    await self._gate.wait_open()
                    await self._send_all()
        except Exception as error:
            if not self._tell_failure(find_first_error(error)):
                raise find_first_error(error) from None
        else:
            reason = INCOMPLETE_REASONS.get(self._finish or "")
            self._end("incomplete" if reason else "completed", reason)
        finally:
            self._scope = self._failure = None
            self._end("cancelled", "client_cancelled")  # unless it has ended: the call is over
            self.server_calls.settle()

    async def _send_all(self) -> None:
        """Wait until paced sound has left, so that it can be interrupted until then."""
        if self._lead_ms is not None and self.aloud:
            await self._gate.wait_taken(self._is_own_sound)

    def _is_own_sound(self, event: CallEvent) -> bool:
        return isinstance(event, AnswerSound) and event.answer == self.id

    def _tell_failure(self, error: BaseException) -> bool:
        """End the answer as failed. Return False for an error that is not a vendor's, to be raised.

        After an interruption no error matters.
        """
        if isinstance(error, AgentsdError):
            self._end("failed", error=detach_error(error))
        elif self.open:
            self._end("failed", error=AgentsdError("the server failed", hint="see the server's log"))
            return False
        return True

    def interrupt(self, reason: CancelReason) -> bool:
        """Stop now. Return False if it has ended already."""
        if not self.open:
            return False
        self._end("cancelled", reason)
        if self._scope is not None:
            self._scope.reschedule(asyncio.get_running_loop().time())
        return True

    def talked_over(self) -> bool:
        """Cut an answer that is whole but still playing, because the caller speaks.

        It ends here for the conversation. Return False if all of it was heard.
        """
        heard = self._playback.heard_ms(self._clock())
        if not (self._whole and self.aloud and heard < self._sound_ms):
            return False
        self._drop_sound()
        self.truncate(heard)
        return True

    def truncate(self, heard_ms: float) -> None:
        """Record that only this much of it was heard: never more than was recorded before, or than there is.

        Of an answer that is open it counts when that ends.
        """
        if self.open:
            known_ms = heard_ms if self._client_heard_ms is None else self._client_heard_ms
            self._client_heard_ms = min(heard_ms, known_ms)  # also where that is 0
            text = self._cut(self._client_heard_ms, self._measure_total())
            self._gate.push(AnswerTruncated(self.item.id, round(self._client_heard_ms), text))
            return
        known, total = self._kept or (self._sound_ms, self._measure_total())
        self._kept = (min(known, heard_ms), total)
        self.item.text = self._cut(*self._kept)
        self._whole = False
        self._gate.push(AnswerTruncated(self.item.id, round(self._kept[0]), self.item.text))

    def _measure_total(self) -> float:
        """Return the length of the whole answer in ms, estimated where not all of it was spoken."""
        if self._whole or self._failure is not None:  # all of it was spoken
            return self._sound_ms
        return max(self._sound_ms, len(self._text) * MS_PER_CHARACTER)

    def _cut(self, heard_ms: float, total_ms: float) -> str:
        return cut_to_heard(self._text, heard_ms, total_ms, whole=True).rstrip()

    async def _produce(self, source: str | AsyncIterator[dict[str, Any]]) -> None:
        tts = self.agent.tts
        if not self.aloud or tts is None:
            return await self._write(source, None)
        pieces: Pipe[str] = Pipe(AHEAD)
        async with TaskGroup() as tasks:
            tasks.create_task(self._write(source, pieces))
            await self._speak(tts, pieces)
        await self._send_all()
        if self._failure is not None:
            raise self._failure
        return None

    async def _write(self, source: str | AsyncIterator[dict[str, Any]], pieces: Pipe[str] | None) -> None:
        """Send all that the LLM writes to the caller and, as words that can be spoken, to the voice.

        A model that fails after some words leaves them to the voice: what is whole is spoken.
        """
        speech = SpeechText()
        try:
            await self._pass_all(source, speech, pieces)
            self._written = True
        except AgentsdError as error:
            self.broken = True
            if pieces is None or not has_sentence_end(self._spoken):
                raise
            self._failure = error
        if pieces is not None:
            if self._written:
                await self._pass_on(speech.rest(), pieces)
            self._start_voice_limit()
            pieces.end()

    async def _pass_all(
        self, source: str | AsyncIterator[dict[str, Any]], speech: SpeechText, pieces: Pipe[str] | None
    ) -> None:
        if isinstance(source, str):
            await self._words(source, speech, pieces)
            return
        say = partial(self._fill, speech, pieces)
        filler = ToolFiller(say, self.playing_seconds, lambda: len(self._text))
        try:
            await self._pass_chunks(source, speech, pieces, filler)
        finally:
            filler.close()
        cut = self._finish in INCOMPLETE_REASONS
        for event in self._calls.end(whole=True, cut=cut) if self.open else ():
            self._gate.push(event)

    async def _pass_chunks(
        self,
        source: AsyncIterator[dict[str, Any]],
        speech: SpeechText,
        pieces: Pipe[str] | None,
        filler: ToolFiller,
    ) -> None:
        async with close_at_end(source) as chunks:
            async for chunk in chunks:
                self.usage = chunk.get("usage") or self.usage
                self._citations = chunk.get("citations") or self._citations
                self._finish = extract_finish(chunk) or self._finish
                if has_calls(chunk):
                    await self._gate.wait_open()
                event = get_event(chunk)
                if not (isinstance(event, ParagraphBegan) and self._text.endswith(PARAGRAPH)):
                    await self._words(extract_content(chunk), speech, pieces)
                if event is not None and self.open:
                    await self._take_event(event, filler)
                for part in self._calls.take(chunk) if self.open else ():
                    await self._gate.put(part)

    async def _take_event(self, event: ToolEvent, filler: ToolFiller) -> None:
        """Report what happens to the tools that this server runs, and fill the silence meanwhile."""
        if isinstance(event, HandedOver):
            self.handed_over = event
        elif isinstance(event, ToolEnded):
            await filler.end(event.call)
        elif isinstance(event, ToolStarted) and event.definition and event.definition.say and self.aloud:
            definition = event.definition
            text = fill_text(self.agent, event.definition.say)
            filler.begin(event.call, text, definition.say_after_ms)
        for one in self.server_calls.take(event):
            await self._gate.put(one)
        if not self._text:
            self._calls.anchor = self.server_calls.anchor

    async def _fill(self, speech: SpeechText, pieces: Pipe[str] | None, text: str) -> None:
        """Say a sentence of the manifest in the middle of the answer, as a paragraph."""
        begun = PARAGRAPH if self._text and not self._text.endswith(PARAGRAPH) else ""
        await self._words(f"{begun}{text}{PARAGRAPH}", speech, pieces, own=False)

    async def _words(
        self, delta: str, speech: SpeechText, pieces: Pipe[str] | None, *, own: bool = True
    ) -> None:
        """Take words; ``own``: of the model."""
        if not delta or not self.open:
            return
        if own:
            if self.first_token_at is None:
                self._note_first_token()
            self._deltas += 1
        if not self._text:
            self._calls.anchor = self.item.id
        self._text += delta
        await self._gate.put(AnswerText(self.id, delta))
        if pieces is not None:
            await self._pass_on(speech.take(delta), pieces)

    def _note_first_token(self) -> None:
        self.first_token_at = self._clock()
        if self._metrics and self._asked_at is not None and self._gate.is_open:
            self._metrics.first_token.observe(self.first_token_at - self._asked_at)

    def _note_first_sound(self) -> None:
        self.first_sound_at = self._clock()
        if self._metrics and self._asked_at is not None and self._gate.is_open:
            self._metrics.first_sound.observe(self.first_sound_at - self._asked_at)

    async def _pass_on(self, piece: str, pieces: Pipe[str]) -> None:
        if piece.strip():
            self._spoken += piece
            if has_sentence_end(self._spoken):
                self._start_voice_limit()
            await pieces.put(piece)

    def _start_voice_limit(self) -> None:
        if self._voice_limit is not None and self._spoken and self._gate.is_open:
            self._voice_limit.start()

    async def _speak(self, tts: TTS, pieces: Pipe[str]) -> None:
        resampler = Resampler(tts.sample_rate, self._rate)
        self._first = None if self._gate.is_open else FirstSentence(pieces, self._gate)
        async with close_at_end(tts.stream(self._first or pieces)) as sound:
            async for pcm in sound:
                await self._sound(resampler.take(pcm))
        await self._sound(resampler.take(b"", last=True))
        if self.open and not self._sound_ms and any(char.isalnum() for char in self._spoken):
            hint = "check model and voice of the tts section"
            raise ProviderEmpty("the voice made no sound of the answer", hint=hint)

    async def _sound(self, pcm: bytes) -> None:
        if pcm and self.first_sound_at is None:
            self._note_first_sound()
        size = self._rate * measure_slice(self._lead_ms) // 1000 * 2
        for at in range(0, len(pcm), size):
            part = pcm[at : at + size]
            ms = measure_milliseconds(part, self._rate)
            self._sound_ms += ms
            if self.open:
                await self._gate.put(AnswerSound(self.id, part, ms, self._playback))

    def _end(
        self, status: AnswerStatus, reason: CancelReason | None = None, error: AgentsdError | None = None
    ) -> None:
        """End the answer, once: report it, and leave in the conversation what the caller got."""
        if not self.open:
            return
        self.open = False
        self.status, self.reason, self.error = status, reason, error
        if not self._gate.is_open:
            return  # it was prepared, and nobody will have it
        for event in self._calls.end(whole=False):
            self._gate.push(event)
        self._whole = status in ("completed", "incomplete")
        heard = self._kept_ms(status)
        if self._client_heard_ms is not None:
            heard = min(heard, self._client_heard_ms)
        if self.aloud and (not self._whole or self._client_heard_ms is not None):
            self._kept = (heard, self._measure_total())
            self.item.text = self._cut(*self._kept)
        else:
            self.item.text = self._text.rstrip()
        if self._metrics:
            self._metrics.answers.labels(status).inc()
        heard_ms = round(heard) if self.aloud and not self._whole else None
        self._gate.push(
            AnswerEnded(
                self.id,
                self.item.id,
                status,
                reason,
                self.item.text,
                heard_ms,
                self.usage,
                self._citations,
                error,
            )
        )

    def _kept_ms(self, status: AnswerStatus) -> float:
        """Return how much sound the caller gets: of a cancelled answer, what has been played."""
        if status != "cancelled":
            return self._sound_ms
        self._drop_sound()
        return self._playback.heard_ms(self._clock())

    def _drop_sound(self) -> None:
        """Drop the sound that has not been sent yet."""
        self._gate.discard(self._is_own_sound)


def measure_slice(lead_ms: int | None) -> int:
    """Return the longest sound of one event in ms: a fraction of the lead, where sound is paced."""
    return SLICE_MS if lead_ms is None else min(SLICE_MS, max(PACED_SLICE_MS_MIN, lead_ms // PACED_SLICES))
