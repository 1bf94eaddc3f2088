"""Malformed answers of vendors: ``python -m tests.soak.answers --megabytes 10``.

Each answer begins faithful and is then cut anywhere; frames are left out, doubled, reordered, of another
type or mutated. It is made from (seed, number) alone. A good vendor is the fallback: whoever has heard
nothing must hear that one. Reported: silent answers, vendors' texts that got out, hangs, foreign exceptions.
"""

# ruff: noqa: E501  (tables of answers)
from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from agentsd.core.errors import ProviderError
from agentsd.providers.catalog import default_catalog
from agentsd.providers.resilience.builder import build_provider
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.telemetry import Metrics
from tests.soak import shapes
from tests.vendors.leaks import net
from tests.vendors.openai_server import OpenAIServer, chunks, completion, voice_of, wav_header
from tests.vendors.raw_server import RawServer, frame, reply

KEY = "sk-canary-of-answers-77"
WORDS = "these are a vendor's own words"
"""A text that stands in errors and other places that are not content."""
HANG_SECONDS = 20.0
LARGE_BYTES = 4000
"""Bytes of a value that is rarely used: many small answers find more than a few large ones."""
QUICK = {"retries": 0, "timeout_seconds": 0.4, "idle_timeout_seconds": 0.1, "connect_timeout_seconds": 5}
ASK = {"messages": [{"role": "user", "content": "Hello"}], "stream_options": {"include_usage": True}}
GOOD = "This is a test."
ERROR = {"message": f"{WORDS}: {KEY}", "type": KEY, "code": KEY, "param": KEY}
FOREIGN: tuple[bytes, ...] = (
    b"data: [DONE]\n\n",
    b"data: " + orjson.dumps({"error": ERROR}) + b"\n\n",
    b"event: error\ndata: " + orjson.dumps(ERROR) + b"\n\n",
    b"error: " + orjson.dumps(ERROR) + b"\n\n",
    orjson.dumps({"error": ERROR}) + b"\n",
    b"data: " + orjson.dumps({"detail": f"{WORDS} {KEY}"}) + b"\n\n",
    b"data: " + orjson.dumps({"object": "error", **ERROR}) + b"\n\n",
    b'data: {"choices":[]}\n\n',
    b'data: {"choices":[{"index":0,"delta":null,"finish_reason":null}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"error","error":' + orjson.dumps(ERROR) + b"}]}\n\n",
    b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"a"}}],"x":NaN}\n\n',
    b"<html>" + WORDS.encode() + KEY.encode() + b"</html>\n",
    b": comment\n\n",
    b"data:\n\n",
    b"data: 42\n\n",
    b"\0" * 99,
    b"\xff\xfe\r\n\r\n",
)  # fmt: skip
TYPES = ("application/json", "text/event-stream", "text/html", "text/plain", "application/octet-stream")


