"""An agent in LiveKit Agents 1.8.9 without a LiveKit server: ``python livekit_agent.py VENDORS_URL``.

Needs ``pip install livekit-agents==1.8.9 livekit-plugins-openai==1.8.9 livekit-plugins-silero==1.8.9``.
Its session hears and speaks through classes of ours, which play in real time as its own console does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from typing import Any

from aiohttp import WSMsgType, web
from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice import io
from livekit.plugins import openai, silero

RATE = 24_000
PIECE_BYTES = RATE // 50 * 2
SILENCE_SECONDS = 0.5
PAUSE_SECONDS = 0.25
"""Silence at which its detector reports a pause, in which the recogniser and the model are asked."""


class Microphone(io.AudioInput):
    """Sound of the caller."""

    def __init__(self) -> None:
        super().__init__(label="socket")
        self._frames: asyncio.Queue[rtc.AudioFrame | None] = asyncio.Queue()

    def push(self, data: bytes | None) -> None:
        """Add samples; None ends it."""
        frame = None if data is None else rtc.AudioFrame(data, RATE, 1, len(data) // 2)
        self._frames.put_nowait(frame)

    async def __anext__(self) -> rtc.AudioFrame:
        frame = await self._frames.get()
        if frame is None:
            raise StopAsyncIteration
        return frame


class Loudspeaker(io.AudioOutput):
    """Sound to the caller, sent as it plays."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        super().__init__(
            label="socket", capabilities=io.AudioOutputCapabilities(pause=True), sample_rate=RATE
        )
        self._socket = socket
        self._sound = bytearray()
        self._sent = 0
        self._whole = False
        self._playing = asyncio.Event()
        self._playing.set()
        self._news = asyncio.Event()

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._sound and not self._sent:
            self.on_playback_started(created_at=time.time())
        self._whole = False
        self._sound += frame.data.tobytes()
        self._news.set()

    def flush(self) -> None:
        super().flush()
        self._whole = True
        self._news.set()

    def clear_buffer(self) -> None:
        if self._sound or self._sent:
            self._finish(interrupted=True)

    def pause(self) -> None:
        super().pause()
        self._playing.clear()

    def resume(self) -> None:
        super().resume()
        self._playing.set()

    async def play(self) -> None:
        """Send what there is, piece by piece, in real time."""
        due = 0.0
        while True:
            await self._playing.wait()
            if not self._sound:
                if self._whole and self._sent:
                    self._finish(interrupted=False)
                self._news.clear()
                await self._news.wait()
                continue
            piece = bytes(self._sound[:PIECE_BYTES])
            del self._sound[:PIECE_BYTES]
            self._sent += len(piece)
            await self._socket.send_bytes(piece)
            due = max(due, time.monotonic()) + len(piece) / 2 / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _finish(self, *, interrupted: bool) -> None:
        played, self._sent, self._whole = self._sent / 2 / RATE, 0, False
        self._sound.clear()
        self.on_playback_finished(playback_position=played, interrupted=interrupted)


def make_session(vendors: str, kind: str, detector: Any) -> AgentSession:
    """Return a session; ``smart`` has the end-of-turn model that it takes by itself."""
    api = {"base_url": f"{vendors}/v1", "api_key": "none"}
    turns: dict[str, Any] = {"preemptive_generation": {"enabled": True, "preemptive_tts": True}}
    if kind != "smart":
        turns |= {"turn_detection": "vad", "endpointing": {"min_delay": SILENCE_SECONDS}}
    turns["interruption"] = {"mode": "vad"}
    return AgentSession(
        stt=openai.STT(model="whisper-1", use_realtime=False, **api),
        llm=openai.LLM(model="m", **api),
        tts=openai.TTS(model=kind, voice="alloy", response_format="pcm", **api),
        vad=detector,
        turn_handling=turns,
        aec_warmup_duration=None,
    )


async def serve_call(request: web.Request) -> web.WebSocketResponse:
    """Run one session until its caller leaves."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    session = make_session(request.app["vendors"], request.match_info["kind"], request.app["detector"])
    microphone, loudspeaker = Microphone(), Loudspeaker(socket)
    session.input.audio, session.output.audio = microphone, loudspeaker
    tasks = set()

    def confirm(event: Any) -> None:
        if event.old_state == "speaking" and loudspeaker.can_pause:
            tasks.add(asyncio.ensure_future(socket.send_str("confirmed")))

    session.on("agent_state_changed", confirm)
    await session.start(Agent(instructions="You are terse."), record=False)
    playing = asyncio.create_task(loudspeaker.play())
    try:
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                microphone.push(message.data)
    finally:
        microphone.push(None)
        playing.cancel()
        await session.aclose()
    return socket


async def main(vendors: str) -> None:
    """Serve."""
    logging.basicConfig(level=os.environ.get("LEVEL", "ERROR"))
    app = web.Application()
    app["vendors"] = vendors
    app["detector"] = silero.VAD.load(min_silence_duration=PAUSE_SECONDS)
    app.router.add_get("/{kind}", serve_call)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
