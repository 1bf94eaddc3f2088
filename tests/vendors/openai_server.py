"""A server of OpenAI's HTTP protocol, under any path: chat, speech, transcriptions, embeddings.

Run it for a demo or a bench: ``python -m tests.vendors.openai_server --port 9000 --words 50 --delay 0.01``.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import orjson
from aiohttp import web

from tests.vendors.base import Fault, Received, VendorServer, drop, main, observed

CREATED = 1_700_000_000
WORDS = ("This ", "is ", "a ", "test.")
DONE = b"data: [DONE]\n\n"


class OpenAIServer(VendorServer):
    """``words`` is the answer, one chunk each. ``noisy`` adds comments, CRLF and other fields.

    ``done`` False ends a stream without ``[DONE]``, as some servers do. ``audio`` is what speech
    answers (PCM; a voice of its own for each text where empty), ``rate`` its hertz, ``transcript``
    what transcriptions answer (None: ``heard`` of the audio).

    ``script`` has the next answers to chats, of words and calls; ``always`` is the answer to each of them, as
    of a model that calls the same tool for ever. A model that may call no tool (``tool_choice: none``)
    answers ``words``, unless it is ``stubborn``.
    """

    def __init__(
        self,
        *,
        words: Iterable[str] = WORDS,
        done: bool = True,
        noisy: bool = False,
        audio: bytes = b"",
        rate: int = 24_000,
        transcript: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.words = tuple(words)
        self.scripted: dict[str, Iterable[str]] = {}  # by the newest message: answers instead of ``words``
        self.naming = False  # the answer is the name of the model
        self.models = ["m"]  # as it lists them
        self.done = done
        self.noisy = noisy
        self.audio = audio
        self.rate = rate
        self.transcript = transcript
        self.fault_at = 2  # the chunk of a stream before which a fault strikes: 1 leaves the role alone
        self.soundless = False  # speech is a 200 without a byte
        self.faults: list[Fault | None] = []  # of the next chats
        self.script: list[Iterable[str | Call]] = []
        self.always: Iterable[str | Call] | None = None
        self.stubborn = False
        self.finish: str | None = None  # the reason of each end of a chat, instead of the right one
        self.growing_usage = False  # each chunk of a stream has the usage so far
        self.transcripts: list[tuple[float, str | None]] = []  # the next ones, (seconds, None: an error)

    @property
    def last_chat(self) -> dict[str, Any]:
        """The body of the newest chat."""
        return next(one.body for one in reversed(self.requests) if "messages" in (one.body or {}))

    def routes(self, app: web.Application) -> None:
        """Any prefix: vendors differ in it."""
        app.router.add_post("/{prefix:.*}chat/completions", self._completions)
        app.router.add_post("/{prefix:.*}audio/speech", self._speech)
        app.router.add_post("/{prefix:.*}audio/transcriptions", self._transcriptions)
        app.router.add_post("/{prefix:.*}audio/translations", self._transcriptions)
        app.router.add_post("/{prefix:.*}embeddings", self._embeddings)
        app.router.add_get("/{prefix:.*}models", self._models)

    def answer(self, body: dict[str, Any]) -> Iterable[str | dict[str, Any]]:
        """The words of a streamed answer; a dict is a whole delta."""
        return (body["model"],) if self.naming else deltas_of(self.play(body))

    def play(self, body: dict[str, Any]) -> list[str | Call]:
        """The words and calls of the next answer."""
        if body.get("tool_choice") == "none" and not self.stubborn:
            return list(self.words)
        if self.script:
            return list(self.script.pop(0))
        if self.always is not None:
            return list(self.always)
        return list(self.scripted.get(str(body["messages"][-1]["content"]), self.words))

    def _bend(self, chunk: bytes, number: int) -> bytes:
        """A chunk as ``finish`` and ``growing_usage`` want it."""
        value = orjson.loads(chunk)
        for choice in value["choices"]:
            choice["finish_reason"] = choice["finish_reason"] and (self.finish or choice["finish_reason"])
        if self.growing_usage and value["choices"]:
            written = min(number, 4)
            value["usage"] = {"prompt_tokens": 1, "completion_tokens": written, "total_tokens": 1 + written}
        return orjson.dumps(value)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        self.receive(request)
        refusal = await self.refuse(request)
        if refusal is not None:
            return refusal
        return web.json_response({"object": "list", "data": [{"id": name} for name in self.models]})

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        received = self.receive(request, body)
        return await observed(received, self._complete(request, body))

    async def _complete(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if self.faults:
            self.fault = self.faults.pop(0)
        refusal = await self.refuse(request)
        if refusal is not None:
            return refusal
        if body.get("stream"):
            return await self._stream(request, body)
        return await self._whole(request, body)

    async def _whole(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await self.pause()
        answer = whole_of(body, self.play(body))
        if self.finish:
            answer["choices"][0]["finish_reason"] = self.finish
        data = self._bad_whole() or orjson.dumps(answer)
        if self.fault in (
            Fault.EARLY_CLOSE,
            Fault.EARLY_END,
            Fault.SILENT,
            Fault.STALL_LATER,
            Fault.SLOW_DRIP,
        ):
            return await self._piecemeal(request, data, "application/json")
        return web.Response(body=data, content_type="application/json")

    def _bad_whole(self) -> bytes:
        error = orjson.dumps({"error": {"message": "secret words", "code": 429}})
        bad = {
            Fault.MALFORMED_FRAME: b"<html>no</html>",
            Fault.NUMBER_FRAME: b"42 ",
            Fault.ERROR_FRAME: error,
        }
        return bad.get(self.fault, b"") if self.fault else b""

    async def _stream(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if self.fault is Fault.SILENT:
            await asyncio.Event().wait()
        end = b"\r\n\r\n" if self.noisy else b"\n\n"
        for number, chunk in enumerate(chunks(body, self.answer(body))):
            if number == self.fault_at and await self._misbehave(request, response):
                return response
            await self.pause()
            if self.noisy:
                await response.write(b": keep-alive\r\n\r\nevent: chunk\r\nid: 1\r\nretry: 10\r\n")
            sent = self._bend(chunk, number) if self.finish or self.growing_usage else chunk
            await self._write(response, b"data: " + sent + end)
        if self.done:
            await self._write(response, DONE)
        await response.write_eof()
        return response

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        if self.fault is not Fault.SLOW_DRIP:
            await response.write(data)
            return
        for offset in range(len(data)):
            await response.write(data[offset : offset + 1])
            await asyncio.sleep(0)

    async def _misbehave(self, request: web.Request, response: web.StreamResponse) -> bool:
        """The fault in the middle of a stream; True if the stream is over."""
        frames = {
            Fault.ERROR_FRAME: b'data: {"error":{"message":"secret words","code":429}}\n\n',
            Fault.MALFORMED_FRAME: b'data: {"choices": [secret words\n\n',
            Fault.NUMBER_FRAME: b"data: 42 \n\n",
        }
        frame = frames.get(self.fault) if self.fault else None
        if frame:
            await response.write(frame)
        elif self.fault is Fault.STALL_LATER:
            await asyncio.Event().wait()
        elif self.fault is Fault.EARLY_CLOSE:
            drop(request)
        return self.fault in (Fault.EARLY_CLOSE, Fault.EARLY_END)

    async def _piecemeal(self, request: web.Request, data: bytes, content_type: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        response.content_length = len(data)
        await response.prepare(request)
        if self.fault is Fault.SLOW_DRIP:
            await self._write(response, data)
            return response
        if self.fault is not Fault.SILENT:
            await response.write(data[: len(data) // 2])
        if self.fault in (Fault.SILENT, Fault.STALL_LATER):
            await asyncio.Event().wait()
        drop(request)
        return response

    async def _speech(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        received = self.receive(request, body)
        return await observed(received, self._speak(request, body))

    async def _speak(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        refusal = await self.refuse(request)
        if refusal is not None:
            return refusal
        bad = self._bad_whole()
        if bad:
            return web.Response(body=bad, content_type="application/json")
        audio = b"" if self.soundless else self.audio or voice_of(body["input"])
        if body.get("response_format") == "wav":
            audio = wav_header(self.rate, len(audio)) + audio
        if self.fault in (Fault.EARLY_CLOSE, Fault.EARLY_END, Fault.SILENT, Fault.STALL_LATER):
            return await self._piecemeal(request, audio, "audio/pcm")
        response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
        await response.prepare(request)
        for offset in range(0, len(audio), 1001):  # odd: samples are cut in two
            await self.pause()
            await response.write(audio[offset : offset + 1001])
        return response

    async def _transcriptions(self, request: web.Request) -> web.StreamResponse:
        fields = await request.post()
        form: dict[str, Any] = {
            name: _contents(value) if isinstance(value, web.FileField) else value
            for name, value in fields.items()
        }
        received = self.receive(request, form)
        return await observed(received, self._transcribe(request, form))

    async def _transcribe(self, request: web.Request, form: dict[str, Any]) -> web.StreamResponse:
        text = heard(form["file"][44:]) if self.transcript is None else self.transcript
        if self.transcripts:
            seconds, scripted = self.transcripts.pop(0)
            await asyncio.sleep(seconds)
            if scripted is None:
                return web.Response(status=500)
            text = scripted
        refusal = await self.refuse(request)
        if refusal is not None:
            return refusal
        data = self._bad_whole() or orjson.dumps({"text": text})
        if self.fault in (Fault.EARLY_CLOSE, Fault.EARLY_END, Fault.SILENT, Fault.STALL_LATER):
            return await self._piecemeal(request, data, "application/json")
        return web.Response(body=data, content_type="application/json")

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        received = self.receive(request, body)
        return await observed(received, self._embed(request, body))

    async def _embed(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        refusal = await self.refuse(request)
        if refusal is not None:
            return refusal
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        size = body.get("dimensions") or 8
        rows = [
            {"object": "embedding", "index": index, "embedding": vector_of(text, size)}
            for index, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        answer = {"object": "list", "data": rows[::-1], "model": body["model"], "usage": usage}
        data = self._bad_whole() or orjson.dumps(answer)
        if self.fault in (Fault.EARLY_CLOSE, Fault.EARLY_END, Fault.SILENT, Fault.STALL_LATER):
            return await self._piecemeal(request, data, "application/json")
        return web.Response(body=data, content_type="application/json")


def _contents(field: web.FileField) -> bytes:
    with field.file as file:
        return file.read()


@dataclass(frozen=True)
class Call:
    """A call of a tool, whose ``arguments`` are any text and come in ``pieces``."""

    name: str
    arguments: str = "{}"
    id: str = "call_1"
    pieces: int = 3
    named_in_pieces: bool = False


def deltas_of(parts: Iterable[str | Call]) -> list[str | dict[str, Any]]:
    """The words and the deltas of the calls; parts of parallel calls come in turns."""
    parts = list(parts)
    calls = [list(_call_deltas(one, at)) for at, one in enumerate(p for p in parts if isinstance(p, Call))]
    turns = [one for turn in zip_longest(*calls) for one in turn if one is not None]
    return [*(one for one in parts if isinstance(one, str)), *turns]


def _call_deltas(call: Call, index: int) -> Iterator[dict[str, Any]]:
    half = len(call.name) // 2 if call.named_in_pieces else len(call.name)
    first = {"name": call.name[:half], "arguments": ""}
    yield {"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": first}]}
    if call.named_in_pieces:
        yield {"tool_calls": [{"index": index, "function": {"name": call.name[half:]}}]}
    size = max(1, -(-len(call.arguments) // call.pieces))
    for at in range(0, len(call.arguments), size):
        piece = {"arguments": call.arguments[at : at + size]}
        yield {"tool_calls": [{"index": index, "function": piece}]}


def whole_of(body: dict[str, Any], parts: Iterable[str | Call]) -> dict[str, Any]:
    """A ``chat.completion`` of words and calls."""
    parts = list(parts)
    text = "".join(one for one in parts if isinstance(one, str))
    calls = [
        {"id": one.id, "type": "function", "function": {"name": one.name, "arguments": one.arguments}}
        for one in parts
        if isinstance(one, Call)
    ]
    answer = completion(body, text)
    for choice in answer["choices"] if calls else ():
        choice["message"] = {"role": "assistant", "content": text or None, "tool_calls": calls}
        choice["finish_reason"] = "tool_calls"
    return answer


def completion(body: dict[str, Any], text: str) -> dict[str, Any]:
    """A ``chat.completion``."""
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-vendor",
        "object": "chat.completion",
        "created": CREATED,
        "model": body.get("model"),
        "choices": [
            {"index": index, "message": message, "finish_reason": "stop"}
            for index in range(body.get("n") or 1)
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5},
    }


def chunks(body: dict[str, Any], words: Iterable[str | dict[str, Any]]) -> list[bytes]:
    """``chat.completion.chunk`` objects as JSON: the role, the words, the end, and usage where asked for.

    A word may be a whole delta, as of a call; ``finish_reason`` in it is the choice's.
    """
    deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": word} if isinstance(word, str) else word, None) for word in words]
    end = "tool_calls" if any("tool_calls" in delta for delta, _ in deltas) else "stop"
    deltas.append(({}, str(deltas[-1][0].pop("finish_reason", end))))
    head = {
        "id": "chatcmpl-vendor",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": body.get("model"),
    }
    lines = [
        orjson.dumps(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})
        for delta, reason in deltas
    ]
    if (body.get("stream_options") or {}).get("include_usage"):
        usage = {"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5}
        lines.append(orjson.dumps(head | {"choices": [], "usage": usage}))
    return lines


def voice_of(text: str) -> bytes:
    """PCM that only this text has, 16 samples a character: what a test compares byte for byte."""
    return b"".join(hashlib.sha256(char.encode()).digest() for char in text)


def heard(pcm: bytes) -> str:
    """The transcript that only this audio has."""
    return f"heard {len(pcm)} bytes, {hashlib.sha256(pcm).hexdigest()[:12]}."


def vector_of(text: str, size: int) -> list[float]:
    """A vector that only this text has."""
    digest = hashlib.sha256(text.encode()).digest()
    return [digest[index % 32] / 255 for index in range(size)]


def wav_header(rate: int, size: int) -> bytes:
    """The 44 bytes before 16-bit mono PCM."""
    return b"".join(
        (
            b"RIFF",
            (36 + size).to_bytes(4, "little"),
            b"WAVEfmt ",
            (16).to_bytes(4, "little"),
            (1).to_bytes(2, "little"),
            (1).to_bytes(2, "little"),
            rate.to_bytes(4, "little"),
            (rate * 2).to_bytes(4, "little"),
            (2).to_bytes(2, "little"),
            (16).to_bytes(2, "little"),
            b"data",
            size.to_bytes(4, "little"),
        )
    )


__all__ = ["Call", "Fault", "OpenAIServer", "Received", "voice_of", "wav_header"]

if __name__ == "__main__":
    main(
        lambda options: OpenAIServer(words=[f"word{i} " for i in range(options.words)]),
        ("--words", {"type": int, "default": 4, "help": "chunks of a streamed answer"}),
    )
