"""What a seal or a creation rule would have sops contact, and what of it is allowed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsd.core.trust.key_services import (
    KEYS_MAX,
    KINDS,
    WRAPPED_MAX_BYTES,
    WRAPPED_TOTAL_BYTES,
    KeyServices,
    find_oversized,
)
from agentsd.core.trust.outbound import Outbound

AGE = {"recipient": "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", "enc": "x"}
VAULT = {"vault_address": "https://vault.example.org:8200", "engine_path": "transit", "key_name": "agents"}
ARN = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
RESOURCE = "projects/p/locations/global/keyRings/r/cryptoKeys/k"
AZURE = {"vault_url": "https://team.vault.azure.net", "name": "k", "version": "0123"}


def refused(kind: str, key: dict[str, Any], *entries: str, outbound: tuple[str, ...] = ()) -> str | None:
    """Why the only key of a block is refused; None: it is allowed."""
    services = KeyServices.parse(entries, Outbound.parse(outbound))
    admission = services.admit({kind: [{"enc": "x", **key}]})
    assert bool(admission.block.get(kind)) is not bool(admission.refusals)
    return admission.refusals[0].message if admission.refusals else None


@pytest.mark.parametrize(
    ("kind", "key", "entry"),
    [
        ("hc_vault", VAULT, "https://vault.example.org:8200"),
        ("hc_vault", VAULT, "https://VAULT.example.org:8200/v1/transit/keys/agents"),
        (
            "hc_vault",
            {**VAULT, "vault_address": "https://vault.example.org:443/"},
            "https://vault.example.org",
        ),
        ("hc_vault", VAULT, "https://vault.example.org:8200/v1/*/keys/*"),
        ("kms", {"arn": ARN}, "aws-kms"),
        ("kms", {"arn": ARN, "context": {"a": "b"}, "role": "", "aws_profile": ""}, ARN),
        ("kms", {"arn": ARN}, "arn:aws:kms:*:123456789012:key/*"),
        ("gcp_kms", {"resource_id": RESOURCE}, "gcp-kms"),
        ("gcp_kms", {"resource_id": RESOURCE}, "projects/p/locations/*/keyRings/*/cryptoKeys/*"),
        ("azure_kv", AZURE, "https://team.vault.azure.net"),
        ("azure_kv", AZURE, "azure-kv"),
        ("azure_kv", {**AZURE, "vault_url": "https://kv.internal"}, "azure-kv:https://kv.internal"),
        ("hckms", {"key_id": "eu-west-101:0123"}, "hckms"),
        ("pgp", {"fp": "0DDC9411E57E438C7D95C01E98AE551CEB2712D6"}, "pgp"),
        ("age", AGE, "pgp"),
        ("age", {"recipient": "ssh-ed25519 AAAAC3Nz me@host"}, "pgp"),
    ],
)
def test_what_is_listed_is_allowed(kind: str, key: dict[str, Any], entry: str) -> None:
    """By a whole kind, by one address, by a pattern; whatever needs a service, by nothing else."""
    assert refused(kind, key, entry) is None
    if kind != "age":
        assert refused(kind, key, "age-plugin-x")


@pytest.mark.parametrize(
    ("kind", "key", "entry"),
    [
        ("hc_vault", VAULT, "http://vault.example.org:8200"),
        ("hc_vault", VAULT, "https://vault.example.org"),
        ("hc_vault", VAULT, "https://vault.example.org:82"),
        ("hc_vault", VAULT, "https://vault.example.org:8200/v1/tran"),
        ("hc_vault", {**VAULT, "vault_address": "https://vault.example.org:8200@evil"}, "https://vault.example.org:8200"),
        ("hc_vault", {**VAULT, "vault_address": "https://vault.example.org:8200.evil"}, "https://vault.example.org:8200"),
        ("hc_vault", {**VAULT, "vault_address": "https://team.vault.azure.net"}, "azure-kv"),
        ("hc_vault", {**VAULT, "engine_path": "a/b"}, "https://vault.example.org:8200/v1/*/keys/*"),
        ("kms", {"arn": ARN, "role": "arn:aws:iam::123456789012:role/Admin"}, "aws-kms"),
        ("kms", {"arn": ARN, "aws_profile": "production"}, "aws-kms"),
        ("kms", {"arn": ARN.replace("eu-central-1", "x.evil.org/#")}, "aws-kms"),
        ("kms", {"arn": ARN.replace("eu-central-1", "eu-central-1.evil.org")}, "aws-kms"),
        ("kms", {"arn": ARN, "context": {"a": 1}}, "aws-kms"),
        ("kms", {"arn": ARN, "endpoint": "http://evil"}, "aws-kms"),
        ("gcp_kms", {"resource_id": RESOURCE + "/../x"}, "gcp-kms"),
        ("azure_kv", {**AZURE, "vault_url": "https://evil.example.org"}, "azure-kv"),
        ("azure_kv", {**AZURE, "vault_url": "http://team.vault.azure.net"}, "azure-kv"),
        ("azure_kv", {**AZURE, "vault_url": "https://evil.org/.vault.azure.net"}, "azure-kv"),
        ("azure_kv", {**AZURE, "name": "../../x"}, "azure-kv"),
        ("hckms", {"key_id": "evil.org/:0123"}, "hckms"),
        ("pgp", {"fp": "--options=/tmp/x"}, "pgp"),
        ("age", {"recipient": "$(touch /tmp/x)"}, "pgp"),
        ("age", {"recipient": "age1x\nage1y"}, "pgp"),
    ],
)  # fmt: skip
def test_what_is_not_quite_it_is_refused(kind: str, key: dict[str, Any], entry: str) -> None:
    """Other schemes, ports, hosts, paths and accounts, and whatever the other end could read otherwise."""
    assert refused(kind, key, entry)


@pytest.mark.parametrize(
    "address", ["http://169.254.169.254", "http://[fd00:ec2::254]", "http://100.100.100.200"]
)
def test_metadata_services_are_refused_for_good(address: str) -> None:
    """No setting allows them."""
    services = KeyServices.parse([address])
    (refusal,) = services.admit({"hc_vault": [{**VAULT, "vault_address": address}]}).refusals
    assert refusal.final


def test_the_outbound_list_narrows() -> None:
    """A key service has to be in both lists."""
    entry = "https://vault.example.org:8200"
    assert refused("hc_vault", VAULT, entry, outbound=("*.example.com",))
    assert refused("hc_vault", VAULT, entry, outbound=("*.example.org",)) is None
    assert refused("kms", {"arn": ARN}, "aws-kms", outbound=("api.groq.com",))
    assert refused("kms", {"arn": ARN}, "aws-kms", outbound=("*.amazonaws.com",)) is None


def test_keys_are_judged_one_by_one() -> None:
    """In groups, too; what stays is enough where any key of the group is."""
    block = {"key_groups": [{"age": [AGE]}, {"age": [AGE], "hc_vault": [{"enc": "x", **VAULT}]}], "mac": "m"}
    admission = KeyServices.parse(["pgp"]).admit(block)
    assert admission.block["key_groups"] == [{"age": [AGE]}, {"age": [AGE], "hc_vault": []}]
    assert [refusal.pointer for refusal in admission.refusals] == [
        ("sops", "key_groups", 1, "hc_vault", 0, "vault_address")
    ]
    assert admission.usable
    assert admission.kinds == {"age"}


def test_sizes_are_bounded() -> None:
    """Keys, bytes of one, bytes of all."""
    assert find_oversized({"age": [AGE] * KEYS_MAX}) is None
    assert find_oversized({"age": [AGE] * (KEYS_MAX + 1)})
    assert find_oversized({"age": [{**AGE, "enc": "x" * (WRAPPED_MAX_BYTES + 1)}]})
    count = WRAPPED_TOTAL_BYTES // WRAPPED_MAX_BYTES
    assert (
        find_oversized({"key_groups": [{"age": [{**AGE, "enc": "x" * WRAPPED_MAX_BYTES}]}] * count}) is None
    )
    assert find_oversized({"key_groups": [{"age": [{**AGE, "enc": "x" * WRAPPED_MAX_BYTES}]}] * (count + 1)})


@pytest.mark.parametrize(
    "entry", ["vault.example.org", "ftp://x", "https://", "aws", "age-plugin-", "*", "arn:aws:s3:::x"]
)
def test_an_entry_has_a_known_form(entry: str) -> None:
    """A mistake in the setting is said at the start."""
    with pytest.raises(ValueError, match="key service"):
        KeyServices.parse([entry])


_ODD = st.sampled_from([None, True, 1, 0.5, "", "x", ARN, "https://x", [], {}, [1], [{}], {"a": []}, [[[]]]])
_FIELDS = st.sampled_from(["enc", "arn", "vault_address", "recipient", "fp", "key_name"])
_KEY = st.dictionaries(_FIELDS, _ODD, max_size=3)
_NAMES = st.sampled_from([*KINDS, "key_groups", "version", "new"])
_BLOCK = st.dictionaries(_NAMES, _ODD | st.lists(_KEY, max_size=2), max_size=4)


@settings(max_examples=40)
@given(_BLOCK)
def test_no_block_raises_or_slips_through(block: dict[str, Any]) -> None:
    """Whatever a block holds: an answer, and nothing in it that needs a service."""
    admission = KeyServices.parse(["pgp"]).admit(block)
    assert admission.kinds <= {"age", "pgp"}
    for kind in set(KINDS) - {"age", "pgp"}:
        assert not admission.block.get(kind)
    assert "new" not in admission.block


@settings(max_examples=40)
@given(_BLOCK)
def test_no_rule_raises(rule: dict[str, Any]) -> None:
    """Whatever a creation rule holds."""
    list(KeyServices.parse(["pgp"]).refuse_rule(rule))
