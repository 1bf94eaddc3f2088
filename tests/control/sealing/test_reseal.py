"""Edits of sealed files: what an edit does not touch keeps its bytes, and who needs a key for what."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from agentsd.core.errors import ConfigError, KeyNeeded, SealError, SopsFailed
from agentsd.core.manifest.document import parse_document
from tests.control.sealed_edit import RENEWED, Desk, touched
from tests.runtime.world import Keys

KEY = ("llm", "api_key")
SECOND = ("llm", "fallback", 1, "api_key")


@pytest.fixture
def desk(tmp_path: Path, keys: Keys) -> Desk:
    return Desk(tmp_path, keys)


@pytest.fixture
def sealed(desk: Desk) -> bytes:
    """``TEXT`` with its four secrets sealed."""
    return desk.seal()


def seals(data: bytes) -> list[str]:
    return re.findall(r"ENC\[[^]]*\]", data.decode().split("\nsops:")[0])


def plain(desk: Desk, data: bytes, *keys: Keys) -> Any:
    """What the real sops reads, which must be able to."""
    value = desk.read(data, *keys)
    assert value is not None
    return value


class TestWithoutAKey:
    """What a server that holds no private key can do."""

    async def test_plain_fields_change_alone(self, desk: Desk, sealed: bytes) -> None:
        """One line of the file differs; seals and MAC stay, and the real sops opens it."""
        after = await desk.edit(sealed, {("name",): "Help"}, keys=())
        assert touched(sealed, after) == ["+name", "-name"]
        assert plain(desk, after)["name"] == "Help"
        assert plain(desk, after)["llm"]["api_key"] == "sk-canary-one"

    async def test_an_edit_that_changes_nothing(self, desk: Desk, sealed: bytes) -> None:
        """The same bytes, under a full MAC too."""
        assert await desk.edit(sealed, keys=()) == sealed
        full = desk.seal(mac_only_encrypted=None)
        assert await desk.edit(full, keys=()) == full

    async def test_no_sops_is_needed_for_plain_fields(
        self, desk: Desk, sealed: bytes, tmp_path: Path
    ) -> None:
        """Neither for a file that is not sealed."""
        nowhere = tmp_path / "none"
        after = await desk.edit(sealed, {("greeting",): "Hi"}, keys=(), program=nowhere)
        assert touched(sealed, after) == ["+greeting", "-greeting"]
        after = await desk.edit(b"name: x # y\n", {("name",): "z"}, keys=(), program=nowhere)
        assert after == b"name: z # y\n"

    async def test_a_new_manifest_is_sealed_to_public_recipients(self, desk: Desk) -> None:
        """No file yet, no key: the result opens for its holders to what was given."""
        desk.rules()
        value = {("name",): "New", ("llm",): {"provider": "groq.com", "model": "m"}}
        after = await desk.edit(b"", value, {KEY: "sk-new"}, keys=())
        assert b"sk-new" not in after
        assert plain(desk, after) == {
            "name": "New", "llm": {"provider": "groq.com", "api_key": "sk-new", "model": "m"}
        }  # fmt: skip

    async def test_what_sops_would_write_otherwise(self, desk: Desk) -> None:
        """Fractions without a fraction, comments in lists, odd quotes: as they were, sealed or edited."""
        desk.rules()
        text = "a: 1.0\nb: [0.0, 1e3] # x\nc:\n  # one\n  - 'yes'\nllm:\n  provider: p\n"
        after = await desk.edit(text.encode(), {}, {KEY: "sk-new"}, keys=())
        assert after.startswith(f"{text}  api_key: ENC".encode())
        again = await desk.edit(after, {}, {KEY: "sk-other"})
        assert again.startswith(f"{text}  api_key: ENC".encode())
        assert plain(desk, again)["llm"]["api_key"] == "sk-other"

    async def test_a_plain_manifest_gets_its_first_secret(self, desk: Desk) -> None:
        """Comments and blank lines stay; the new key stands behind the provider."""
        desk.rules()
        text = b"# why\nname: x\n\nllm:  # model\n  provider: groq.com\n  model: m\n"
        after = await desk.edit(text, {}, {KEY: "sk-new"}, keys=())
        head = after.split(b"sops:")[0].decode()
        expected = "# why\nname: x\n\nllm:  # model\n  provider: groq.com\n  api_key: ENC\n  model: m\n"
        assert re.sub(r'"?ENC\[[^]]*\]"?', "ENC", head) == expected
        assert plain(desk, after)["llm"]["api_key"] == "sk-new"

    async def test_kept_secrets_need_the_key(self, desk: Desk, sealed: bytes, strangers: Keys) -> None:
        """One of several is new, or one goes: the MAC over the others cannot be renewed without a key."""
        for keys in ((), (strangers,)):
            with pytest.raises(KeyNeeded, match="none is available") as caught:
                await desk.edit(sealed, {}, {KEY: "sk-new"}, keys=keys)
            assert "agentsd edit" in caught.value.hint
            with pytest.raises(KeyNeeded):
                await desk.edit(sealed, {KEY: None}, keys=keys)

    async def test_all_secrets_given_anew(self, desk: Desk) -> None:
        """Nothing is kept, so nothing has to be opened: sealed anew by the creation rules."""
        before = desk.seal("name: x # y\nllm:\n  provider: groq.com\n  api_key: sk-canary-a\n")
        after = await desk.edit(before, {("name",): "z"}, {KEY: "sk-new"}, keys=())
        assert after.startswith(b"name: z # y\nllm:\n  provider: groq.com\n  api_key: ")
        assert plain(desk, after) == {"name": "z", "llm": {"provider": "groq.com", "api_key": "sk-new"}}

    async def test_the_last_secret_goes(self, desk: Desk) -> None:
        """And the seal with it: what is left needs none."""
        before = desk.seal("name: x # y\nllm:\n  provider: groq.com\n  api_key: sk-canary-a\n")
        after = await desk.edit(before, {KEY: None}, keys=())
        assert after == b"name: x # y\nllm:\n  provider: groq.com\n"

    async def test_a_full_mac_needs_the_key(self, desk: Desk) -> None:
        """For any change, also where all secrets are given anew: nobody else can vouch for what stays."""
        full = desk.seal("name: x\nllm:\n  api_key: sk-canary-a\n", mac_only_encrypted=None)
        for changes, secrets in (({("name",): "y"}, {}), ({}, {KEY: "sk-new"})):
            with pytest.raises(KeyNeeded):
                await desk.edit(full, changes, secrets, keys=())  # type: ignore[arg-type]

    async def test_entries_without_secrets_come_and_go(self, desk: Desk, sealed: bytes) -> None:
        """Lists may shift under the seals: the MAC covers their order only."""
        text = parse_document("x", sealed).value["llm"]["fallback"]
        after = await desk.edit(sealed, {("llm", "fallback"): [{"provider": "echo.local"}, *text]}, keys=())
        assert plain(desk, after)["llm"]["fallback"][2]["api_key"] == "sk-canary-three"
        assert touched(sealed, after) == ["+provider"]


class TestWithTheKey:
    """Secrets are changed where others stay."""

    async def test_one_secret_changes(self, desk: Desk, sealed: bytes) -> None:
        """Its line and the MAC's: all other seals, comments and blank lines keep their bytes."""
        after = await desk.edit(sealed, {}, {KEY: "sk-new"})
        assert touched(sealed, after) == sorted(["-api_key", "+api_key", *RENEWED])
        assert seals(after)[1:] == seals(sealed)[1:]
        assert b"    # rotated monthly\n" in after
        value = plain(desk, after)
        assert value["llm"]["api_key"] == "sk-new"
        assert value["llm"]["fallback"][1]["api_key"] == "sk-canary-three"

    async def test_the_same_secret_again_changes_nothing(self, desk: Desk, sealed: bytes) -> None:
        """A client that always sends everything makes no new version."""
        assert await desk.edit(sealed, {}, {KEY: "sk-canary-one", SECOND: "sk-canary-three"}) == sealed
        after = await desk.edit(sealed, {}, {KEY: "sk-canary-one", SECOND: "sk-new"})
        assert seals(after)[0] == seals(sealed)[0]

    async def test_several_at_once(self, desk: Desk, sealed: bytes) -> None:
        """In a section, in an entry of its fallback list, and in a section that is new."""
        changes = {("stt",): {"provider": "deepgram.com"}, ("name",): "Help"}
        secrets = {KEY: "sk-a", SECOND: "sk-b", ("stt", "api_key"): "sk-c"}
        after = await desk.edit(sealed, changes, secrets)
        value = plain(desk, after)
        assert value["llm"]["api_key"] == "sk-a"
        assert [entry["api_key"] for entry in value["llm"]["fallback"]] == ["sk-canary-two", "sk-b"]
        assert value["stt"] == {"provider": "deepgram.com", "api_key": "sk-c"}
        assert value["tts"]["api_key"] == "sk-canary-four"
        assert value["name"] == "Help"
        kept = [seals(sealed)[n] for n in (1, 3)]
        assert [seal for seal in seals(after) if seal in seals(sealed)] == kept

    async def test_a_secret_goes(self, desk: Desk, sealed: bytes) -> None:
        """The others stay, under a new MAC."""
        after = await desk.edit(sealed, {KEY: None})
        assert touched(sealed, after) == sorted(["-api_key", *RENEWED])
        assert "api_key" not in plain(desk, after)["llm"]

    async def test_entries_change_places(self, desk: Desk, sealed: bytes) -> None:
        """A list in another order keeps its seals: sops ties them to names, not to places."""
        one, two = parse_document("x", sealed).value["llm"]["fallback"]
        after = await desk.edit(sealed, {("llm", "fallback"): [two, one]})
        value = plain(desk, after)["llm"]["fallback"]
        assert [entry["api_key"] for entry in value] == ["sk-canary-three", "sk-canary-two"]

    async def test_the_last_secret_goes(self, desk: Desk) -> None:
        """And the seal with it."""
        before = desk.seal("name: x # y\nllm:\n  provider: groq.com\n  api_key: sk-canary-a\n")
        assert await desk.edit(before, {KEY: None}) == b"name: x # y\nllm:\n  provider: groq.com\n"

    async def test_a_full_mac_is_renewed(self, desk: Desk) -> None:
        """A plain edit changes its line and the MAC's; so does an edit of a secret."""
        full = desk.seal(mac_only_encrypted=None)
        after = await desk.edit(full, {("name",): "Help"})
        assert touched(full, after) == sorted(["-name", "+name", *RENEWED])
        assert plain(desk, after)["name"] == "Help"
        again = await desk.edit(after, {("greeting",): "Hi"}, {KEY: "sk-new"})
        assert plain(desk, again)["llm"]["api_key"] == "sk-new"
        assert plain(desk, again)["greeting"] == "Hi"

    async def test_a_sealed_text_at_the_top(self, desk: Desk) -> None:
        """A sealed prompt is changed as a secret, or simply by its new text: its rule seals it."""
        before = desk.seal(
            "name: x\nsystem_prompt: sk-canary-prompt\nllm:\n  provider: a\n  api_key: sk-canary-b\n"
        )
        for changes, secrets in (
            ({}, {("system_prompt",): "Be kind.\nBe brief.\n"}),
            ({("system_prompt",): "Be kind.\nBe brief.\n"}, {}),
        ):
            after = await desk.edit(before, changes, secrets)  # type: ignore[arg-type]
            assert b"Be kind" not in after
            assert plain(desk, after)["system_prompt"] == "Be kind.\nBe brief.\n"
            assert seals(after)[1] == seals(before)[1]

    async def test_everything_is_sealed(self, desk: Desk) -> None:
        """sops' own default rule: texts, truth values and fractions; whole numbers only where they stay."""
        text = "id: i\nactive: true\nllm:\n  provider: p\n  max_tokens: 5\n  temperature: 0.5\n"
        before = desk.seal(text, encrypted_regex=None, mac_only_encrypted=None)
        changes = {("id",): "j", ("active",): False, ("llm", "temperature"): 1.0, ("llm", "max_tokens"): 5}
        after = await desk.edit(before, changes)
        value = plain(desk, after)
        assert value == {
            "id": "j", "active": False, "llm": {"provider": "p", "max_tokens": 5, "temperature": 1}
        }  # fmt: skip
        assert b"\nllm:\n  provider: ENC" in after
        after = await desk.edit(before, {("llm", "temperature"): None})
        assert plain(desk, after)["llm"] == {"provider": "p", "max_tokens": 5}
        with pytest.raises(ConfigError, match=r"llm\.max_tokens: .* whole number"):
            await desk.edit(before, {("llm", "max_tokens"): 6})


