"""``agentsd status --watch``, in a process of its own."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from typing import Any

import psycopg

from tests.cli.conftest import Shell
from tests.control.place import echo


def read(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line, which is one JSON document."""
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def until(process: subprocess.Popen[str], **wanted: object) -> dict[str, Any]:
    """The next line that says this."""
    while True:
        found = read(process)
        if wanted.items() <= found.items():
            return found


def test_a_line_for_each_change(stocked: Shell, database_url: str) -> None:
    """How things stand, then runs, versions, conditions, drift and replicas, as they come and go."""
    assert stocked.run("sync").code == 0
    process = stocked.spawn("status", "--watch", "--format", "json")
    assert read(process) == {
        "kind": "status",
        "name": "agents",
        "state": "1",
        "agents": 2,
        "owners": 2,
        "replicas": 0,
    }
    stocked.write("c.yaml", echo(3, extra="active: false\n"))
    assert stocked.run("sync").code == 0
    run = until(process, kind="run", state="applied")
    assert (run["version"], run["trigger"], run["counts"]["create"]) == (2, "cli", 1)
    assert until(process, kind="version")["state"] == "2"
    assert until(process, kind="condition", name="c.yaml")["state"] == "Suspended"
    stocked.write("c.yaml", "name: [\n")
    assert stocked.run("sync").code == 1
    assert until(process, kind="run", state="refused")["message"]
    with psycopg.connect(database_url, autocommit=True) as sql:
        sql.execute("UPDATE agents SET name = 'Hacked' WHERE slug = 'a'")
        sql.execute("INSERT INTO replicas (id, host, pid, version) VALUES (gen_random_uuid(), 'web1', 7, 2)")
        found = {(one["kind"], one["name"]): one["state"] for one in (read(process), read(process))}
        assert found == {("replica", "web1:7"): "joined", ("drift", "a"): "drifted"}
        sql.execute("DELETE FROM replicas")
    stocked.write("c.yaml", echo(3))
    assert stocked.run("sync").code == 0
    until(process, kind="condition", name="c.yaml", state="Ready")
    until(process, kind="drift", name="a", state="healed")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, err.strip()) == (130, "")


def test_lines_for_people_in_a_pipe(stocked: Shell) -> None:
    """The same without colour."""
    process = stocked.spawn("status", "--watch")
    assert process.stdout is not None
    assert process.stdout.readline().split()[:3] == ["status", "agents", "0"]
    assert stocked.run("sync").code == 0
    assert "2 create" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    assert "\x1b" not in out


def test_a_screen_on_a_terminal(stocked: Shell) -> None:
    """It is drawn anew when something happens; afterwards the terminal is as it was."""
    main, terminal = pty.openpty()
    process = stocked.spawn("status", "--watch", stdout=terminal, stdin=terminal)
    os.close(terminal)
    seen = b""
    while b"version 0" not in seen:
        seen += os.read(main, 4096)
    assert seen.startswith(b"\x1b[?1049h")
    assert stocked.run("sync").code == 0
    while b"version 1" not in seen:
        seen += os.read(main, 4096)
    process.send_signal(signal.SIGINT)
    while b"\x1b[?1049l" not in seen:
        seen += os.read(main, 4096)
    _, err = process.communicate()
    os.close(main)
    assert (process.returncode, err.strip()) == (130, "")
