"""Conversation with a vendor over a WebSocket: sending and receiving at once, never hanging, always closing.

A vendor's client defines which frames to send (an async iterator) and what a received frame means
(a ``FrameReader``, one for each stream, so that streams share nothing). ``run_conversation`` does
the rest.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from agentsd.audio.pcm import BadAudio, decode_base64_audio
from agentsd.audio.pcm_stream import PcmStream
from agentsd.providers.base import ProviderUnavailable
from agentsd.providers.base_url import swap_socket_scheme
from agentsd.providers.errors import (
    ANSWER_SETTING,
    VendorRef,
    make_closed_early_error,
    make_policy_error,
    make_protocol_error,
    make_timeout_error,
    make_too_large_error,
    make_wrong_rate_error,
    translate_errors,
)
from agentsd.providers.limits import FRAME_LIMITS
from agentsd.providers.network import NetworkSettings
from agentsd.providers.transport.endpoint import Endpoint, decode_json, limit_time, yield_to_others
from agentsd.providers.transport.model_list import list_once
from agentsd.providers.transport.sessions import HttpSessions

if TYPE_CHECKING:
    import asyncio

    import aiohttp

Frame = str | bytes
S = TypeVar("S")
T = TypeVar("T")

SAMPLE_RATES = range(1000, 400_000)
"""Hertz that a vendor may name."""
ODD_RATE_MESSAGE = "names an impossible sample rate"
FRAMES_PER_TURN = 64
"""Frames after which other tasks run, if a vendor sends them faster than they are read."""
CLOSE_SECONDS = 0.1
"""Timeout of the closing handshake: short, since the vendor is no longer needed."""
NORMAL, POLICY_VIOLATION, MESSAGE_TOO_BIG = 1000, 1008, 1009
"""Close codes (RFC 6455 §7.4.1). With the second, vendors refuse a key, a voice or a request."""


class FrameReader(Generic[T]):
    """Interpreter of a vendor's frames. One for each stream; it may keep state between frames."""

    def __init__(self, who: VendorRef) -> None:
        self.who = who
        self.finished = False  # the end marker has come
        self.asked_all = False  # everything was sent, the end marker included
        self.quiet: float | None = None  # seconds of silence that are a good end now

    def read(self, frame: Frame) -> T | None:
        """Return the content of ``frame``, or None. Sets ``finished`` at the end.

        Raises ``ProviderError``.
        """
        raise NotImplementedError

    def may_close(self) -> bool:
        """Return whether a normal close (1000) is a valid end now, for vendors whose end marker it is."""
        return False

    def rest(self) -> T | None:
        """Return what is left at a valid end, or None. Raises ``ProviderError``."""
        return None

    def message(self, frame: Frame) -> dict[str, Any]:
        """Return ``frame`` as a JSON object; raise an error object."""
        return decode_json(self.who, frame)


class SpeechReader(FrameReader[bytes]):
    """Reader of audio: whole samples at ``rate`` hertz, from base64 or binary."""

    def __init__(self, who: VendorRef, rate: int) -> None:
        super().__init__(who)
        self._pcm = PcmStream(rate)

    def samples(self, audio: object) -> bytes | None:
        """Return whole samples from base64 text or bytes; None for nothing."""
        if not audio:
            return None
        try:
            found = self._pcm.take(audio if isinstance(audio, bytes) else decode_base64_audio(audio))
        except BadAudio as error:
            raise make_protocol_error(self.who, str(error)) from None
        return found or None

    def rest(self) -> bytes | None:
        """Return the last samples, or None."""
        try:
            return self._pcm.end() or None
        except BadAudio as error:
            raise make_protocol_error(self.who, str(error)) from None

    def check_rate(self, told: object, wanted: int) -> None:
        """Refuse audio at another rate than the manifest's."""
        if isinstance(told, int) and told != wanted:
            raise (
                make_wrong_rate_error(self.who, told, wanted)
                if told in SAMPLE_RATES
                else make_protocol_error(self.who, ODD_RATE_MESSAGE)
            )


