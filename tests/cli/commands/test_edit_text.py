"""``agentsd edit``: only what was edited changes, and an edit is never lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.cli.sealed import SECRET, opened
from tests.control.place import echo

VOICE = "e7b694f8-d277-47ff-82bf-cb48e7662647"
TEXT = f"""\
# Who answers first.
id: 11111111-1111-4111-8111-111111111111

name:   "Support"   # shown
llm:
    provider: groq.com
    # from the console
    api_key: {SECRET}
    model: m

tts: {{provider: async.ai, api_key: '{SECRET}-2', voice_id: {VOICE}, model_id: m}}
"""


@pytest.fixture
def sealed(keyed: Shell) -> Shell:
    """A sealed manifest in a form that no tool would write."""
    keyed.write("a.yaml", TEXT)
    assert keyed.run("seal", "agents.d/a.yaml").code == 0
    return keyed


def edit(shell: Shell, *changes: tuple[str, str], before: str = "") -> tuple[int, str]:
    """Replace texts in the editor; exit code and what was printed."""
    script = shell.root / "editor.py"
    script.write_text(
        f"import pathlib, sys\n{before}\np = pathlib.Path(sys.argv[1])\nt = p.read_bytes().decode()\n"
        f"for old, new in {changes!r}:\n    assert old in t\n    t = t.replace(old, new)\n"
        "p.write_bytes(t.encode())\n"
    )
    shell.env(EDITOR=f"{sys.executable} {script}", VISUAL=None)
    done = shell.run("edit", "a")
    return done.code, done.err


def changed_lines(before: str, after: str) -> list[str]:
    """The first words of the lines that are not in both."""
    different = set(before.splitlines()) ^ set(after.splitlines())
    return sorted({line.split()[0] for line in different})


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("model: m\\n\\n", "model: other\\n\\n", ["model:"]),
        ("# shown", "# on the page", ["name:"]),
        (f"api_key: {SECRET}\\n", "api_key: sk-new\\n", ["api_key:", "mac:"]),
        ("\\n\\nname", "\\nlanguage: en\\nname", ["language:"]),
    ],
)
def test_only_what_was_edited_changes(sealed: Shell, old: str, new: str, lines: list[str]) -> None:
    """Comments, blank lines, indentation, quotes and the other ciphertexts keep their bytes."""
    path = sealed.root / "agents.d/a.yaml"
    before = path.read_text()
    code, said = edit(sealed, (old.encode().decode("unicode_escape"), new.encode().decode("unicode_escape")))
    assert code == 0, said
    after = path.read_text()
    changed = changed_lines(before, after)
    assert [line for line in changed if line not in ("", "lastmodified:")] == lines  # that is in seconds
    value = opened(sealed, "a.yaml")
    assert value["llm"]["api_key"] == ("sk-new" if "sk-new" in new else SECRET)  # type: ignore[index]
    assert value["tts"]["api_key"] == f"{SECRET}-2"  # type: ignore[index]


def test_fields_in_another_order(sealed: Shell) -> None:
    """Moved, renamed and removed at once: the real sops opens what comes out."""
    code, said = edit(
        sealed, (f"    # from the console\n    api_key: {SECRET}\n    model: m\n", ""), ("tts: {", "tts: { ")
    )
    assert code == 1  # a section without its key
    assert "your edit is kept in agents.d/a.yaml.edit" in said
    code, said = edit(
        sealed, (f"    api_key: {SECRET}\n    model: m\n", f"    model: m\n    api_key: {SECRET}\n")
    )
    assert code == 0, said
    assert list(opened(sealed, "a.yaml")["llm"]) == ["provider", "model", "api_key"]  # type: ignore[call-overload]


def test_an_edit_without_a_change(sealed: Shell) -> None:
    before = (sealed.root / "agents.d/a.yaml").read_bytes()
    code, said = edit(sealed)
    assert (code, "is unchanged" in said) == (0, True)
    assert (sealed.root / "agents.d/a.yaml").read_bytes() == before


def test_a_refused_edit_is_kept(sealed: Shell) -> None:
    """Sealed, where the message says; the file stays."""
    path = sealed.root / "agents.d/a.yaml"
    before = path.read_bytes()
    for name in ("a.yaml.edit", "a.yaml.edit1"):
        code, said = edit(sealed, ("model: m", "modell: m"), (SECRET, f"{SECRET}-new"))
        assert code == 1
        assert f"agents.d/{name}" in said
        kept = (sealed.root / "agents.d" / name).read_text()
        assert "modell: m" in kept
        assert SECRET not in kept
    assert path.read_bytes() == before


def test_an_edit_beside_another_one(sealed: Shell) -> None:
    """Whoever was first stays, and the other edit is kept."""
    path = sealed.root / "agents.d/a.yaml"
    other = path.read_text() + "# another\n"
    code, said = edit(sealed, ("model: m", "model: x"), before=f"open({str(path)!r}, 'w').write({other!r})")
    assert code != 0
    assert "agents.d/a.yaml.edit" in said
    assert path.read_text() == other


@pytest.mark.parametrize("kind", ["missing", "folder", "text", "passphrase", "armored", "command"])
def test_without_the_key(sealed: Shell, kind: str) -> None:
    """Commands that need none go on and name what is wrong; a plain manifest is edited all the same."""
    key = sealed.root / "key"
    contents = {
        "text": b"not a key\n",
        "passphrase": b"age-encryption.org/v1\n-> scrypt 9Lg 18\n\xff\xfe\x00\n",
        "armored": b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n",
    }
    if kind == "folder":
        key.mkdir()
    elif kind in contents:
        key.write_bytes(contents[kind])
    by_command = kind == "command"
    sealed.env(SOPS_AGE_KEY=None, SOPS_AGE_KEY_FILE=None if by_command else str(key))
    sealed.env(SOPS_AGE_KEY_CMD="false" if by_command else None)
    done = sealed.run("validate")
    assert done.code == 0, done.err
    assert ("SOPS_AGE_KEY_CMD" if kind == "command" else str(key)) in done.err
    sealed.write("a.yaml", echo(1))
    code, said = edit(sealed, ("hello", "bye"))
    assert code == 0, said
    assert "bye" in Path(sealed.root / "agents.d/a.yaml").read_text()


def test_rotation(sealed: Shell) -> None:
    """A new data key for whom the rules name now; the same secrets, and the text around them."""
    path = sealed.root / "agents.d/a.yaml"
    before = path.read_text()
    done = sealed.run("rotate", "agents.d")
    assert done.code == 0, done.err
    after = path.read_text()
    assert not {line for line in before.splitlines() if "ENC[" in line} & set(after.splitlines())
    assert before.partition("sops:")[0].count("\n") == after.partition("sops:")[0].count("\n")
    assert opened(sealed, "a.yaml")["llm"]["api_key"] == SECRET  # type: ignore[index]
    assert sealed.run("validate", "--strict").code == 0
    sealed.env(SOPS_AGE_KEY=None, SOPS_AGE_KEY_FILE=None)
    assert sealed.run("rotate", "a").code == 1
    assert path.read_text() == after
