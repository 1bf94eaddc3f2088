"""New secrets: read back exactly whatever they hold, and seen by nobody on the way."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentsd.core.errors import AgentsdError, ConfigError, SopsFailed
from agentsd.core.manifest.document import parse_document
from agentsd.sops.format import is_whole_seal
from tests.control.sealed_edit import Desk
from tests.runtime.world import Keys

KEY = ("llm", "api_key")
PLAIN = b"name: x\nllm:\n  provider: p\n"
TEXT = "name: x\nllm:\n  provider: p\n  api_key: sk-canary-a\ntts:\n  api_key: sk-canary-b\n"
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")
HOSTILE = [
    "one\ntwo", "one\n", "\n one\n\n", "a\r\nb\r", "\ttab\t", " around ", "it's \"quoted\"", "\\n\\\\",
    "# no comment", "a: b", "- a", "{a: 1}", '{"a": [1, "b"]}', "[1]", "null", "~", "true", "No",
    "007", "1e3", "0x1F", "12", "1.0", "-.5", ".inf", "2024-01-02", "&a", "*a", "!!str x", "%", "@", "`", "|",
    ">-", "---", "...", "ENC[AES256_GCM,data:YQ==,iv:YQ==,tag:YQ==,type:str]", "ENC[", "sops", "naïve ✓ 🙂",
    "\u200b", "\u00a0", "a\u0085b", "a\u2028b\u2029c", "\ufeffbom", "\x07\x1b\x7f", "=", "<<", "$(id)",
    "%s{0}", "x" * 5000,
]  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path, keys: Keys) -> Desk:
    return Desk(tmp_path, keys)


async def comes_back(desk: Desk, secrets: list[str]) -> None:
    """Each in an entry of its own: of a file that gets its first seal, and of one that is sealed."""
    entries = "".join("    - provider: p\n" for _ in secrets)
    given = {("llm", "fallback", n, "api_key"): secret for n, secret in enumerate(secrets)}
    for head in (TEXT, PLAIN.decode()):
        start = f"{head.split('tts')[0]}  fallback:\n{entries}"
        before = desk.seal(start) if head is TEXT else start.encode()
        after = await desk.edit(before, {}, given)
        assert [entry["api_key"] for entry in desk.read(after)["llm"]["fallback"]] == secrets
        seals = [entry["api_key"] for entry in parse_document("x", after).value["llm"]["fallback"]]
        assert all(map(is_whole_seal, seals))
        assert not set(seals) & set(secrets)


async def test_hostile_secrets_come_back_exactly(desk: Desk) -> None:
    """What YAML, JSON, sops or a shell might take for something else."""
    await comes_back(desk, HOSTILE)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secrets=st.lists(st.text(CHARACTERS, min_size=1, max_size=40), min_size=1, max_size=6))
def test_any_secrets_come_back_exactly(desk: Desk, secrets: list[str]) -> None:
    """Whatever a manifest can hold."""
    asyncio.run(comes_back(desk, secrets))


async def test_an_empty_secret_is_nothing_to_seal(desk: Desk) -> None:
    """sops seals no empty text: it stands there as one, and takes no key where nothing else changes."""
    desk.rules()
    assert await desk.edit(PLAIN + b"  api_key: old\n", {}, {KEY: ""}) == PLAIN + b'  api_key: ""\n'
    after = await desk.edit(desk.seal(TEXT), {}, {KEY: ""})
    assert desk.read(after)["llm"]["api_key"] == ""
    assert desk.read(after)["tts"]["api_key"] == "sk-canary-b"


@pytest.mark.parametrize("secret", ["sk-\ud800", "sk-\0"])
async def test_what_no_manifest_can_hold(desk: Desk, secret: str) -> None:
    """JSON can say it; sops would replace half a character silently, and Postgres takes no NUL."""
    for before in (PLAIN, desk.seal(TEXT)):
        with pytest.raises(ConfigError, match=r"llm\.api_key has a character"):
            await desk.edit(before, {}, {KEY: secret})


class Watcher(threading.Thread):
    """Looks at every process's command line and environment, and at all temporary files, without pause."""

    def __init__(self, canary: str, folders: list[Path]) -> None:
        super().__init__(daemon=True)
        self.canary = canary.encode()
        self.folders = folders
        self.found: list[str] = []
        self.seen_sops = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            for folder in Path("/proc").iterdir():
                if folder.name.isdecimal():
                    self.look(folder)
            for folder in self.folders:
                for file in (path for path in folder.rglob("*") if path.is_file()):
                    self.holds(file)

    def look(self, process: Path) -> None:
        if b"sops" in self.holds(process / "cmdline"):
            self.seen_sops += 1
            for descriptor in self.listed(process / "fd"):
                if "memfd:agentsd" in self.link(descriptor):
                    self.holds(descriptor)
        self.holds(process / "environ")

    def holds(self, file: Path) -> bytes:
        try:
            data = file.read_bytes()
        except OSError:
            return b""
        if self.canary in data:
            self.found.append(str(file))
        return data

    def listed(self, folder: Path) -> list[Path]:
        try:
            return list(folder.iterdir())
        except OSError:
            return []

    def link(self, path: Path) -> str:
        try:
            return str(path.readlink())
        except OSError:
            return ""


