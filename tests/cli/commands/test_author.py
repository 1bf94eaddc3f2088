"""``new`` and ``seal``: files made by hand, and no plaintext anywhere."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from uuid import UUID

import pytest
import yaml

from tests.cli.conftest import Shell
from tests.cli.sealed import SECRET, nowhere, opened
from tests.control.place import echo, groq


class TestNew:
    """``agentsd new``."""

    def test_without_a_secret(self, shell: Shell) -> None:
        """A manifest with a pinned id that is valid as it stands."""
        done = shell.run("new", "greeter")
        assert done.code == 0
        assert "wrote agents.d/greeter.yaml" in done.err
        value = yaml.safe_load((shell.root / "agents.d/greeter.yaml").read_text())
        assert UUID(value["id"]).version == 4
        assert value["name"] == "Greeter"
        assert "sops" not in value
        assert shell.run("validate", "--strict").code == 0

    def test_secrets_come_by_standard_input(self, keyed: Shell) -> None:
        """A line each, in the order of sections; sealed at once, and what sops opens is what was given."""
        done = keyed.run(
            "new", "acme~sales", "--llm", "groq.com", "--tts", "async.ai",
            "--set", "llm.model=12e3", "--set", "llm.temperature=0.5", "--name", "on",
            stdin=f"{SECRET}\n12e5\n",
        )  # fmt: skip
        assert done.code == 0, done.err
        value = opened(keyed, "acme/sales.yaml")
        assert value["llm"] == {
            "provider": "groq.com", "api_key": SECRET, "model": "12e3", "temperature": 0.5
        }  # fmt: skip
        assert value["tts"]["api_key"] == "12e5"  # type: ignore[index]
        assert value["name"] == "on"
        assert SECRET not in done.err + done.out
        nowhere(keyed)
        assert keyed.run("validate", "--strict").code == 0

    def test_it_needs_no_key(self, shell: Shell) -> None:
        """Sealing takes the recipients of .sops.yaml only."""
        assert shell.run("new", "a", "--llm", "groq.com", stdin=f"{SECRET}\n").code == 0
        assert opened(shell, "a.yaml")["llm"]["api_key"] == SECRET  # type: ignore[index]

    def test_the_schema_is_named_where_it_is(self, shell: Shell) -> None:
        """So that an editor completes the fields."""
        (shell.root / "schemas").mkdir()
        (shell.root / "schemas/agent.schema.json").write_text("{}")
        shell.run("new", "acme/x")
        first = (shell.root / "agents.d/acme/x.yaml").read_text().splitlines()[0]
        assert first == "# yaml-language-server: $schema=../../schemas/agent.schema.json"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["two words"], "two-words"),
            (["current"], "reserved"),
            (["taken"], "agentsd edit taken"),
            (["x", "--llm", "grok.com"], "did you mean 'groq.com'?"),
            (["x", "--llm", "groq.com"], "was not given"),
            (["x", "--set", "llm.reply"], "--set llm.model=NAME"),
            (["x", "--set", "llm.replly=x"], "did you mean 'reply'?"),
            (["x", "--set", "tts.voice_id=x"], "use --tts"),
            (["x", "--set", "foo.bar=x"], "sections are"),
            (["x", "--llm", "groq.com", "--set", f"llm.api_key={SECRET}"], "never put it on a command line"),
            (["x", "--llm", "groq.com", "--set", "llm.temperature=.nan"], "finite"),
        ],
    )
    def test_what_cannot_be(self, shell: Shell, arguments: list[str], words: str) -> None:
        """2, what is wrong and what to do, and no file."""
        shell.write("taken.yml", echo(1))
        done = shell.run("new", *arguments)
        assert done.code == 2
        assert words in done.err
        assert SECRET not in done.err
        assert [file.name for file in (shell.root / "agents.d").iterdir()] == ["taken.yml"]

    def test_a_draft_that_is_not_valid(self, shell: Shell) -> None:
        """1, the violation, and no file."""
        done = shell.run("new", "x", "--llm", "groq.com", "--set", "llm.temperature=9", stdin="sk-1\n")
        assert done.code == 1
        assert "agents.d/x.yaml:" in done.err
        assert not (shell.root / "agents.d/x.yaml").exists()

    def test_without_rules(self, shell: Shell) -> None:
        """Nobody to seal to: nothing is written."""
        (shell.root / ".sops.yaml").unlink()
        done = shell.run("new", "x", "--llm", "groq.com", stdin=f"{SECRET}\n")
        assert done.code == 1
        assert ".sops.yaml" in done.err
        nowhere(shell)


PLAIN = f"""\
# Who answers first.
id: 11111111-1111-4111-8111-111111111111

