"""A server that speaks Hume's text-to-speech WebSocket."""

from __future__ import annotations

import base64
import json

from tests.vendors.async_ai_server import pieces
from tests.vendors.base import Socket, SocketServer, main
from tests.vendors.openai_server import voice_of


class HumeServer(SocketServer):
    """Speaks a snippet at ``flush``; ``close`` ends the conversation with a normal close."""

    path = "/v0/tts/stream/input"
    error_frame = '{"type": "error", "code": "429", "message": "secret words"}'

    async def talk(self, socket: Socket) -> None:
        """https://dev.hume.ai/reference/text-to-speech-tts/stream-input"""
        text = ""
        while True:
            message = json.loads(await socket.next())
            text += message.get("text", "")
            if message.get("flush") or message.get("close"):
                await self._snippet(socket, text)
                text = ""
            if message.get("close"):
                return

    async def _snippet(self, socket: Socket, text: str) -> None:
        parts = pieces(voice_of(text), size=332)
        for number, part in enumerate(parts, 1):
            audio = base64.b64encode(part).decode()
            await socket.part(
                {"type": "audio", "audio": audio, "is_last_chunk": number == len(parts), "snippet_id": "s"}
            )


if __name__ == "__main__":
    main(lambda options: HumeServer())
