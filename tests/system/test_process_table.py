"""Which processes run: what their leftovers may be removed by."""

from __future__ import annotations

import os
import subprocess
import sys

from agentsd.system.process_table import is_alive


def test_a_process_that_ended_does_not_run_even_before_it_is_reaped() -> None:
    """Nor does one whose id no process can have; this one does."""
    assert is_alive(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()  # ends with the process
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and not reaped
    assert not is_alive(child.pid)
    child.wait()
    child.stdout.close()
    assert not is_alive(child.pid)
    assert not is_alive(2**40)
