"""What a commit says: any text makes a name, a subject and trailers, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.files.git.commit import Author, CommitSpec, commit_files
from tests.files.git.repositories import Place, git, new_place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A repository with two manifests, committed."""
    return new_place(tmp_path)


@pytest.mark.parametrize(
    ("name", "email", "shown"),
    [
        ("Ada\r\nEvil: yes", "ada@x\n.org", "Ada Evil: yes <ada@x.org>"),
        ("A <root@x> B", "<a@x> <b@x>", "A root@x B <a@xb@x>"),
        ("🎈 Zoë 👩‍💻", "zoë@example.org", "🎈 Zoë 👩‍💻 <zoë@example.org>"),
        ("", "", "agentsd <agentsd@localhost>"),
        (" ;.,<>\"'\\ ", "<>", "agentsd <agentsd@localhost>"),
        ("a\0\x1b[31m\u202e\ud800b", "x\0@y", "a [31m b <x@y>"),
        ("x" * 100_000, "e" * 100_000, f"{'x' * 200} <{'e' * 200}>"),
    ],
)
async def test_a_hostile_author_is_only_a_name(place: Place, name: str, email: str, shown: str) -> None:
    """No header, no second address, no terminal's colours; never empty."""
    order = CommitSpec("x", author=Author(name, email))
    await commit_files(place.folder, [place.write("new.yaml")], order)
    assert git(place.top, "log", "-1", "--format=%an <%ae>") == shown


async def test_text_cannot_pass_for_a_trailer(place: Place) -> None:
    """Line ends in a subject, a trailer's name or its value are blanks; a body's last lines are body."""
    order = CommitSpec(
        "Change\r\n\r\nEdited-by: root",
        body="why\r\n\r\nEdited-by: root\r\n# kept\r\n\x1b]0;x\x07",
        author=Author("a", "a@x"),
        trailers=(("Edited by\n", "acme/ci\r\nEdited-by: root"), ("Empty", "\r\n"), ("\n", "x")),
    )
    await commit_files(place.folder, [place.write("new.yaml")], order)
    assert git(place.top, "log", "-1", "--format=%s") == "Change Edited-by: root"
    assert git(place.top, "log", "-1", "--format=%(trailers)") == "Edited-by: acme/ci Edited-by: root"
    assert git(place.top, "log", "-1", "--format=%B").splitlines()[2:6] == [
        *("why", "", "Edited-by: root", "# kept"),
    ]


@given(st.text(), st.text(), st.text(), st.text(), st.text())
def test_every_message_and_author_is_text_that_git_takes(
    subject: str, body: str, name: str, key: str, value: str
) -> None:
    """One line of subject, trailers only where they were asked for, and always UTF-8."""
    order = CommitSpec(subject, body=body, author=Author(name, name), trailers=((key, value),))
    head, *rest = order.message.split("\n")
    assert head.strip() == head != ""
    assert not rest[0]
    order.message.encode()
    for text in (order.author.name, order.author.email):
        assert text.encode()
        assert not set(text) & set("<>\n\r\0")
    assert Author(order.author.name, order.author.email).email == order.author.email
