"""What one caller does and what vendors do meanwhile, all of it by chance."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.services.speech import silence, spoken
from tests.soak.call_audit import find_faults
from tests.soak.caller import Caller
from tests.vendors.base import Fault, Socket, VendorServer
from tests.vendors.kokoro_server import KokoroServer
from tests.vendors.openai_server import wav_header
from tests.vendors.whisper_server import WhisperServer
from tests.web.openai.realtime.test_turn_taking import hum
from tests.web.voices import Talker, Vendors

QUIET_SECONDS = 30.0
"""Within which every turn ends: longer than all retries and time-outs of a turn together."""
LONG = " ".join(f"word{number}" for number in range(60)) + ". And so on."

Breaker = Callable[[Any, random.Random], None]


class Voice(KokoroServer):
    """Speaks in real length, 40 ms a character, or without a sound."""

    soundless = False

    async def talk(self, socket: Socket) -> None:
        """See ``KokoroServer``."""
        await socket.next()
        await socket.say({"type": "ready", "sample_rate": self.rate, "format": "pcm_s16le"})
        while text := await socket.next():
            await socket.say(wav_header(self.rate, 0))
            for _ in range(0 if self.soundless else max(1, len(text) // 10)):
                await socket.part(bytes(self.rate * 2 * 4 // 10))
        await socket.say({"type": "end", "total_chunks": 1})


def _fault(*faults: Fault) -> Breaker:
    def strike(server: VendorServer, rng: random.Random) -> None:
        server.fault = rng.choice(faults)
        server.times = rng.choice((None, None, 1))

    return strike


def _slow(server: VendorServer, rng: random.Random) -> None:
    server.delay = rng.uniform(0.02, 0.2)


def _empty(server: VendorServer, _: random.Random) -> None:
    if isinstance(server, Talker):
        server.mute = True
    elif isinstance(server, Voice):
        server.soundless = True
    elif isinstance(server, WhisperServer):
        server.words = ""


FAULTS: dict[str, Breaker] = {
    "slow": _slow,
    "401": _fault(Fault.UNAUTHORIZED, Fault.FORBIDDEN),
    "500": _fault(Fault.BROKEN, Fault.OVERLOADED, Fault.RATE_LIMITED),
    "cut": _fault(Fault.EARLY_CLOSE, Fault.EARLY_END),
    "garbage": _fault(Fault.MALFORMED_FRAME, Fault.NUMBER_FRAME, Fault.ERROR_FRAME),
    "empty": _empty,
    "stalled": _fault(Fault.STALL, Fault.SILENT, Fault.STALL_LATER),
}


QUICK_FAULTS = tuple(name for name in FAULTS if name != "stalled")


@dataclass
class Outcome:
    """What became of one call."""

    number: int
    did: list[str] = field(default_factory=list)  # by the caller, and by vendors
    reasons: list[str] = field(default_factory=list)  # of its turns
    faults: list[str] = field(default_factory=list)
    trail: list[str] = field(default_factory=list)  # types of its last events, where there are faults


@dataclass
class Lane:
    """Vendors and an agent for one call at a time."""

    name: str
    vendors: Vendors
    apologises: bool
    quick: bool = False  # one turn a call, and no fault that only a time-out ends

    def mend(self) -> None:
        """Put the vendors right again."""
        llm, tts, stt = self.vendors.llm, self.vendors.tts, self.vendors.stt
        for server in (llm, tts, stt):
            server.fault, server.times, server.delay = None, None, 0.0
        llm.mute, stt.words = False, None
        if isinstance(tts, Voice):
            tts.soundless = False

    def breaks(self, rng: random.Random) -> str:
        """Let some vendors fail, each in one way; return which."""
        self.mend()
        broken = []
        for kind in ("llm", "tts", "stt"):
            if rng.random() < 0.25:
                name = rng.choice(QUICK_FAULTS if self.quick else tuple(FAULTS))
                FAULTS[name](getattr(self.vendors, kind), rng)
                broken.append(f"{kind} {name}")
        return ", ".join(broken)


class Script:
    """What one caller does, all of it by chance."""

    def __init__(self, caller: Caller, lane: Lane, rng: random.Random, outcome: Outcome) -> None:
        self.caller, self.lane, self.rng, self.outcome = caller, lane, rng, outcome

    async def run(self) -> None:
        """Some turns, each to its end; then one that is left in its midst, or a farewell."""
        for _ in range(self.rng.randrange(1, 2 if self.lane.quick else 4)):
            await self._turn()
            if not await self.caller.quiet(QUIET_SECONDS) or self.caller.closed:
                break
        events, asked = self.caller.events, self.caller.asked
        self.outcome.faults += find_faults(events, asked, apologises=self.lane.apologises)
        if not self.caller.closed:
            await self._leave()

    async def _turn(self) -> None:
        broken = self.lane.breaks(self.rng)
        act = self.rng.choices(list(ACTS), [weight for weight, _ in ACTS.values()])[0]
        self.outcome.did.append(f"{act} [{broken}]" if broken else act)
        before = self._count_speech()
        await ACTS[act][1](self)
        await self.caller.heard()
        if act in SPOKEN and self._count_speech() == before and not self.caller.closed:
            self.outcome.faults.append(f"nobody noticed the speech of {act!r}")

    async def _leave(self) -> None:
        end = self.rng.choices(list(ENDS), [weight for weight, _ in ENDS.values()])[0]
        self.outcome.did.append(f"then {end}")
        if end != "close":
            turn = asyncio.create_task(self._turn())
            await asyncio.sleep(self.rng.uniform(0, 0.8))
            turn.cancel()
            with suppress(asyncio.CancelledError):
                await turn
        ENDS[end][1](self.caller)

    def _count_speech(self) -> int:
        return self.caller.count("input_audio_buffer.committed")

    # Turns

    async def speak(self) -> None:
        """A question."""
        await self.caller.say(silence(0.3) + spoken() + silence(0.8))

    async def write(self) -> None:
        """A text."""
        await self.caller.write(self.rng.choice(("Hello.", "What is it?", LONG)))

    async def hum(self) -> None:
        """A sound without words."""
        self.lane.vendors.stt.words = ""
        await self.caller.say(silence(0.2) + hum(self.rng.choice((0.1, 0.3, 0.6))) + silence(0.8))

    async def barge_in(self) -> None:
        """A question over the answer to another."""
        await self._until_answered()
        await self.speak()

    async def hum_over(self) -> None:
        """A sound without words over an answer."""
        await self._until_answered()
        await self.hum()

    async def agree(self) -> None:
        """A word of a listener over an answer."""
        await self._until_answered()
        self.lane.vendors.stt.words = "Mhm."
        await self.caller.say(hum(0.4) + silence(0.8))

    async def cancel(self) -> None:
        """A question, and the wish not to have it answered."""
        await self._until_answered()
        await self.caller.send("response.cancel", event_id="cancel")

    async def clear(self) -> None:
        """Half a question, taken back."""
        await self.caller.say(silence(0.3) + spoken()[: 24_000 * 2])
        await self.caller.send("input_audio_buffer.clear")

    async def fall_silent(self) -> None:
        """A question, after which the microphone sends nothing more."""
        ended = self._count_speech()
        await self.caller.say(silence(0.3) + spoken())
        await self.caller.until(lambda: self._count_speech() > ended, 10)

    async def _until_answered(self) -> None:
        began = self.caller.count("response.created")
        kind = self.rng.choice(("response.created", "response.output_audio.delta"))
        heard = self.caller.count(kind)
        await (self.caller.write(LONG) if self.rng.random() < 0.5 else self.speak())
        await self.caller.until(lambda: self.caller.count(kind) > heard, 5)
        await asyncio.sleep(self.rng.uniform(0, 0.3) if self.caller.count("response.created") > began else 0)


ACTS: dict[str, tuple[int, Any]] = {
    "speak": (35, Script.speak),
    "write": (20, Script.write),
    "hum": (7, Script.hum),
    "barge in": (15, Script.barge_in),
    "hum over the agent": (7, Script.hum_over),
    "mhm over the agent": (7, Script.agree),
    "cancel": (5, Script.cancel),
    "clear": (3, Script.clear),
    "fall silent": (4, Script.fall_silent),
}


SPOKEN = ("speak", "barge in", "fall silent")
"""Acts with a question, which no detector may miss."""


def _transport(caller: Caller) -> Any:
    connection = caller.socket._response.connection
    return connection.transport if connection is not None else None


def _abort(caller: Caller) -> None:
    if (transport := _transport(caller)) is not None:
        transport.abort()


def _half_close(caller: Caller) -> None:
    if (transport := _transport(caller)) is not None and transport.can_write_eof():
        transport.write_eof()


def _cut_in_append(caller: Caller) -> None:
    """A frame of 4,000 bytes of which half is sent."""
    if (transport := _transport(caller)) is not None:
        transport.write(
            bytes((0x81, 0x80 | 126)) + (4000).to_bytes(2, "big") + bytes(4) + b'{"type":' + b" " * 2000
        )
        asyncio.get_running_loop().call_later(0.05, transport.abort)


ENDS: dict[str, tuple[int, Callable[[Caller], None]]] = {
    "close": (40, lambda _: None),
    "close in mid-turn": (15, lambda _: None),
    "abort in mid-turn": (15, _abort),
    "half-close in mid-turn": (15, _half_close),
    "cut in mid-append": (15, _cut_in_append),
}
