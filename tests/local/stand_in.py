"""An engine without a model, for tests of the processes: it runs as a real one does."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentsd.providers.local.host import EngineCall, EngineRefusal


def need(settings: Mapping[str, Any]) -> int:
    """Return what the test chose."""
    need_bytes: int = settings.get("need", 0)
    return need_bytes


class StandIn:
    """Does what its operations are named for."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        if log := settings.get("log"):  # a line for each load
            with Path(log).open("a") as file:
                file.write(f"{os.getpid()}\n")
        match settings.get("load"):
            case "fail":
                raise RuntimeError("secret /path")
            case "fail once" if len(Path(settings["log"]).read_text().splitlines()) == 1:
                raise RuntimeError("secret /path")
            case "abort":
                os.abort()
            case "hang":
                time.sleep(600)
        self._kept: list[bytearray] = []
        names = ("echo", "count", "gate", "refuse", "fail", "abort", "grow", "environment", "flood", "noise")
        self.operations = {name: getattr(self, name) for name in names}

    def echo(self, call: EngineCall) -> None:
        """Send back what came, and by which process."""
        call.emit({**call.fields, "pid": os.getpid()}, call.body)

    def count(self, call: EngineCall) -> None:
        """Count up to a number, or until nobody listens."""
        for number in range(call.fields.get("to", 1 << 62)):
            if call.emit({"number": number}):
                return

    def gate(self, call: EngineCall) -> None:
        """Wait until a file exists."""
        while not Path(call.fields["file"]).exists():
            time.sleep(0.005)
        call.emit({"name": call.fields["name"]})

    def refuse(self, call: EngineCall) -> None:
        """Refuse by a code."""
        raise EngineRefusal(call.fields["code"])

    def fail(self, call: EngineCall) -> None:
        """Fail as a library does, after a part."""
        call.emit({"number": 1})
        raise RuntimeError("prompt")

    def abort(self, call: EngineCall) -> None:
        """End as a native library does, after a part."""
        call.emit({"number": 1})
        os.kill(os.getpid(), signal.SIGABRT)
        time.sleep(60)

    def grow(self, call: EngineCall) -> None:
        """Take memory, and keep it."""
        self._kept.append(bytearray(b"x") * (call.fields["mib"] << 20))
        call.emit({})

    def environment(self, call: EngineCall) -> None:
        """Send the names of all variables, and what every open file is."""
        places = [place for place in Path("/proc/self/fd").iterdir() if place.exists() or place.is_symlink()]
        files = [str(place.readlink()) for place in places if os.path.lexists(place)]
        call.emit({"names": sorted(os.environ), "files": files})

    def flood(self, call: EngineCall) -> None:
        """Send more than anybody takes."""
        while not call.emit({}, bytes(1 << 20)):
            pass

    def noise(self, call: EngineCall) -> None:
        """Write bytes that are not frames, as a process that a model's file took over may."""
        call._channel._connection.sendall(bytes.fromhex(call.fields["hex"]))
        time.sleep(60)


load = StandIn
