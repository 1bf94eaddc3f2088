"""Servers that speak Deepgram's two WebSockets: speak (text to speech) and listen (speech to text)."""

from __future__ import annotations

import json
from typing import Any

from tests.vendors.async_ai_server import pieces
from tests.vendors.base import Socket, SocketServer, main
from tests.vendors.openai_server import heard, voice_of

ERROR = '{"type": "Error", "err_code": "RATE_LIMIT", "code": 429, "description": "secret words"}'


class DeepgramSpeakServer(SocketServer):
    """Speaks at ``Flush``: binary audio, then ``Flushed``."""

    path = "/v1/speak"
    error_frame = ERROR

    async def talk(self, socket: Socket) -> None:
        """https://developers.deepgram.com/docs/tts-websocket"""
        await socket.say({"type": "Metadata", "request_id": "r", "model_name": socket.query["model"]})
        text = ""
        while (message := json.loads(await socket.next()))["type"] != "Close":
            if message["type"] == "Speak":
                text += message["text"]
                continue
            for part in pieces(voice_of(text)):
                await socket.part(part)
            text = ""
            await socket.say({"type": "Flushed", "sequence_id": 0})


class DeepgramListenServer(SocketServer):
    """A partial result for each second of audio, a final one at ``Finalize``, ``Metadata`` at the end."""

    path = "/v1/listen"
    error_frame = ERROR

    async def talk(self, socket: Socket) -> None:
        """https://developers.deepgram.com/reference/speech-to-text/listen-streaming"""
        second = int(socket.query["sample_rate"]) * 2
        pcm, told = b"", 0
        while True:
            frame = await socket.next()
            if isinstance(frame, bytes):
                pcm += frame
                if len(pcm) - told >= second:
                    told = len(pcm)
                    await socket.say({"type": "SpeechStarted", "timestamp": 0.0})
                    await socket.part(result(heard(pcm), final=False))
                continue
            kind = json.loads(frame)["type"]
            if kind == "Finalize":
                await socket.part(result(heard(pcm), final=True, from_finalize=True))
                await socket.part(result("", final=True))
                await socket.say({"type": "UtteranceEnd", "last_word_end": 1.0})
            if kind == "CloseStream":
                await socket.say({"type": "Metadata", "duration": len(pcm) / second, "channels": 1})
                return


def result(text: str, *, final: bool, from_finalize: bool = False) -> dict[str, Any]:
    """A ``Results`` message."""
    return {
        "type": "Results",
        "is_final": final,
        "speech_final": final,
        "from_finalize": from_finalize,
        "channel": {"alternatives": [{"transcript": text, "confidence": 0.99, "words": []}]},
    }


if __name__ == "__main__":
    main(
        lambda options: DeepgramListenServer() if options.listen else DeepgramSpeakServer(),
        ("--listen", {"action": "store_true", "help": "speech to text instead of text to speech"}),
    )
