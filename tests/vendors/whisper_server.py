"""A server that speaks the streaming WebSocket of a self-hosted Whisper."""

from __future__ import annotations

from typing import Any

from tests.vendors.base import Socket, SocketServer, main
from tests.vendors.openai_server import heard


class WhisperServer(SocketServer):
    """A partial transcript for each second of audio, a final one at ``end``; then it ``closes``, or waits."""

    path = "/api/stt/stream"
    error_frame = '{"error": "secret words"}'

    def __init__(self, *, closes: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.closes = closes
        self.words: str | None = None  # what is heard; None: what only this audio has

    async def talk(self, socket: Socket) -> None:
        """Binary frames are PCM; the text frame ``end`` ends it."""
        second = int(socket.query["sample_rate"]) * 2
        pcm, told = b"", 0
        while (frame := await socket.next()) != "end":
            assert isinstance(frame, bytes)
            pcm += frame
            if len(pcm) - told >= second:
                told = len(pcm)
                await socket.part({"transcript": self.hear(pcm), "is_final": False, "stability": 0.5})
        await socket.part({"transcript": self.hear(pcm), "is_final": True, "stability": 1.0})
        if not self.closes:
            await socket.next()

    def hear(self, pcm: bytes) -> str:
        """The transcript."""
        return heard(pcm) if self.words is None else self.words


if __name__ == "__main__":
    main(lambda options: WhisperServer())