name: Süpport 🎧   # shown
llm: {{provider: groq.com, api_key: "{SECRET}", model: m}}

tts:
  provider: async.ai
  api_key: >-
    {SECRET}-folded
    second
  voice_id: e7b694f8-d277-47ff-82bf-cb48e7662647

  model_id: m   # tail
system_prompt: |
  Two lines,

  and a blank one.
# the end
"""


class TestSeal:
    """``agentsd seal``."""

    def test_only_secrets_change(self, keyed: Shell) -> None:
        """Comments, blank lines, quotes and order stay; a sops block is added at the end."""
        file = keyed.write("acme/a.yaml", PLAIN)
        file.chmod(0o640)
        assert keyed.run("seal", "agents.d/acme/a.yaml").code == 0
        after = file.read_text()
        body, _, block = after.partition("sops:\n")
        before = [line for line in PLAIN.splitlines() if "api_key" not in line]
        before = [line for line in before if SECRET not in line and "second" not in line]
        assert [line for line in body.splitlines() if "ENC[" not in line] == before
        assert body.count("ENC[") == 2
        assert "recipient: age1" in block
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
        value = opened(keyed, "acme/a.yaml")
        assert value["llm"]["api_key"] == SECRET  # type: ignore[index]
        assert value["tts"]["api_key"] == f"{SECRET}-folded second"  # type: ignore[index]
        assert value["system_prompt"] == "Two lines,\n\nand a blank one.\n"
        nowhere(keyed)
        assert keyed.run("validate", "--strict").code == 0

    @pytest.mark.parametrize(
        "change",
        [
            lambda text: text.replace("\n", "\r\n"),
            lambda text: "\ufeff" + text,
            lambda text: "---\n" + text,
            lambda text: text.rstrip("\n"),
            lambda text: json.dumps(yaml.safe_load(text), ensure_ascii=False),
            lambda text: text + "...\n",
        ],
        ids=["CRLF", "BOM", "document mark", "no last line break", "JSON", "document end"],
    )
    def test_other_ways_of_writing(self, keyed: Shell, change: Callable[[str], str]) -> None:
        """Whatever the text looks like, the result opens to the same values, or is refused as it stands."""
        file = keyed.write("a.yaml", change(PLAIN).encode())
        done = keyed.run("seal", "agents.d/a.yaml")
        assert done.code == 0, done.err
        assert SECRET not in file.read_text()
        expected = yaml.safe_load(PLAIN)
        assert opened(keyed, "a.yaml") == expected
        assert keyed.run("validate", "--strict").code == 0

    @pytest.mark.parametrize(
        ("path", "content", "code", "words"),
        [
            ("a.yaml", echo(1), 2, "may stay plain"),
            ("a.yaml", "x: [", 1, "agents.d/a.yaml:2:1"),
            ("a.yaml", groq(1).replace("model", "modell"), 1, "did you mean 'model'?"),
            ("a.yaml", groq(1, key="12e5"), 1, "quotes"),
        ],
    )
    def test_what_cannot_be(self, shell: Shell, path: str, content: str, code: int, words: str) -> None:
        """The file stays as it was."""
        file = shell.write(path, content)
        done = shell.run("seal", f"agents.d/{path}")
        assert done.code == code
        assert words in done.err
        assert file.read_text() == content

    def test_sealed_already(self, shell: Shell) -> None:
        """Sealing twice would lock the key in."""
        shell.write("a.yaml", shell.keys.seal(groq(1)))
        done = shell.run("seal", "agents.d/a.yaml")
        assert done.code == 2
        assert "agentsd edit" in done.err
