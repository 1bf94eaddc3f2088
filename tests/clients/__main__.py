"""``python -m tests.clients``: install the clients, try them against a server, and print a table.

Nothing is installed unless that is asked for, by ``--install`` or in CI by ``CI=true``; what is not
installed is left out, with a line. Name clients to try only those: ``python -m tests.clients langchain``.
``--realtime`` tries only what clients do with calls.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.clients.catalog import CLIENTS, SCRIPTS, ClientProgram
from tests.clients.documentation import read_examples
from tests.clients.environment import Environments, InstallFailed, find_cache
from tests.clients.replays import replay_clients
from tests.clients.world import ClientWorld, open_world
from tests.consent import OPTION, may_install

AT_A_TIME = 2
CLIENT_TIMEOUT_SECONDS = 240
MARK = "VERDICT "


@dataclass(frozen=True)
class Verdict:
    """Line of the table: ``green``, ``refused by name``, ``red``, or ``replayed``."""

    client: str
    version: str
    feature: str
    verdict: str
    detail: str = ""


def main(arguments: Sequence[str]) -> int:
    """Return 1 if a line of the table is red."""
    options = parse(arguments)
    clients = [client for client in CLIENTS if is_wanted(client, options)]
    environments = Environments(find_cache(), pinned=options.pinned)
    started = time.monotonic()
    if may_install(arguments):
        install(environments, clients)
    there = [client for client in clients if environments.read_version(client)]
    for client in clients:
        if client not in there:
            print(f"skipped: {client.name} is not installed (python -m tests.clients --install does it)")
    ready = time.monotonic()
    if not there and not options.replays:
        return 0
    computed = read_cpu_seconds()
    verdicts = asyncio.run(try_clients(environments, there, options))
    print_table(verdicts)
    counts = {word: sum(one.verdict == word for one in verdicts) for word in VERDICTS}
    print(", ".join(f"{count} {word}" for word, count in counts.items() if count))
    clock, cpu = time.monotonic() - ready, read_cpu_seconds() - computed
    print(f"installed in {ready - started:.0f} s, tried in {clock:.0f} s, of which {cpu:.0f} s of CPU")
    return 1 if counts["red"] else 0


REALTIME = "realtime"
VERDICTS = ("green", "refused by name", "replayed", "red")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__)
    parser.add_argument("names", nargs="*", help="clients to try; all by default")
    parser.add_argument("--replays", action="store_true", help="only the clients that no registry has")
    parser.add_argument("--pinned", action="store_true", help="in the versions of CI, not in the newest")
    parser.add_argument(
        "--realtime", action="store_true", help="only calls, of the clients that can have them"
    )
    parser.add_argument("--core", action="store_true", help="only the clients that CI tries")
    parser.add_argument(OPTION, action="store_true", help="install or update the clients first")
    return parser.parse_args(arguments)


def is_wanted(client: ClientProgram, options: argparse.Namespace) -> bool:
    """Return whether the options name a client."""
    if options.replays or (options.realtime and not client.realtime):
        return False
    return client.name in options.names if options.names else client.core or not options.core


def install(environments: Environments, clients: Sequence[ClientProgram]) -> None:
    """Bring the environments up to date; what cannot be installed is reported and left as it is."""
    try:
        environments.install_tools()
    except InstallFailed as error:
        print(f"skipped: no package index answers ({error})")
        return
    languages = {client.language for client in clients}
    if "javascript" in languages:
        try:
            environments.install_javascript()
        except InstallFailed as error:
            print(f"skipped: npm does not answer, so clients in JavaScript stay as they are ({error})")
    for client in clients:
        if client.language == "python":
            try:
                environments.install_python(client)
            except InstallFailed as error:
                print(f"{client.name} cannot be installed: {error}")


def read_cpu_seconds() -> float:
    """Return the CPU time of this process and of those that it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


async def try_clients(
    environments: Environments, clients: Sequence[ClientProgram], options: argparse.Namespace
) -> list[Verdict]:
    """Try all clients, two at a time, in the order of the catalogue, and then the replayed ones."""
    only = REALTIME if options.realtime else ""
    places = asyncio.Semaphore(AT_A_TIME)
    async with open_world() as world:

        async def try_one(client: ClientProgram) -> list[Verdict]:
            async with places:
                verdicts = await ClientTrial(environments, client, world, only).run()
            red = sum(one.verdict == "red" for one in verdicts)
            print(f"tried {client.name}: {len(verdicts)} features, {red} red", flush=True)
            return verdicts

        found = await asyncio.gather(*(try_one(client) for client in clients))
        verdicts = [verdict for some in found for verdict in some]
        if not (options.core or options.names or only):
            for name, feature, detail in await replay_clients(world):
                verdicts.append(Verdict(name, "", feature, "red" if detail else "replayed", detail))
    return verdicts


