"""Identifiers are unique, also across a fork."""

from __future__ import annotations

import os
import re

from agentsd.system.identifier import make_identifier


def test_identifiers_have_their_form_and_are_unique() -> None:
    """More than a block of them."""
    made = [make_identifier("req") for _ in range(1000)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"req_[0-9a-f]{32}", one) for one in made)
    assert re.fullmatch(r"item-[0-9a-f]{24}", make_identifier("item", "-", 24))


def test_a_forked_process_draws_others() -> None:
    """Else the answers of two workers would share their identifiers."""
    make_identifier("x")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, make_identifier("x").encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100).decode() != make_identifier("x")
    os.close(reading)
    os.close(writing)
