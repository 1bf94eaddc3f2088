"""A server that speaks async.ai's text-to-speech WebSocket."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.vendors.base import Socket, SocketServer, main
from tests.vendors.openai_server import voice_of


class AsyncAIServer(SocketServer):
    """Speaks each transcript at once; an empty one is answered by ``final``, without audio."""

    path = "/text_to_speech/websocket/ws"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.formats: list[dict[str, Any]] = []  # the first message of each conversation

    async def talk(self, socket: Socket) -> None:
        """See https://docs.async.ai/."""
        self.formats.append(json.loads(await socket.next()))
        while text := json.loads(await socket.next())["transcript"]:
            for part in pieces(voice_of(text)):
                await socket.part({"audio": base64.b64encode(part).decode(), "final": False})
        await socket.say({"final": True})
        await socket.next()


def pieces(audio: bytes, size: int = 333) -> list[bytes]:
    """``audio`` cut at odd places: samples are cut in two."""
    return [audio[offset : offset + size] for offset in range(0, len(audio), size)]


if __name__ == "__main__":
    main(lambda options: AsyncAIServer())