class ClientTrial:
    """Run of one client's script and examples; ``only`` is how the features' names begin."""

    def __init__(
        self, environments: Environments, client: ClientProgram, world: ClientWorld, only: str
    ) -> None:
        self.environments, self.client, self.world, self.only = environments, client, world, only
        self.version = environments.read_version(client)
        self._copies = environments.npm_folder / f"run-{os.getpid()}-{client.name}"

    async def run(self) -> list[Verdict]:
        """Return the verdicts on all features, and on the examples of the documentation."""
        with tempfile.TemporaryDirectory(prefix="agentsd-client-") as home:
            verdicts = await self._run_script(Path(home))
            for heading, example in read_examples(self.client.section).items():
                feature = f"{heading.lower()}: example of the documentation".removeprefix(": ")
                if feature.startswith(self.only):
                    verdicts.append(await self._run_example(Path(home), feature, example))
        shutil.rmtree(self._copies, ignore_errors=True)
        return verdicts

    async def _run_script(self, home: Path) -> list[Verdict]:
        code, out, err = await self._execute(self.client.script, home, *filter(None, [self.only]))
        lines = [json.loads(line.removeprefix(MARK)) for line in out.splitlines() if line.startswith(MARK)]
        verdicts = [self._judge(name, verdict, detail) for name, verdict, detail in lines]
        if code or not verdicts:
            said = (err.strip() or out.strip()).splitlines()[-1:] or ["no output"]
            verdicts.append(self._judge("the script itself", "red", f"exit {code}: {said[0]}"[:300]))
        if os.environ.get("SHOW_TRACES"):
            print(err, file=sys.stderr)
        return verdicts

    async def _run_example(self, home: Path, feature: str, example: str) -> Verdict:
        text = self.world.localize(example)
        if self.client.name == "codex":
            text = f"{CODEX_HEAD}\nawait tryConfig({json.dumps(text)});\n"
        file = home / f"example{self.client.script.suffix}"
        file.write_text(text)
        code, out, err = await self._execute(file, home)
        good = not code and out.strip()
        detail = "" if good else " ".join((err or out).split())[-300:]
        return self._judge(feature, "green" if good else "red", detail)

    async def _execute(self, script: Path, home: Path, *arguments: str) -> tuple[int, str, str]:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TIKTOKEN_CACHE_DIR": str(self.environments.token_tables),
            "PYTHONWARNINGS": "ignore",
            "SHOW_TRACES": os.environ.get("SHOW_TRACES", ""),
            **self.world.environment(),
        }
        if self.client.language == "python":
            command = [str(self.environments.python(self.client)), str(script), *arguments]
        else:
            command = [self.environments.node, str(self._place(script)), *arguments]
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=home,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 22,
        )
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT_SECONDS):
                out, err = await process.communicate()
        except TimeoutError:
            process.kill()
            out, err = await process.communicate()
            return -9, out.decode(), f"it took longer than {CLIENT_TIMEOUT_SECONDS} seconds"
        return process.returncode or 0, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")

    def _place(self, script: Path) -> Path:
        """Copy a script and its helpers beside the packages, where node looks for them."""
        shutil.copytree(
            SCRIPTS, self._copies, ignore=shutil.ignore_patterns("*.py", "__pycache__"), dirs_exist_ok=True
        )
        return Path(shutil.copy(script, self._copies))

    def _judge(self, feature: str, verdict: str, detail: str) -> Verdict:
        return Verdict(self.client.name, self.version, feature, verdict, detail)


CODEX_HEAD = 'import { tryConfig } from "./codex.mjs";'


def print_table(verdicts: Sequence[Verdict]) -> None:
    """Print the table: client, version, feature, verdict."""
    rows = [("client", "version", "feature", "verdict", "")]
    rows += [(one.client, one.version, one.feature, one.verdict, one.detail) for one in verdicts]
    widths = [max(len(row[at]) for row in rows) for at in range(4)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[4]]).rstrip())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