@dataclass
class Tally:
    """What came of it."""

    seed: int
    bytes: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The report."""
        text = [f"seed {self.seed}: {self.outcomes.total()} answers, {self.bytes} bytes"]
        for kind in sorted({kind for kind, _ in self.outcomes}):
            counts = {what: count for (one, what), count in self.outcomes.items() if one == kind}
            text.append(
                f"{kind:<12} " + ", ".join(f"{what} {count}" for what, count in sorted(counts.items()))
            )
        said = Counter(one.partition(": ")[2] for one in self.findings)
        text += [f"FINDING ×{count}: {what}" for what, count in said.items()]
        return [*text, *self.findings[:20]]


def shuffled(random: Random, frames: Sequence[bytes]) -> list[bytes]:
    """Frames of which some are missing, doubled, reordered or of another type."""
    out = list(frames)
    for _ in range(random.choice((0, 1, 1, 2, 4))):
        at = random.randrange(len(out) + 1)
        kind = random.randrange(4)
        if kind == 0 and out:
            del out[min(at, len(out) - 1)]
        elif kind == 1 and out:
            out.insert(at, random.choice(out))
        elif kind == 2:
            random.shuffle(out)
        else:
            out.insert(at, random.choice(FOREIGN))
    return out


def cut(random: Random, data: bytes) -> bytes:
    """Bytes that sometimes end anywhere."""
    return data[: random.randrange(len(data) + 1)] if data and random.random() < 0.25 else data


def mutated(random: Random, value: Any) -> bytes:
    """JSON, sometimes with one place changed."""
    changed = shapes.dumps(shapes.mutated(random, value)) if random.random() < 0.3 else b""
    if not changed or (len(changed) > LARGE_BYTES and random.random() < 0.98):
        changed = shapes.dumps(value)
    return changed.replace(b"\n", b" ")


def stream_answer(random: Random) -> bytes:
    """A streamed completion, in chunks or until the connection closes."""
    words = [
        random.choice(("Hello ", "\u4f60\u597d", "x" * 300, "\n", ""))
        for _ in range(random.choice((1, 4, 12)))
    ]
    events = [b"data: " + mutated(random, json.loads(one)) + b"\n\n" for one in chunks(ASK, words)]
    if random.random() < 0.2:
        call = {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}
        events.insert(
            1, b"data: " + mutated(random, {"choices": [{"delta": {"tool_calls": [call]}}]}) + b"\n\n"
        )
    body = cut(random, b"".join(shuffled(random, [*events, b"data: [DONE]\n\n"])))
    kind = "text/event-stream" if random.random() < 0.85 else random.choice(TYPES)
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode() + body


def whole_answer(random: Random, value: dict[str, Any]) -> bytes:
    """A whole answer, or an error in its place."""
    chosen = random.choice(
        (value, value, value, {"error": ERROR}, {"detail": WORDS}, {}, {**value, "error": ERROR})
    )
    body = cut(random, mutated(random, chosen))
    status = (
        "200 OK" if random.random() < 0.8 else random.choice(("400 x", "402 x", "403 x", "429 x", "500 x"))
    )
    return reply(body, "application/json" if random.random() < 0.9 else random.choice(TYPES), status=status)


def speech_answer(random: Random) -> bytes:
    """PCM, WAV, or something else under the same name."""
    sound = voice_of("a short sentence")
    body = random.choice(
        (sound, sound, wav_header(24_000, len(sound)) + sound, wav_header(8_000, 0) + sound, b"", b"\1", b"ID3" + sound,
         b"OggS" + sound, b"<html>" + WORDS.encode(), orjson.dumps({"error": ERROR}), b"Not Found", b"RIFF" + sound)
    )  # fmt: skip
    return reply(cut(random, body), random.choice(("audio/pcm", "audio/wav", "audio/mpeg", *TYPES)))


def socket_answer(random: Random, messages: Sequence[Any]) -> bytes:
    """Messages of a WebSocket, then a close."""
    faithful = [frame(one if isinstance(one, bytes) else mutated(random, one), 2 if isinstance(one, bytes) else 1)
                for one in messages]  # fmt: skip
    others = (
        frame(orjson.dumps({"error": ERROR})),
        frame(b"42"),
        frame(b"\xff", 2),
        frame(b"{", 1),
        frame(b"", 9),
    )
    out = shuffled(random, faithful)
    out = [random.choice(others) if one in FOREIGN else one for one in out]
    code = random.choice((1000, 1000, 1008, 1011))
    return cut(random, b"".join([*out, frame(code.to_bytes(2, "big") + WORDS.encode(), 8)]))


async def text() -> AsyncIterator[str]:
    """A sentence."""
    yield "Hello there. "


async def pcm() -> AsyncIterator[bytes]:
    """A tenth of a second."""
    yield bytes(3200)


async def collect(stream: AsyncIterator[Any], heard: list[Any]) -> None:
    """All of ``stream``, what came before a failure included."""
    async for item in stream:
        heard.append(item)


Ask = Callable[[Any, list[Any]], Any]


@dataclass(frozen=True)
class Kind:
    """A kind of provider: its section, how it is asked, what its vendor sends, and whether it answered."""

    section: str
    fields: dict[str, Any]
    ask: Ask
    answer: Callable[[Random], bytes]
    answered: Callable[[list[Any]], bool]


def _has_text(heard: list[Any]) -> bool:
    bodies = [
        one.get("delta") or one.get("message") or {} for each in heard for one in each.get("choices", ())
    ]
    texts = "".join(str(body.get(key) or "") for body in bodies for key in ("content", "refusal"))
    return bool(texts.strip()) or any(
        body.get(key) for body in bodies for key in ("tool_calls", "function_call")
    )


async def _whole(llm: Any, heard: list[Any]) -> None:
    heard.append(await llm.complete(ASK))


async def _vectors(embedding: Any, heard: list[Any]) -> None:
    heard.extend(await embedding.embed(["a", "b"]))


def _kinds(raw: RawServer) -> dict[str, Kind]:
    http = {"provider": "openai-compatible", "model": "m", "api_key": KEY, "api_url": raw.url}
    rows = [{"index": at, "embedding": [0.5, 1.0]} for at in range(2)]
    sound = "AAECAwQFBgcICQoLDA0ODw=="
    results = {"type": "Results", "is_final": True, "from_finalize": True,
               "channel": {"alternatives": [{"transcript": "Hi."}]}}  # fmt: skip

    def speak(one: Any, heard: list[Any]) -> Any:
        return collect(one.stream(text()), heard)

    def listen(one: Any, heard: list[Any]) -> Any:
        return collect(one.stream(pcm()), heard)

    def sounded(heard: list[Any]) -> bool:
        return sum(map(len, heard)) > 0

    def any_text(heard: list[Any]) -> bool:
        return True  # silence is an answer to speech

    def socket(*messages: Any) -> Callable[[Random], bytes]:
        return lambda random: socket_answer(random, messages)

    return {
        "stream": Kind("llm", http, lambda one, heard: collect(one.stream(ASK), heard), stream_answer, _has_text),
        "whole": Kind("llm", http, _whole, lambda random: whole_answer(random, completion({}, "Hello.")), _has_text),
        "speech": Kind("tts", {**http, "voice": "v"}, speak, speech_answer, sounded),
        "transcript": Kind("stt", http, listen, lambda random: whole_answer(random, {"text": "Hi."}), any_text),
        "vectors": Kind("embedding", http, _vectors, lambda random: whole_answer(random, {"data": rows}), lambda
                        heard: len(heard) == 2 and all(heard)),
        "elevenlabs": Kind("tts", {"provider": "elevenlabs.io", "api_key": KEY, "voice_id": "v", "url": raw.ws_url},
                           speak, socket({"audio": sound}, {"audio": sound}, {"isFinal": True}), sounded),
        "deepgram": Kind("tts", {"provider": "deepgram.com", "api_key": KEY, "url": raw.ws_url},
                         speak, socket(bytes(range(64)), {"type": "Flushed"}), sounded),
        "kokoro": Kind("tts", {"provider": "kokoro.local", "url": raw.ws_url}, speak, socket(
            {"type": "ready", "sample_rate": 24000}, wav_header(24_000, 64), bytes(range(64)), {"type": "end"}), sounded),
        "listening": Kind("stt", {"provider": "deepgram.com", "api_key": KEY, "url": raw.ws_url},
                          listen, socket(results, {"type": "Metadata"}), any_text),
        "whisper": Kind("stt", {"provider": "whisper.local", "url": raw.ws_url}, listen, socket(
            {"transcript": "Hi.", "is_final": True}), any_text),
    }  # fmt: skip


WEIGHTS = {"stream": 12, "whole": 4, "speech": 4, "transcript": 2, "vectors": 2}


class Soak:
    """One run."""

    def __init__(self, seed: int, raw: RawServer, good: OpenAIServer, sessions: HttpSessions) -> None:
        self.tally = Tally(seed)
        self._raw = raw
        self._kinds = _kinds(raw)
        self._order = [name for name in self._kinds for _ in range(WEIGHTS.get(name, 1))]
        catalog, metrics = default_catalog(), Metrics()
        fallback = {"provider": "openai-compatible", "model": "m", "api_url": good.url}
        self.providers: dict[str, Any] = {}
        for name, kind in self._kinds.items():
            voice = {"voice": "v"} if kind.section == "tts" else {}
            whole = {**kind.fields, **QUICK, "fallback": [{**fallback, **voice}]}
            settings = catalog.settings_of(kind.section, whole)
            self.providers[name] = build_provider(catalog, kind.section, settings, sessions, metrics)

    async def run(self, size: int, caught: Any) -> None:
        """Answer until so many bytes were sent."""
        number = 0
        while self.tally.bytes < size:
            random = Random(f"{self.tally.seed}:{number}")
            await self._one(random.choice(self._order), number, random, caught)
            number += 1

    async def _one(self, name: str, number: int, random: Random, caught: Any) -> None:
        kind = self._kinds[name]
        answer = self._raw.answer = kind.answer(random)
        self.tally.bytes += len(answer)
        heard: list[Any] = []
        outcome = "answered"
        try:
            async with asyncio.timeout(HANG_SECONDS):
                await kind.ask(self.providers[name], heard)
            if not kind.answered(heard):
                self._find(name, number, "a silent answer")
        except ProviderError as error:
            outcome = "failed later"
            caught.add(error)
            caught.texts.append(f"{error.code} {error.param}")
            if not any(map(kind.answered, ([one] for one in heard))) and not _thought(heard):
                self._find(name, number, "nothing was heard, and the fallback was not asked")
        except TimeoutError:
            outcome = "hang"
            self._find(name, number, "a hang")
        except Exception as error:
            outcome = "foreign"
            self._find(name, number, f"a foreign exception: {type(error).__name__}")
        if kind.section == "llm":
            caught.texts.append(str(heard))
        if any(KEY in one or WORDS in one for one in caught.texts):
            self._find(name, number, "a vendor's text got out")
        caught.texts.clear()
        for member in self.providers[name].chain.members:
            member._rest.until = 0.0  # it is asked first again
        self.tally.outcomes[name, outcome] += 1

    def _find(self, name: str, number: int, what: str) -> None:
        self.tally.findings.append(f"{self.tally.seed}:{number} {name}: {what}")


def _thought(heard: list[Any]) -> bool:
    """Whether thoughts were passed on before a failure: they are heard, though not an answer."""
    return any("reasoning" in str(one) for one in heard)


async def soak(seed: int, size: int) -> Tally:
    """Send ``size`` bytes of malformed answers."""
    sessions = HttpSessions()
    async with RawServer() as raw, OpenAIServer(record=False) as good:
        run = Soak(seed, raw, good, sessions)
        try:
            with net() as caught:
                await run.run(size, caught)
        finally:
            for provider in run.providers.values():
                await provider.aclose()
            await sessions.aclose()
    return run.tally


def main() -> None:
    """Run it from the command line; the exit status says whether something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    tally = asyncio.run(soak(given.seed, int(given.megabytes * 1e6)))
    print("\n".join(tally.lines()))
    sys.exit(bool(tally.findings))


if __name__ == "__main__":
    main()