class TestRules:
    """Who seals for whom, and what."""

    async def test_recipients_stay(self, desk: Desk, strangers: Keys) -> None:
        """A file sealed to two is so after the edit, whatever the creation rules say by now."""
        both = f"{desk.keys.recipient},{strangers.recipient}"
        before = desk.seal(age=both)
        desk.rules()
        after = await desk.edit(before, {}, {KEY: "sk-new"})
        assert (
            parse_document("x", after).value["sops"]["age"]
            == parse_document("x", before).value["sops"]["age"]
        )
        assert plain(desk, after, strangers)["llm"]["api_key"] == "sk-new"

    async def test_key_groups_stay(self, desk: Desk, strangers: Keys) -> None:
        """Two groups that are both needed, as they are."""
        groups = [{"age": [desk.keys.recipient]}, {"age": [strangers.recipient]}]
        before = desk.seal(key_groups=groups, shamir_threshold=2)
        after = await desk.edit(before, {}, {KEY: "sk-new"}, keys=(desk.keys, strangers))
        assert touched(before, after) == sorted(["-api_key", "+api_key", *RENEWED])
        assert desk.read(after) is None
        assert plain(desk, after, desk.keys, strangers)["llm"]["api_key"] == "sk-new"
        with pytest.raises(KeyNeeded):
            await desk.edit(before, {}, {KEY: "sk-new"})

    async def test_no_rule_for_the_path(self, desk: Desk) -> None:
        """A new secret cannot be sealed: refused, whether a key is at hand or not."""
        desk.rules(path_regex="^elsewhere/")
        for keys in ((), (desk.keys,)):
            with pytest.raises(SopsFailed, match="rule") as caught:
                await desk.edit(b"name: x\nllm:\n  provider: p\n", {}, {KEY: "sk-canary-new"}, keys=keys)
            assert "canary" not in str(caught.value)

    async def test_no_rules_at_all(self, desk: Desk) -> None:
        """No .sops.yaml is the same."""
        with pytest.raises(SopsFailed):
            await desk.edit(b"name: x\nllm:\n  provider: p\n", {}, {KEY: "sk-canary-new"})

    async def test_a_rule_that_does_not_cover_the_field(self, desk: Desk) -> None:
        """A secret that would be written in plain text is refused: of a new file, and of a sealed one."""
        desk.rules(encrypted_regex="^auth_token$")
        with pytest.raises(ConfigError, match=r"llm\.api_key would be written in plain text") as caught:
            await desk.edit(b"llm:\n  provider: p\n", {}, {KEY: "sk-canary-new", ("llm", "auth_token"): "b"})
        assert "canary" not in str(caught.value)
        with pytest.raises(ConfigError, match="plain text"):
            await desk.edit(b"llm:\n  provider: p\n", {}, {KEY: "sk-canary-new"})
        before = desk.seal("llm:\n  auth_token: sk-canary-a\n", encrypted_regex="^auth_token$")
        for keys in ((desk.keys,), ()):
            with pytest.raises((ConfigError, KeyNeeded), match=r"plain text|key"):
                await desk.edit(before, {}, {KEY: "sk-canary-new"}, keys=keys)

    async def test_the_rule_of_the_file_counts_not_that_of_today(self, desk: Desk) -> None:
        """What is sealed in a file stays so; without a key it must not become plain by a newer rule."""
        before = desk.seal("system_prompt: sk-canary-a\nllm:\n  api_key: sk-canary-b\n")
        desk.rules(encrypted_regex="^api_key$")
        after = await desk.edit(before, {("system_prompt",): "hush"}, {KEY: "sk-new"})
        assert plain(desk, after) == {"system_prompt": "hush", "llm": {"api_key": "sk-new"}}
        assert b"hush" not in after
        with pytest.raises(ConfigError, match=r"system_prompt would be written in plain text"):
            await desk.edit(before, {("system_prompt",): "hush"}, {KEY: "sk-new"}, keys=())

    async def test_rules_that_only_sops_can_tell(self, desk: Desk) -> None:
        """A pattern that is RE2's own: edits work with a key, verified by the real sops."""
        before = desk.seal(encrypted_regex=r"^(api_key|auth_token)\z")
        after = await desk.edit(before, {("name",): "Help"}, {KEY: "sk-new"})
        assert plain(desk, after)["llm"]["api_key"] == "sk-new"
        after = await desk.edit(before, {("name",): "Help"})
        assert touched(before, after) == ["+name", "-name"]
        with pytest.raises(KeyNeeded):
            await desk.edit(before, {("name",): "Help"}, keys=())

    async def test_rules_by_comments(self, desk: Desk) -> None:
        """A file whose comments say what is sealed is edited by people."""
        text = "name: x\nllm:\n  # sealed below\n  api_key: sk-canary-a\n  provider: p\n"
        before = desk.seal(text, encrypted_regex=None, encrypted_comment_regex="sealed below")
        with pytest.raises(ConfigError, match="comments"):
            await desk.edit(before, {}, {KEY: "sk-new"})
        assert touched(before, await desk.edit(before, {("name",): "y"})) == ["+name", "-name"]

    @pytest.mark.parametrize("rule", [{"encrypted_regex": None}, {"encrypted_regex": "^l$"}, {}], ids=str)
    async def test_comments_in_lists(self, desk: Desk, rule: dict[str, Any]) -> None:
        """sops counts them as items, and seals them as such where its rule says so: they shift no place."""
        text = "name: a\nl:\n  # first\n  - k: x\n    api_key: one\n  # second\n  - k: y\n    api_key: two\n"
        before = desk.seal(text, **rule)
        last = len(parse_document("x", before).value["l"]) - 1
        after = await desk.edit(before, {("name",): "b"}, {("l", last, "api_key"): "new"})
        entries = [{"k": "x", "api_key": "one"}, {"k": "y", "api_key": "new"}]
        assert plain(desk, after) == {"name": "b", "l": entries}

    async def test_seals_from_elsewhere(self, desk: Desk, sealed: bytes) -> None:
        """A sealed value of another field, of another file, given twice, or without any seal: refused."""
        other = seals(desk.seal())[0]
        own = seals(sealed)
        for changes in (
            {KEY: other},
            {("llm", "auth_token"): own[0]},
            {("tts", "api_key"): own[0]},
            {("llm", "fallback", 0, "api_key"): own[2]},
        ):
            for keys in ((), (desk.keys,)):
                with pytest.raises(SealError, match="differs from this field's"):
                    await desk.edit(sealed, changes, keys=keys)
        with pytest.raises(SealError):
            await desk.edit(b"llm:\n  provider: p\n", {KEY: other})
