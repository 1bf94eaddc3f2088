"""Microphone of a call: its sound becomes turns, which listen, pause, go on and end.

The detector finds speech; where a client detects it itself, everything is speech until it commits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agentsd.core.manifest.turn import Turn as TurnSettings
from agentsd.services.voicebot import events as ev
from agentsd.services.voicebot.call_clock import MicrophoneClock, SilenceClock
from agentsd.services.voicebot.conversation import ConversationItem
from agentsd.services.voicebot.onset_meter import OnsetMeter
from agentsd.services.voicebot.speech_detector import SpeechDetector, SpeechSlice
from agentsd.services.voicebot.turn_detection import SpeechEnd, SpeechStart
from agentsd.services.voicebot.turn_runner import TurnRunner
from agentsd.services.voicebot.turn_state import SpeechConfirmed, SpeechOver, begin_listening
from agentsd.services.voicebot.turns import CallRefused, CallSetup, CallTurn
from agentsd.services.voicebot.utterance import Utterance

UNHEARD_BYTES_MAX = 16 << 20
"""Maximum audio of one call not yet read by a recogniser: beyond it audio is refused, or dropped."""

MUTE_MARGIN_MS = 400
"""Silence beyond the wait that the detector is given for a microphone that stopped."""


class CallMicrophone:
    """Microphone of one call. Its methods are for one task."""

    def __init__(
        self, runner: TurnRunner, setup: CallSetup, silence: SilenceClock, clock: Callable[[], float]
    ) -> None:
        self._runner = runner
        self._setup = setup
        self._silence = silence
        self._clock = clock
        self._speaker: CallTurn | None = None  # the turn whose utterance is being fed
        self._ear: SpeechDetector | None = None
        self._covered = MicrophoneClock()
        self._onset = OnsetMeter()
        self._feeding = False
        self._stopped = False

    @property
    def busy(self) -> bool:
        """Return whether something is being said, in a turn that has begun."""
        return self._speaker is not None

    @property
    def speaking(self) -> bool:
        """Return whether the caller speaks."""
        return self._ear is not None and self._ear.speaking

    @property
    def kept(self) -> int:
        """Return the bytes of sound that turns keep."""
        return sum(turn.utterance.kept for turn in self._runner.turns if turn.utterance is not None)

    @property
    def _settings(self) -> TurnSettings:
        return self._setup.preferences.turn_over(self._runner.serving.turn)

    async def feed(self, pcm: bytes) -> None:
        """Take sound from the microphone: whole samples at ``preferences.input_rate``.

        Raises ``CallRefused`` for more than ``max_seconds`` that the client does not commit.
        """
        if self._stopped and self._speaker is None:
            return
        self._covered.add(pcm, self._setup.preferences.input_rate, self._clock())
        if not self._setup.preferences.detect:
            self._feed_unheard(pcm)
            return
        self._feeding = True
        try:
            await self._feed_detector(pcm)
        finally:
            self._feeding = False

    async def _feed_detector(self, pcm: bytes) -> None:
        if self._ear is None:
            self._ear = await SpeechDetector.open(self._setup.preferences.input_rate, self._settings)
        ear = self._ear
        for number, part in enumerate(ear.slices(pcm), 1):
            await ear.consider()
            if self._stopped and self._speaker is None:  # set while it waited
                self._close_ear()
                return
            self._hear(ear, part)
            if number % 8 == 0:  # after a millisecond of work, yield to other tasks
                await asyncio.sleep(0)

    def _hear(self, ear: SpeechDetector, part: bytes) -> None:
        """Take one frame of the microphone."""
        ear.turn, rate = self._settings, self._setup.preferences.input_rate
        if self._runner.answering:
            self._runner.echo.add_heard(part, rate, self._clock())
            self._onset.hear(part, rate)
        for heard in ear.hear(part):
            self._take(heard)
        self._follow(ear)

    def _follow(self, ear: SpeechDetector) -> None:
        """Do what the voice that is there now asks for: hold the agent's, confirm, let the STT finish."""
        turn, runner = self._speaker, self._runner
        if turn is not None and turn.utterance is not None and ear.speaking:
            if ear.paused:
                turn.utterance.pause()
            elif turn.utterance.resume():
                runner.resume(turn)
            turn.speech_ms = ear.speech_ms
            if ear.stirring:
                turn.voiced_at = self._clock()
            turn.likely_over = ear.likely_over
            runner.consider(turn)
            runner.consider_end(turn)
        confirmed = turn is not None and turn.state.confirmed
        if (ear.stirring or self._startles(ear)) and not confirmed and runner.answering:
            if ear.turn.interruption.enabled and not runner.echo.known:
                runner.hold_voice()
        elif not ear.speaking or ear.paused or confirmed:
            runner.release_voice()

    def _startles(self, ear: SpeechDetector) -> bool:
        """Return whether a sudden sound over the agent's voice may become speech."""
        newest = self._runner.newest_answer
        heard = newest is not None and newest.playing_seconds() > 0
        return heard and not ear.speaking and self._onset.doubtful

    def stop(self) -> None:
        """Begin no more turns. A caller who speaks is heard to the end, where a detector notices that."""
        self._stopped = True
        if not self._setup.preferences.detect:
            self.drop_utterance()

    def close(self) -> None:
        """Take no more sound, now that the call is over."""
        self._stopped = True
        self._speaker = None
        self._close_ear()

    def restart(self) -> None:
        """Drop what was being said, and hear further sound in the form that the call has now."""
        self.drop_utterance()
        self._close_ear()

    def commit(self) -> str:
        """End the utterance at the client's request, without an answer. Return the item's id."""
        turn, self._speaker = self._speaker, None
        if turn is None or turn.utterance is None or not turn.utterance.seconds:
            self._speaker = turn
            raise CallRefused(
                "there is no audio to commit",
                code="input_audio_buffer_commit_empty",
                hint="append audio first",
            )
        if self._ear is not None:
            self._ear.forget()
        self._runner.advance(turn, SpeechConfirmed())  # the client knows that it is speech
        self._end(turn, turn.utterance, reply=False)
        return turn.utterance.item

    async def end_muted(self) -> None:
        """Take a microphone that sends no more for silence."""
        ear, rate = self._ear, self._setup.preferences.input_rate
        if ear is None or self._feeding or not ear.speaking:
            return
        if self._covered.missing(self._clock()) < ear.wait_ms / 1000:
            return
        quiet = bytes(2 * rate * (ear.wait_ms + MUTE_MARGIN_MS) // 2000 * 2)
        for part in ear.slices(quiet):
            await ear.consider()
            if self._feeding or ear is not self._ear:
                return
            self._hear(ear, part)
            if not ear.speaking:
                return

    def _close_ear(self) -> None:
        ear, self._ear = self._ear, None
        if ear is not None:
            ear.close()

    @property
    def _unheard(self) -> int:
        return sum(turn.utterance.waiting for turn in self._runner.turns if turn.utterance is not None)

    def _feed_unheard(self, pcm: bytes) -> None:
        """Take sound without a detector: everything counts, until the client commits or clears it."""
        if self._speaker is None:
            self._speaker = self._listen()
        utterance = self._speaker.utterance
        if utterance is None or utterance.full or self._unheard > UNHEARD_BYTES_MAX:
            hint = "send input_audio_buffer.commit or .clear"
            raise CallRefused("the audio buffer is full", code="input_audio_buffer_full", hint=hint)
        utterance.put(pcm)

    def _take(self, heard: SpeechStart | SpeechSlice | SpeechEnd) -> None:
        if isinstance(heard, SpeechStart) and not self._stopped:
            self._speaker = self._listen()
            self._silence.prompts = 0
            if self._speaker.utterance:
                began = ev.SpeechBegan(self._speaker.utterance.item, heard.at_ms)
                self._runner.emit(self._speaker, began)
        turn = self._speaker
        if turn is None or turn.utterance is None:
            return
        if isinstance(heard, SpeechSlice):
            if self._unheard <= UNHEARD_BYTES_MAX:
                turn.utterance.put(heard.pcm)
        elif isinstance(heard, SpeechEnd):
            self._speaker = None
            self._runner.emit(turn, ev.SpeechEnded(turn.utterance.item, heard.at_ms))
            self._end(turn, turn.utterance, reply=turn.preferences.reply)

    def _listen(self) -> CallTurn:
        settings = self._settings
        room = settings.max_seconds + settings.prefix_padding_ms / 1000 + 1
        utterance = Utterance(self._setup.preferences.input_rate, room)
        detects = self._setup.preferences.detect
        contested = detects and self._runner.answering
        state = begin_listening(contested=contested, certain=not detects)
        turn = CallTurn(self._setup.ref, self._setup.preferences, state, utterance, contested=contested)
        turn.partials = self._runner.serving.partials
        return self._runner.begin(turn)

    def _end(self, turn: CallTurn, utterance: Utterance, *, reply: bool) -> None:
        turn.asked_at = self._clock()
        item = ConversationItem(utterance.item, "user", spoken=True)
        previous = self._runner.conversation.add(item)
        self._runner.emit(turn, ev.UtteranceCommitted(utterance.item, previous))
        self._runner.advance(turn, SpeechOver(reply))
        utterance.end()

    def drop_utterance(self) -> None:
        """Discard what the caller is saying."""
        turn, self._speaker = self._speaker, None
        if self._ear is not None:
            self._ear.forget()
        if turn is not None:
            self._runner.drop(turn)
        self._runner.release_voice()
