"""Commands in processes of their own: signals, ports, pipes and a terminal."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from tests.cli.conftest import Shell
from tests.control.place import echo

APPLY_LOCK = 0x6167656E74736401
WAITING = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def eventually(connection: psycopg.Connection, query: str) -> None:
    """Wait until ``query`` finds a row; the test's own limit is the bound."""
    while connection.execute(query.encode()).fetchone() is None:
        time.sleep(0.01)


def test_an_interrupt_in_the_middle_of_a_sync(stocked: Shell, database_url: str) -> None:
    """130, no traceback, nothing applied, and no session left behind that holds the lock."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("SELECT pg_advisory_lock(%s::bigint)", (APPLY_LOCK,))
        process = stocked.spawn("sync")
        eventually(admin, WAITING)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        assert process.returncode == 130
        assert "Traceback" not in err
        assert "applied" not in out
        admin.execute("SELECT pg_advisory_unlock(%s::bigint)", (APPLY_LOCK,))
        assert admin.execute("SELECT count(*) FROM agents").fetchone() == (0,)
    assert stocked.run("sync").code == 0


def test_up_stops_in_order(stocked: Shell, database_url: str) -> None:
    """Ctrl-C on a running `up` is 0; what it synced is there, and its replica has signed off."""
    process = stocked.spawn("up", "--port", "0", "--no-require-mac")
    said = []
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if "Stop with Ctrl-C" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 0, "".join(said) + err
    assert "Traceback" not in err
    assert "stopping" in err
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM agents").fetchone() == (2,)


def test_an_interrupt_while_up_starts(stocked: Shell, database_url: str) -> None:
    """Before it is ready: 130 at once, and nothing half-applied."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("SELECT pg_advisory_lock(%s::bigint)", (APPLY_LOCK,))
        process = stocked.spawn("up", "--port", "0", "--no-require-mac")
        eventually(admin, WAITING)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        assert process.returncode == 130, err
        assert "Traceback" not in err
        assert admin.execute("SELECT count(*) FROM agents").fetchone() == (0,)


def test_a_port_in_use(stocked: Shell) -> None:
    """Told before anything else is started, with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        for command in ("up", "serve"):
            done = stocked.run(command, "--port", port)
            assert done.code in (1, 2)
            assert port in done.err
            assert "--port" in done.err


def test_another_address_needs_a_token(stocked: Shell) -> None:
    """An open bind without one is refused."""
    done = stocked.run("serve", "--host", "0.0.0.0", "--port", "0")  # noqa: S104
    assert done.code in (1, 2)
    assert "AGENTSD_TOKEN_FILE" in done.err or "token" in done.err


def test_a_closed_pipe(shell: Shell) -> None:
    """``agentsd schema | head -1`` ends without a word of complaint."""
    with shell.spawn("schema") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_colour_on_a_terminal_only(stocked: Shell) -> None:
    """Styles and a bar on a terminal, plain text in a pipe."""
    stocked.write("bad.yaml", "name: 1\n")
    piped = stocked.spawn("validate")
    _, err = piped.communicate()
    assert "\x1b[" not in err
    agentsd = Path(sys.executable).with_name("agentsd")
    done = subprocess.run(
        ["script", "-qec", f"{agentsd} validate", "/dev/null"],
        cwd=stocked.root,
        capture_output=True,
        check=False,
        text=True,
        env={"TERM": "xterm-256color", "PATH": "/usr/bin:/bin", "HOME": str(stocked.root)},
    )
    assert done.returncode == 1
    assert "\x1b[" in done.stdout
    assert "agents.d/bad.yaml:1:7" in done.stdout


def test_as_a_module(shell: Shell) -> None:
    """``python -m agentsd`` is the same program."""
    shell.write("a.yaml", echo(1))
    done = shell.spawn("validate")
    _, err = done.communicate()
    assert (done.returncode, err) == (0, "✓ agents.d: every manifest is valid\n")
