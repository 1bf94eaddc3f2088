"""Calls in real time: from the end of speech to the first sound, with and without eager answers; barge-in.

The vendors are servers with stated delays (``DELAYS``), in processes of their own. The caller's sentence is
**synthetic** (Piper); its end is its last sample above 1 % of full scale, and so is its onset. Run it on a
machine that nobody else uses: a busy one adds to every figure.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import aiohttp

from agentsd.audio import turn_model
from tests.bench.fleet import Fleet
from tests.bench.processes import serving, up, workspace
from tests.bench.report import Figure, Scale, main, p50, p99
from tests.bench.voice import manifest_of
from tests.bench.wire import run as run_async
from tests.services.sentences import speak
from tests.vendors.base import Socket
from tests.vendors.kokoro_server import KokoroServer
from tests.vendors.openai_server import OpenAIServer, wav_header
from tests.vendors.whisper_server import WhisperServer

DELAYS = {"stt": 0.1, "llm": 0.15, "tts": 0.1}
"""Seconds: from the end of sound to its transcript, to the first token, from a sentence to its sound."""
TOKEN_SECONDS = 0.01
RATE = 24_000
CHUNK_SECONDS = 0.02
LEAD_SECONDS, TAIL_SECONDS = 0.6, 2.0
SENTENCE = ("It ", "is ", "nine. ", "Then ", "we ", "close. ")
AGENTS: dict[str, dict[str, Any]] = {
    "silence": {"eager": False},
    "silence-eager": {"eager": True},
    "smart": {"detection": "smart", "eager": False},
    "smart-eager": {"detection": "smart", "eager": True},
}
_SERVE = (sys.executable, "-m", "tests.bench.first_sound", "--serve")


class DelayedModel(OpenAIServer):
    """Model that thinks before its first token."""

    async def refuse(self, request: Any) -> Any:
        """Think."""
        await asyncio.sleep(DELAYS["llm"])
        return await super().refuse(request)


class DelayedVoice(KokoroServer):
    """Voice that thinks before each sentence."""

    async def talk(self, socket: Socket) -> None:
        """Speak each text frame."""
        await super().talk(_SlowSocket(socket))  # type: ignore[arg-type]


class _SlowSocket:
    """Socket of a vendor whose sentences come later."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._begun = False

    async def next(self) -> str | bytes:
        """The next frame; a sentence is thought about."""
        frame = await self._socket.next()
        if self._begun and frame:
            await asyncio.sleep(DELAYS["tts"])
        self._begun = True
        return frame

    async def say(self, frame: Any) -> None:
        """As the socket."""
        await self._socket.say(frame)

    async def part(self, frame: Any) -> None:
        """As the socket."""
        await self._socket.part(frame)


class EndlessVoice(KokoroServer):
    """Voice that speaks on, a little faster than in real time, whatever it is given."""

    async def talk(self, socket: Socket) -> None:
        """Speak from the first sentence on."""
        await socket.next()
        await socket.say({"type": "ready", "sample_rate": self.rate, "format": "pcm_s16le"})
        await socket.next()
        await socket.say(wav_header(self.rate, 0))
        while True:
            await socket.part(bytes(480))
            await asyncio.sleep(0.008)


class DelayedRecogniser(WhisperServer):
    """Recogniser that thinks after the end."""

    words = "What is the capital of France?"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.words = type(self).words

    async def talk(self, socket: Socket) -> None:
        """Take the sound, and answer its end."""
        while await socket.next() != "end":
            continue
        await asyncio.sleep(DELAYS["stt"])
        await socket.part({"transcript": self.words, "is_final": True, "stability": 1.0})


