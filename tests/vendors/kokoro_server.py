"""A server that speaks the live WebSocket of a self-hosted Kokoro."""

from __future__ import annotations

import json
from typing import Any

from tests.vendors.async_ai_server import pieces
from tests.vendors.base import Socket, SocketServer, main
from tests.vendors.openai_server import voice_of, wav_header


class KokoroServer(SocketServer):
    """Speaks every text frame on its own: a 44-byte WAV header, PCM; an empty frame ends it.

    ``rate`` is what ``ready`` tells, ``true_rate`` what the headers tell.
    """

    path = "/ws/tts/live"
    error_frame = '{"type": "error", "message": "secret words"}'

    def __init__(self, *, rate: int = 24_000, true_rate: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.rate = rate
        self.true_rate = true_rate or rate

    async def talk(self, socket: Socket) -> None:
        """The first frame is JSON, the others are plain text."""
        assert json.loads(await socket.next()).keys() == {"voice", "language", "speed"}
        await socket.say({"type": "ready", "sample_rate": self.rate, "format": "pcm_s16le"})
        count = 0
        while text := await socket.next():
            await socket.say(wav_header(self.true_rate, 0))
            for part in pieces(voice_of(str(text)), size=332):
                count += 1
                await socket.part(part)
        await socket.say({"type": "end", "total_chunks": count})


if __name__ == "__main__":
    main(lambda options: KokoroServer())
