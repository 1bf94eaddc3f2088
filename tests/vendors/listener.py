"""Something that listens, takes what comes and never answers: nothing at all should come."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self


class Listener:
    """A TCP port on 127.0.0.1. ``with Listener() as one: one.url``; a tarpit for whoever connects."""

    def __init__(self, family: socket.AddressFamily = socket.AF_INET) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), family=family)
        self.port: int = self._socket.getsockname()[1]
        self.connections = 0
        self.received = b""
        self.arrived = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(peer)
            threading.Thread(target=self._read, args=(peer,), daemon=True).start()

    def _read(self, peer: socket.socket) -> None:
        try:
            while chunk := peer.recv(1 << 16):
                self.received += chunk
                self.arrived.set()
        except OSError:
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        for peer in self._open:
            peer.close()
