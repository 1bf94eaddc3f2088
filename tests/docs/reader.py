"""A newcomer who reads a page of the docs and pastes its ``bash`` blocks, in order.

What the reader does of its own accord, as people do: it puts its own names in the place of those of the
page (``OWN_NAMES``), opens another terminal while a server has the first, and stops a server by Ctrl-C
before it starts another. HTTP statuses of 400 and more count as failures, unless the line has a comment
that begins with the status.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.docs.terminal import PATIENCE, Terminal, split_statements
from tests.e2e.home import REPOSITORY
from tests.e2e.processes import end_postgres

_BLOCK = re.compile(r"^( *)```bash\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_NEEDS = re.compile(r"# needs (.+)\n")
_COMMENT = re.compile(r"(?<=\s)#[^\n'\"]*$", re.MULTILINE)
_SERVER = re.compile(
    r"\bagentsd (up|serve|watch|demo-tools)\b|\bpython -m tests\.(vendors)\.|^python3 (\w+)\.py$"
)
_ENDLESS = re.compile(r"/api/events|status --watch")
_EXPECTED = re.compile(r"# ([45]\d\d)\b")
_FETCH_FAILED = 22  # curl(1): the server returned an error, with --fail-with-body


@dataclass(frozen=True, slots=True)
class Block:
    """One ``bash`` block. ``needs``: what a machine may lack, from its first line; empty for the others."""

    text: str
    line: int
    needs: str = ""


def read_blocks(path: Path) -> list[Block]:
    """Return the ``bash`` blocks of a page."""
    page, found = path.read_text(), []
    for match in _BLOCK.finditer(page):
        text = "".join(line.removeprefix(match[1]) for line in match[2].splitlines(keepends=True))
        needs = _NEEDS.match(text)
        found.append(Block(text, page[: match.start()].count("\n") + 2, needs[1] if needs else ""))
    return found


class Reader:
    """A person with a home, a folder to work in, and terminals."""

    def __init__(self, root: Path, env: Mapping[str, str], own_names: Sequence[tuple[str, str]]) -> None:
        self.root = root
        self.folder = root / "work"
        self.env = dict(env)
        self.ports = {name: _free_port() for name in ("8080", "8081", "8090", "8091", "9001")}
        self.own_names = [*own_names, *((rf"\b{name}\b", str(port)) for name, port in self.ports.items())]
        self.terminals: list[Terminal] = []
        self.serving: dict[str, Terminal] = {}  # by what it serves
        self.pasted: list[str] = []
        for name in ("bin", "home", "scripts", "work", "run/secrets"):
            (root / name).mkdir(parents=True)

    async def paste(self, block: Block) -> None:
        """Paste a block; fails with what the terminals show."""
        try:
            await self._paste(block)
        except TimeoutError:
            raise AssertionError(self._describe(f"it takes too long: {self.pasted[-1]}")) from None

    async def _paste(self, block: Block) -> None:
        servers = []
        for statement in map(self.adapt, split_statements(block.text)):
            self.pasted.append(statement)
            bare = _COMMENT.sub("", statement).strip()
            if not bare:
                continue
            server = bool(_SERVER.search(bare))
            if bare.endswith("&"):
                await self._run(statement)
                servers += [bare] if server else []
            elif server:
                await self._serve(statement, bare)
            elif _ENDLESS.search(bare):
                await self._watch(statement)
            else:
                await self._run(statement)
        for one in servers:
            await self._ready(one, self.terminals[-1])

    def adapt(self, statement: str) -> str:
        """Return a statement with the reader's own names, and ports that are free on this machine."""
        for pattern, own in self.own_names:
            statement = re.sub(pattern, lambda _, own=own: own, statement)  # type: ignore[misc]
        if "--port" not in statement:
            statement = re.sub(
                r"\bagentsd (up|serve)\b", rf"agentsd \1 --port {self.ports['8080']}", statement
            )
            statement = re.sub(r"\bdemo-tools\b", rf"\g<0> --port {self.ports['8090']}", statement)
        left = re.search(r"…|://[^\s'\"]*example\.|\bHOST\b", _COMMENT.sub("", statement))
        assert left is None, f"the reader has no own name for {left[0]!r} in:\n{statement}"
        return statement

    async def _terminal(self) -> Terminal:
        if not self.terminals or self.terminals[-1] in self.serving.values():
            folder = self.terminals[-1].folder if self.terminals else self.folder
            self.terminals.append(await Terminal.open(folder, self.env, self.root / "scripts"))
        return self.terminals[-1]

    async def _run(self, statement: str) -> None:
        terminal = await self._terminal()
        terminal.paste(statement)
        code = await terminal.ended()
        expected = _FETCH_FAILED if _EXPECTED.search(statement) else 0
        assert code == expected, self._describe(f"exit {code}: {statement}")

    async def _watch(self, statement: str) -> None:
        """Look at what never ends, until it shows something."""
        terminal = await self._terminal()
        shown = len(terminal.text)
        terminal.paste(statement)
        await terminal.until(lambda: len(terminal.text.rstrip()) > shown)
        assert terminal.status is None, self._describe(f"it ended: {statement}")
        await terminal.interrupt()

    async def _serve(self, statement: str, bare: str) -> None:
        found = _SERVER.search(bare)
        assert found is not None
        named = next(filter(None, found.groups()))
        kind = {"up": "pages", "serve": "pages"}.get(named, named)
        terminal = self.serving.pop(kind, None)
        if terminal is not None:
            await terminal.interrupt()
        else:
            terminal = await self._terminal()
        terminal.paste(statement)
        self.serving[kind] = terminal
        await self._ready(bare, terminal)

    async def _ready(self, bare: str, terminal: Terminal) -> None:
        """Wait until a server answers, or a watcher has done something."""
        port = re.search(r"--port (\d+)", bare)
        begun = 0 if bare.endswith("&") else len(terminal.text)
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as session:
            while not await self._is_up(session, bare, port[1] if port else "", terminal.text[begun:]):
                runs = bare.endswith("&") or terminal.status is None
                assert runs, self._describe(f"it ended: {bare}")
                await asyncio.sleep(0.05)

    async def _is_up(self, session: aiohttp.ClientSession, bare: str, port: str, text: str) -> bool:
        if not port or "demo-tools" in bare:
            return re.search("leading|standing by|version |✗|(listening|running) on http", text) is not None
        announced = "listening" in text or "tests.vendors" in bare
        return announced and await _answers(session, f"http://127.0.0.1:{port}/readyz")

    def _describe(self, what: str) -> str:
        shown = (f"--- a terminal\n{one.text[-4000:]}" for one in reversed(self.terminals))
        return "\n".join((what, *shown))

    async def leave(self) -> None:
        """Close all terminals, and remove everything."""
        await asyncio.gather(*(one.close() for one in self.terminals))
        for data in (self.root / "home").rglob("postmaster.pid"):
            await end_postgres(data.parent)
        shutil.rmtree(self.root, ignore_errors=True)


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status in (200, 404)  # of a vendor's server
    except aiohttp.ClientConnectionError:
        return False


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def copy_checkout(folder: Path, *names: str) -> None:
    """Copy files and folders of this repository, as a clone has them."""
    for name in names:
        source, target = REPOSITORY / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            shutil.copy(source, target)
