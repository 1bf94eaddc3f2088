"""A server that speaks ElevenLabs' text-to-speech WebSocket."""

from __future__ import annotations

import base64
import json

from tests.vendors.async_ai_server import pieces
from tests.vendors.base import Socket, SocketServer, main
from tests.vendors.openai_server import voice_of


class ElevenLabsServer(SocketServer):
    """Speaks each text at once; an empty one is answered by ``isFinal``, without audio, and a close."""

    path = "/v1/text-to-speech/{voice}/stream-input"
    error_frame = '{"message": "secret words", "error": "quota_exceeded", "code": 1008}'

    async def talk(self, socket: Socket) -> None:
        """The first text is a single space, with the voice's settings."""
        assert json.loads(await socket.next())["text"] == " "
        while text := json.loads(await socket.next())["text"]:
            for part in pieces(voice_of(text)):
                audio = base64.b64encode(part).decode()
                await socket.part({"audio": audio, "isFinal": None, "alignment": None})
        await socket.say({"isFinal": True})


if __name__ == "__main__":
    main(lambda options: ElevenLabsServer())