async def test_the_watcher_sees(tmp_path: Path) -> None:
    """A secret in a command line, an environment or a file is found: the next test would fail."""
    canary = "sk-Canary-Seen-By-All-72"
    (tmp_path / "x").write_text(f"api_key: {canary}")
    command = ("/bin/sh", "-c", "read x", f"sops {canary}")
    process = await asyncio.create_subprocess_exec(*command, stdin=-1, env={"KEY": canary})
    watcher = Watcher(canary, [tmp_path])
    watcher.start()
    while len({found.rpartition("/")[2] for found in watcher.found}) < 3:
        await asyncio.sleep(0.01)
    watcher.done.set()
    await asyncio.to_thread(watcher.join)
    await process.communicate(b"\n")
    assert watcher.seen_sops


@pytest.mark.parametrize("memory", [True, False], ids=["memfd", "no-memfd"])
async def test_nobody_sees_the_secret(
    desk: Desk, memory: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in a command line, an environment or a file, of this process or of sops, also without memfd."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    if not memory:
        monkeypatch.delattr(os, "memfd_create")
    canary = "sk-Canary-Seen-By-Nobody-71"
    sealed = desk.seal(TEXT)
    watcher = Watcher(canary, [scratch, tmp_path])
    watcher.start()
    try:
        while watcher.seen_sops < 5:
            after = await desk.edit(sealed, {}, {KEY: canary, ("tts", "api_key"): f"{canary}2"})
            assert desk.read(after)["llm"]["api_key"] == canary
            await desk.edit(PLAIN, {}, {KEY: canary})
    finally:
        watcher.done.set()
        await asyncio.to_thread(watcher.join)
    assert watcher.found == []
    assert list(scratch.iterdir()) == []


def sops_that(folder: Path, body: str) -> Path:
    """A sops of another kind: it does ``body``."""
    path = folder / "sops"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def descriptors() -> set[str]:
    return {str(link) for link in map(_link, Path("/proc/self/fd").iterdir()) if "memfd" in str(link)}


def _link(path: Path) -> Any:
    try:
        return path.readlink()
    except OSError:
        return ""


@pytest.mark.parametrize("memory", [True, False], ids=["memfd", "no-memfd"])
@pytest.mark.parametrize(
    "body", ["kill -9 $$", 'echo > "$8"; kill -9 $$', "exit 1", "exit 77", "exec sleep 600", "cat; exit 3"]
)
async def test_a_sops_that_dies_or_hangs(
    desk: Desk, body: str, memory: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SopsFailed or a seal's error without the secret; no process, no file and no descriptor is left."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    if not memory:
        monkeypatch.delattr(os, "memfd_create")
    program = sops_that(tmp_path, f"echo $$ > {tmp_path}/pid; {body}")
    sealed = desk.seal(TEXT)
    for before in (sealed, PLAIN):
        with pytest.raises(AgentsdError) as caught:
            await desk.edit(before, {}, {KEY: "sk-canary-new"}, program=program)
        assert isinstance(caught.value, SopsFailed) or "exit 1" in body
        assert "canary" not in f"{caught.value!r} {caught.value}"
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)
    assert list(scratch.iterdir()) == []
    assert descriptors() == set()


async def test_a_cancelled_edit_leaves_nothing(desk: Desk, tmp_path: Path) -> None:
    """A client that goes away ends sops and the file in memory."""
    program = sops_that(
        tmp_path, f"echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 600"
    )
    sealed = desk.seal(TEXT)
    call = asyncio.create_task(desk.edit(sealed, {}, {KEY: "sk-new"}, program=program))
    while not (tmp_path / "pid").exists():
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert descriptors() == set()


async def test_a_sops_that_lies(desk: Desk, tmp_path: Path) -> None:
    """One that seals something else, or nothing: its result is not taken."""
    other = await desk.edit(desk.seal(TEXT), {}, {KEY: "sk-other"})
    (tmp_path / "other.yaml").write_bytes(other)
    program = sops_that(tmp_path, f'cat > /dev/null; cat {tmp_path}/other.yaml > "$8"')
    with pytest.raises(AgentsdError):
        await desk.edit(desk.seal(TEXT), {}, {KEY: "sk-new"}, program=program)