class SocketClient:
    """Common part of every vendor's WebSocket client. It keeps nothing between streams."""

    listing_path: ClassVar[str] = ""
    """Path of something free of charge that needs the key."""

    def __init__(
        self,
        settings: NetworkSettings,
        sessions: HttpSessions,
        *,
        url: str,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> None:
        self.who = VendorRef(settings.provider, settings.kind)
        self._endpoint = Endpoint(
            sessions, url, self.who, headers or {}, settings.timeouts, FRAME_LIMITS, proxy=settings.proxy
        )
        self._query = query or {}
        self._sessions = sessions
        self._settings = settings

    async def list_models(self) -> frozenset[str] | None:
        """Ask ``listing_path`` of the same host. None without one. Raises ``ProviderError``."""
        if not self.listing_path:
            return None
        url = f"{swap_socket_scheme(self._endpoint.url)}{self.listing_path}"
        return await list_once(self._sessions, url, self._settings, self._endpoint.headers)

    def converse(self, outgoing: AsyncIterator[Frame], reader: FrameReader[T]) -> AsyncGenerator[T, None]:
        """Run one conversation on a socket of its own: see ``run_conversation``."""
        return run_conversation(self._endpoint, self._query, outgoing, reader)

    async def aclose(self) -> None:
        """Give up the claim on the session."""
        await self._endpoint.aclose()


async def frame_pieces(
    pieces: AsyncIterator[S],
    wrap: Callable[[S], Frame],
    *,
    first: Sequence[Frame] = (),
    last: Sequence[Frame] = (),
) -> AsyncIterator[Frame]:
    """Yield ``first``, each piece wrapped, ``last``; nothing at all if there are no pieces."""
    opened = False
    async for piece in pieces:
        if not opened:
            opened = True
            for frame in first:
                yield frame
        yield wrap(piece)
    if opened:
        for frame in last:
            yield frame


async def run_conversation(
    endpoint: Endpoint, query: Mapping[str, str], outgoing: AsyncIterator[Frame], reader: FrameReader[T]
) -> AsyncGenerator[T, None]:
    """Send ``outgoing`` and yield what ``reader`` returns for the answers, both as they come.

    Ends when the reader is finished, or at once if ``outgoing`` turns out to be empty. Raises
    ``ProviderError``, or whatever ``outgoing`` raises. Closing or cancelling it closes the socket.
    """
    import asyncio

    socket = await Socket.connect(endpoint, query)
    pump = asyncio.create_task(socket.pump(outgoing, reader))
    try:
        while not reader.finished:
            frame = await socket.receive(reader.quiet)
            if frame is None:
                socket.end(reader)
                break
            item = reader.read(frame)
            socket.check(useful=item is not None)
            if item is not None:
                yield item
        if (rest := reader.rest()) is not None:
            yield rest
    finally:
        pump.cancel()
        try:
            await asyncio.wait((pump,))
        finally:
            await socket.aclose()
            socket.forget_failure()


class Socket:
    """WebSocket connection under its endpoint's limits."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse, endpoint: Endpoint) -> None:
        self._ws = ws
        self._who = endpoint.who
        self._timeouts = endpoint.timeouts
        self._limit: asyncio.Timeout | None = None  # of the receive that is under way
        self._owed = False  # the vendor has all it needs, so its silence counts
        self._heard = False
        self._lost = False  # sending failed, since the connection is gone
        self._over = False  # a good end, whatever the socket reports
        self._failure: BaseException | None = None  # why sending stopped
        self._limits = endpoint.limits
        self._frames = self._size = 0  # that came, and their bytes
        self._began = self._latest = monotonic()

    @classmethod
    async def connect(cls, endpoint: Endpoint, query: Mapping[str, str]) -> Socket:
        """Open a socket. A refused handshake is a typed error like any other answer."""
        import aiohttp

        with translate_errors(endpoint.who):
            async with limit_time(endpoint.timeouts.connect):
                ws = await endpoint.session.ws_connect(
                    endpoint.url,
                    params=query,
                    headers=endpoint.headers,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
                    max_msg_size=endpoint.limits.frame,
                    autoping=False,
                )
        return cls(ws, endpoint)

    async def pump(self, outgoing: AsyncIterator[Frame], reader: FrameReader[Any]) -> None:
        """Send everything, then start the clock. A failure is kept for the receiving side."""
        sent = False
        try:
            async for frame in outgoing:
                await self._send(frame)
                sent = True
        except BaseException as error:
            self._failure = error
            if self._lost:  # a last message of the vendor may explain it: let that be received
                self._start_clock()
            else:
                await self.aclose()
            if not isinstance(error, Exception):
                raise
            return
        reader.asked_all = True
        self._start_clock()
        if not sent:
            self._over = True
            await self.aclose()

    async def receive(self, quiet: float | None = None) -> Frame | None:
        """Return the next frame; None at the end. Raises ``ProviderTimeout`` for a stall.

        ``quiet`` is the silence, in seconds, that would be a valid end now.
        """
        import aiohttp

        with translate_errors(self._who):
            try:
                message = await self._next(quiet)
            except TimeoutError:
                if quiet is None:
                    raise
                self._over = True
                return None
        self._heard = True
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            data: Frame = message.data
            self._size += len(data)
            return data
        if message.type is aiohttp.WSMsgType.ERROR:
            if getattr(message.data, "code", None) == MESSAGE_TOO_BIG:
                limit = self._limits.frame
                raise make_too_large_error(self._who, "a message", limit, setting=ANSWER_SETTING)
            raise make_protocol_error(self._who, "sent a frame that is not the WebSocket protocol")
        return None

    def check(self, *, useful: bool) -> None:
        """Refuse an answer without end, and one that only pretends to go on. Called after each frame."""
        if self._size > self._limits.stream:
            raise make_too_large_error(self._who, "an answer", self._limits.stream)
        now = monotonic()
        if useful or not self._owed:
            self._latest = now
        if now - self._latest > self._timeouts.silence or now - self._began > self._timeouts.whole:
            raise make_timeout_error(self._who)

    def end(self, reader: FrameReader[Any]) -> None:
        """Return if the closed socket is a valid end, else raise an error."""
        if self._over:
            return
        if self._failure is not None:
            raise self._failure
        if self._ws.close_code == POLICY_VIOLATION:
            raise make_policy_error(self._who)
        if not (self._ws.close_code == NORMAL and reader.asked_all and reader.may_close()):
            raise make_closed_early_error(self._who)

    def forget_failure(self) -> None:
        """Drop the failure of sending: an error refers to its frames, and so to this object."""
        self._failure = None

    async def aclose(self) -> None:
        """Close the socket, with a short wait for the vendor's answer."""
        with suppress(TimeoutError):
            async with limit_time(CLOSE_SECONDS):
                await self._ws.close()

    async def _next(self, quiet: float | None) -> aiohttp.WSMessage:
        try:
            async with limit_time(None) as self._limit:
                if self._owed:
                    self._limit.reschedule(self._deadline(quiet))
                return await self._message()
        finally:
            self._limit = None

    async def _message(self) -> aiohttp.WSMessage:
        """Return the next message but pings; aiohttp answers those without letting other tasks run."""
        import aiohttp

        while True:
            message = await self._ws.receive()
            self._frames += 1
            if self._frames > self._limits.frames:
                raise make_too_large_error(self._who, "a stream", self._limits.frames, "frames")
            if self._frames % FRAMES_PER_TURN == 0:
                await yield_to_others()
            if message.type is aiohttp.WSMsgType.PING:
                await self._ws.pong(message.data)
            elif message.type is not aiohttp.WSMsgType.PONG:
                return message

    async def _send(self, frame: Frame) -> None:
        try:
            with translate_errors(self._who):
                async with limit_time(self._timeouts.idle):
                    if isinstance(frame, str):
                        await self._ws.send_str(frame)
                    else:
                        await self._ws.send_bytes(frame)
        except ProviderUnavailable:
            self._lost = True
            raise

    def _start_clock(self) -> None:
        """Count the vendor's silence from now on, also in the current receive."""
        self._owed = True
        if self._limit is not None:
            self._limit.reschedule(self._deadline(None))

    def _deadline(self, quiet: float | None) -> float:
        import asyncio

        limit = self._timeouts.idle if self._heard else self._timeouts.first
        return asyncio.get_running_loop().time() + (limit if quiet is None else quiet)