def run(scale: Scale) -> Sequence[Figure]:
    """Calls in real time: end of speech to first sound, eager or not; onset of speech to the held voice."""
    agents = {name: turn for name, turn in AGENTS.items() if _is_possible(turn)}
    with workspace() as folder, vendor_servers() as urls:
        made = Fleet(folder / "agents.d", folder / "no-key", 2)
        made.root.mkdir()
        made.key_file.write_text("")
        for name, turn in agents.items():
            (made.root / f"{name}.yaml").write_text(json.dumps(manifest_of(urls) | {"turn": turn}))
        endless = manifest_of({**urls, "llm": urls["story"], "tts": urls["drip"]})
        (made.root / "endless.yaml").write_text(json.dumps(endless))
        with up(made, folder) as server:
            rounds = max(2, scale.samples // 10)
            heard = run_async(_measure(server.url, list(agents), rounds))
            held = run_async(_measure_hold(server.url, rounds))
    figures = []
    for name, values in heard.items():
        label = f"end of speech → first sound, {name}, p50"
        figures += [Figure(label, p50(values), "ms"), Figure("  p99", p99(values), "ms")]
    return [
        *figures,
        Figure("onset of speech → agent's voice held, p50", p50(held), "ms", 40),
        Figure("  p99", p99(held), "ms"),
    ]


def _is_possible(turn: dict[str, Any]) -> bool:
    return turn.get("detection") != "smart" or turn_model.find_turn_model() is not None


async def _measure(url: str, agents: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Milliseconds by agent, by turns; each round at another place of the detector's frames."""
    found: dict[str, list[float]] = {name: [] for name in agents}
    async with aiohttp.ClientSession() as http:
        for number in range(rounds + 1):
            for name in agents:
                spent = await _take_turn(http, f"{url}/v1/realtime?model={name}", number)
                if number:
                    found[name].append(spent * 1e3)
    return found


def make_speech(number: int) -> tuple[bytes, float, float]:
    """Return a sentence within silence, and the seconds at which it begins and ends."""
    lead = LEAD_SECONDS + number * 0.0073 % 0.032
    voice = speak("What is the capital of France?", rate=RATE)
    sound = bytes(int(lead * RATE) * 2) + voice
    return sound + bytes(int(TAIL_SECONDS * RATE) * 2), lead, len(sound) / RATE / 2


async def _take_turn(http: aiohttp.ClientSession, url: str, number: int) -> float:
    sound, _, ends = make_speech(number)
    async with http.ws_connect(url) as socket:
        began = time.perf_counter()
        feeding = asyncio.create_task(_feed(socket, sound, began))
        try:
            async with asyncio.timeout(10):
                return await _wait_for_sound(socket) - began - ends
        finally:
            feeding.cancel()


async def _measure_hold(url: str, rounds: int) -> list[float]:
    """Milliseconds from the onset of speech to the last sound that left while it could be a caller's."""
    found = []
    async with aiohttp.ClientSession() as http:
        for number in range(rounds):
            sound, begins, _ = make_speech(number)
            async with http.ws_connect(f"{url}/v1/realtime?model=endless") as socket:
                await socket.send_json({"type": "session.update", "session": {"type": "realtime"}})
                await socket.send_json({"type": "response.create"})
                await _wait_for_sound(socket)
                began = time.perf_counter()
                feeding = asyncio.create_task(_feed(socket, sound, began))
                try:
                    async with asyncio.timeout(10):
                        found.append((await _wait_for_silence(socket) - began - begins) * 1e3)
                finally:
                    feeding.cancel()
    return found


async def _feed(socket: aiohttp.ClientWebSocketResponse, sound: bytes, began: float) -> None:
    """Send ``sound`` as a microphone does: each piece when it is whole."""
    size = int(CHUNK_SECONDS * RATE) * 2
    for number, at in enumerate(range(0, len(sound), size), 1):
        await asyncio.sleep(max(0.0, began + number * CHUNK_SECONDS - time.perf_counter()))
        piece = base64.b64encode(sound[at : at + size]).decode()
        await socket.send_json({"type": "input_audio_buffer.append", "audio": piece})


async def _wait_for_sound(socket: aiohttp.ClientWebSocketResponse) -> float:
    async for message in socket:
        if json.loads(message.data)["type"] == "response.output_audio.delta":
            return time.perf_counter()
    raise RuntimeError("the call ended")


async def _wait_for_silence(socket: aiohttp.ClientWebSocketResponse) -> float:
    """When the last sound came before the answer was interrupted."""
    last = time.perf_counter()
    async for message in socket:
        kind = json.loads(message.data)["type"]
        if kind == "response.output_audio.delta":
            last = time.perf_counter()
        elif kind == "response.done":
            return last
    raise RuntimeError("the call ended")


@contextmanager
def vendor_servers() -> Iterator[dict[str, str]]:
    """One server of each kind, in processes of their own. ``kind → URL``."""
    with ExitStack() as stack:
        kinds = ("llm", "stt", "tts", "story", "drip")
        yield {kind: stack.enter_context(serving([*_SERVE, kind], {"PATH": ""})).url for kind in kinds}


def make_server(kind: str) -> OpenAIServer | KokoroServer | WhisperServer:
    """Return a vendor that is late, or without an end."""
    if kind == "llm":
        return DelayedModel(words=SENTENCE, delay=TOKEN_SECONDS, record=False)
    if kind == "story":
        return OpenAIServer(words=SENTENCE * 400, delay=0.005, record=False)
    if kind == "stt":
        return DelayedRecogniser(record=False)
    return DelayedVoice(record=False) if kind == "tts" else EndlessVoice(record=False)


async def _serve(kind: str) -> None:
    async with make_server(kind) as server:
        print(server.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    if "--serve" in sys.argv:
        asyncio.run(_serve(sys.argv[-1]))
    else:
        main(run)
