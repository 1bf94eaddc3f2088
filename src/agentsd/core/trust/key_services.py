"""Key services that a ``sops:`` block or creation rule would use, and which of them are allowed.

Whoever edits a manifest chooses these addresses, while sops carries the operator's credentials: so
only what the operator lists in ``AGENTSD_KEY_SERVICES`` is passed to sops. Forms are strict,
because the other end parses them again: a Vault key called ``../../sys/seal`` would seal the Vault.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from agentsd.core.trust.outbound import Outbound
from agentsd.core.trust.rules import NO_ORIGIN, normalise_origin
from agentsd.core.violations import Pointer

KEY_SERVICES_SETTING = "AGENTSD_KEY_SERVICES"
KEYS_MAX = 100
"""Keys of one seal, in all its groups."""
WRAPPED_MAX_BYTES = 16 << 10
"""One wrapped data key; a post-quantum age key takes about 3 KiB, an RSA key of 4096 bits 1 KiB."""
WRAPPED_TOTAL_BYTES = 128 << 10
"""All wrapped data keys of one seal."""
VERSION_MAX = 64
RULE_KEYS_MAX = 2000
"""Keys of one creation rule, at most; a rule with more is refused."""
_RULE_DEPTH = 8

NETWORK_KINDS = frozenset({"kms", "gcp_kms", "azure_kv", "hc_vault", "hckms"})
"""Groups of a seal whose keys are held by a remote service."""

_KEY_FIELDS: Mapping[str, frozenset[str]] = {
    "age": frozenset({"recipient", "enc"}),
    "pgp": frozenset({"fp", "enc", "created_at"}),
    "kms": frozenset({"arn", "role", "context", "aws_profile", "enc", "created_at"}),
    "gcp_kms": frozenset({"resource_id", "enc", "created_at"}),
    "azure_kv": frozenset({"vault_url", "name", "version", "enc", "created_at"}),
    "hc_vault": frozenset({"vault_address", "engine_path", "key_name", "enc", "created_at"}),
    "hckms": frozenset({"key_id", "enc", "created_at"}),
}
KINDS = tuple(_KEY_FIELDS)
"""Groups of a seal, as sops names them."""

_BLOCK_FIELDS = frozenset(
    (
        *KINDS,
        *("key_groups", "shamir_threshold", "lastmodified", "mac", "mac_only_encrypted", "version"),
        *("unencrypted_suffix", "encrypted_suffix", "unencrypted_regex", "encrypted_regex"),
        *("unencrypted_comment_regex", "encrypted_comment_regex"),
    )
)
_RULE_KINDS = {
    "age": "age",
    "pgp": "pgp",
    "kms": "kms",
    "gcp_kms": "gcp_kms",
    "azure_keyvault": "azure_kv",
    "hc_vault_transit_uri": "hc_vault",
    "hc_vault": "hc_vault",
    "hckms": "hckms",
}
"""Names of the groups in creation rules and their key groups."""

_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])"
    r"(:(?P<port>[1-9][0-9]{0,4}))?/?",
    re.IGNORECASE,
)
_ENGINE = re.compile(r"(?!.*(^|/)\.{1,2}(/|$))[A-Za-z0-9_.-]{1,128}(/[A-Za-z0-9_.-]{1,128}){0,7}")
_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]{1,128}")
_TRANSIT = re.compile(
    r"(?P<origin>https?://[^/]+)/v1/(?P<engine>.+)/(?:keys|encrypt|decrypt)/(?P<name>[^/]+)"
)
_ARN = re.compile(
    r"arn:(?P<partition>aws|aws-[a-z]{2,3}(?:-[a-z])?):kms:(?P<region>[a-z]{2,4}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2})"
    r":[0-9]{12}:(?:key/[A-Za-z0-9-]{1,64}|alias/[A-Za-z0-9/_-]{1,250})"
)
_ROLE = re.compile(r"arn:aws(?:-[a-z-]{2,8})?:iam::[0-9]{12}:role/[A-Za-z0-9/_+=,.@-]{1,512}")
_PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_. -]{0,127}")
_RESOURCE = re.compile(
    r"projects/[a-z0-9.:-]{1,64}/locations/[a-z0-9-]{1,32}/keyRings/[A-Za-z0-9_-]{1,63}"
    r"/cryptoKeys/[A-Za-z0-9_-]{1,63}(/cryptoKeyVersions/[0-9]{1,9})?"
)
_HUAWEI = re.compile(r"(?P<region>[a-z]{2}(?:-[a-z0-9]{1,16}){1,3}):[A-Za-z0-9-]{1,64}")
_AZURE_NAME = re.compile(r"[A-Za-z0-9-]{1,127}")
_AZURE_VERSION = re.compile(r"[0-9a-fA-F]{0,64}")
_AZURE_HOSTS = (
    ".vault.azure.net",
    ".managedhsm.azure.net",
    ".vault.azure.cn",
    ".vault.usgovcloudapi.net",
    ".vault.microsoftazure.de",
)
_AZURE_PREFIX = "azure-kv:"
_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{8,64}!?")
_AGE = re.compile(r"age1[a-z0-9-]{1,8000}")
_SSH = re.compile(r"ssh-(ed25519|rsa) [A-Za-z0-9+/]{1,2000}={0,2}( [A-Za-z0-9_.@:+-]{0,128})?")
_PLUGIN = re.compile(r"age1(?P<name>[a-z0-9-]{1,32})1[ac-hj-np-z02-9]+")
_WHOLE_KINDS = {
    "aws-kms": "kms",
    "gcp-kms": "gcp_kms",
    "azure-kv": "azure_kv",
    "hckms": "hckms",
    "pgp": "pgp",
}
_ENTRY = re.compile(
    r"https?://[^\s,]+|arn:aws[^\s,]*:(kms|iam):[^\s,]+|projects/[^\s,]+|hckms:[^\s,]+|azure-kv:https://[^\s,]+"
    r"|aws-profile:[^,]+|age-plugin-[a-z0-9-]{1,32}|keyservice|(" + "|".join(_WHOLE_KINDS) + ")"
)


@dataclass(frozen=True, slots=True)
class KeyRefusal:
    """Reason why sops must not be given one key. ``final``: no setting changes it."""

    pointer: Pointer
    message: str
    hint: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class SealAdmission:
    """Part of a seal that sops may be given: ``block`` has only keys that are allowed."""

    block: dict[str, Any] = field(repr=False)
    kinds: frozenset[str]
    hosts: frozenset[str]  # that sops connects to
    refusals: tuple[KeyRefusal, ...] = ()
    usable: bool = True  # whether the remaining keys may open the seal


@dataclass(frozen=True, slots=True)
class _KeyNeed:
    """Requirements of one key: each of ``entries`` has to be listed. ``host``: sops connects to it."""

    entries: tuple[tuple[str, str], ...] = ()  # (description, value for the setting)
    host: str = ""


class _UnfitKey(Exception):
    """Key whose form must not be passed to sops."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(problem)
        self.name = name  # of the field
        self.problem = problem


@dataclass(frozen=True, slots=True)
class KeyServices:
    """Services that the operator allows sops to contact and programs that it may start."""

    entries: frozenset[str] = frozenset({"pgp"})
    outbound: Outbound = field(default_factory=Outbound)

    @classmethod
    def parse(cls, entries: Iterable[str], outbound: Outbound | None = None) -> KeyServices:
        """Build from the entries of the setting. Raises ``ValueError`` with the bad entry."""
        kept = frozenset(entry.strip().rstrip("/") for entry in entries)
        for entry in sorted(kept):
            if not _ENTRY.fullmatch(entry) or (entry.startswith("http") and "?" in entry):
                raise ValueError(f"{entry!r} is not a key service; docs/configuration.md lists the forms")
        return cls(kept, outbound or Outbound())

    @property
    def any_network(self) -> bool:
        """Return whether a service outside this machine is listed."""
        return any(not entry.startswith(("pgp", "age-plugin-", "keyservice")) for entry in self.entries)

    def admit(self, block: Mapping[str, Any]) -> SealAdmission:
        """Decide on each key of a ``sops:`` block by itself. Never raises.

        Unknown fields are left out: a newer sops may have another kind of key.
        """
        broken = tuple(_find_unfit_forms(block))
        if broken:
            return SealAdmission({}, frozenset(), frozenset(), broken, usable=False)
        sieve = _KeySieve(self)
        known = {name: value for name, value in block.items() if name in _BLOCK_FIELDS}
        kept = {**known, **sieve.group(block, ("sops",))}
        groups = block.get("key_groups")
        if isinstance(groups, list):
            kept["key_groups"] = [
                sieve.group(one, ("sops", "key_groups", index)) for index, one in enumerate(groups)
            ]
        usable = sieve.count > 0 or not sieve.refusals
        return SealAdmission(
            kept, frozenset(sieve.kinds), frozenset(sieve.hosts), tuple(sieve.refusals), usable
        )

    def refuse_rule(self, rule: Mapping[str, Any]) -> Iterator[KeyRefusal]:
        """Yield what a creation rule of ``.sops.yaml`` would use and the operator does not allow."""
        for number, (pointer, kind, key) in enumerate(_iter_rule_keys(rule, ())):
            if number >= RULE_KEYS_MAX:
                yield KeyRefusal(
                    pointer, f"a rule names more than {RULE_KEYS_MAX} keys", "name fewer", final=True
                )
                return
            try:
                need = _need_of_rule(kind, key)
            except _UnfitKey as unfit:
                yield KeyRefusal(pointer, unfit.problem, "correct it in .sops.yaml", final=True)
                continue
            yield from self._refused(kind, need, pointer)

    def kinds_of_rule(self, rule: Mapping[str, Any]) -> frozenset[str]:
        """Return the groups whose keys a creation rule names."""
        return frozenset(kind for _, kind, _ in islice(_iter_rule_keys(rule, ()), RULE_KEYS_MAX))

    def hosts_of_rule(self, rule: Mapping[str, Any]) -> frozenset[str]:
        """Return the hosts that sops connects to for a creation rule, which was not refused."""
        keys = islice(_iter_rule_keys(rule, ()), RULE_KEYS_MAX)
        return frozenset(_need_of_rule(kind, key).host for _, kind, key in keys) - {""}

    def _refused(self, kind: str, need: _KeyNeed, pointer: Pointer) -> Iterator[KeyRefusal]:
        for what, value in need.entries:
            if not self._lists(kind, value):
                hint = f"the operator of agentsd may allow it: add {value} to {KEY_SERVICES_SETTING}"
                yield KeyRefusal(pointer, f"sops may not use {what}: it is not in the operator's list", hint)
                return
        reason = self.outbound.refuses_host(need.host) if need.host else None
        if reason:
            hint = "AGENTSD_OUTBOUND lists the hosts that may be connected to"
            yield KeyRefusal(pointer, f"sops may not connect to the key service: {reason}", hint, final=True)

    def _lists(self, kind: str, value: str) -> bool:
        if any(_WHOLE_KINDS.get(entry) == kind for entry in self.entries) and _is_whole(kind, value):
            return True
        return any(_matches_entry(entry, value) for entry in self.entries)


class _KeySieve:
    """Sorter of the keys of a seal, which also counts them."""

    def __init__(self, services: KeyServices) -> None:
        self._services = services
        self.refusals: list[KeyRefusal] = []
        self.kinds: set[str] = set()
        self.hosts: set[str] = set()
        self.count = 0

    def group(self, holder: Mapping[str, Any], pointer: Pointer) -> dict[str, Any]:
        """Return the groups of ``holder``, each with the keys that are allowed."""
        return {
            kind: [
                key
                for index, key in enumerate(holder[kind])
                if self._allowed(kind, key, (*pointer, kind, index))
            ]
            for kind in KINDS
            if isinstance(holder.get(kind), list)
        }

    def _allowed(self, kind: str, key: Mapping[str, Any], pointer: Pointer) -> bool:
        try:
            need = _NEEDS[kind](key)
        except _UnfitKey as unfit:
            hint = "restore the sops: block from git, or seal the file again"
            self.refusals.append(KeyRefusal((*pointer, unfit.name), unfit.problem, hint, final=True))
            return False
        refused = list(self._services._refused(kind, need, (*pointer, _ADDRESS_FIELDS.get(kind, "enc"))))
        self.refusals += refused
        if not refused:
            self.kinds.add(kind)
            self.hosts.update({need.host} - {""})
            self.count += 1
        return not refused


_ADDRESS_FIELDS = {
    "kms": "arn",
    "gcp_kms": "resource_id",
    "azure_kv": "vault_url",
    "hc_vault": "vault_address",
    "hckms": "key_id",
    "pgp": "fp",
    "age": "recipient",
}


def _find_unfit_forms(block: Mapping[str, Any]) -> Iterator[KeyRefusal]:
    """Yield what makes a whole block unfit for sops: forms that sops does not write, and sizes."""
    restore = "restore the sops: block from git, or seal the file again"
    groups = block.get("key_groups") or []
    holders: list[tuple[Pointer, Mapping[str, Any]]] = [(("sops",), block)]
    if not isinstance(groups, list) or not all(isinstance(one, dict) for one in groups):
        yield KeyRefusal(("sops", "key_groups"), "the key groups have an unknown form", restore, final=True)
    else:
        holders += [(("sops", "key_groups", index), one) for index, one in enumerate(groups)]
    if len(str(block.get("version", ""))) > VERSION_MAX:
        yield KeyRefusal(("sops", "version"), "the version is too long", restore, final=True)
    keys: list[Any] = []
    for pointer, holder in holders:
        yield from _collect_keys(pointer, holder, keys)
    sizes = [len(str(key.get("enc", ""))) for key in keys]
    if len(keys) > KEYS_MAX or sum(sizes) > WRAPPED_TOTAL_BYTES or max(sizes, default=0) > WRAPPED_MAX_BYTES:
        message = (
            f"the seal is too large: at most {KEYS_MAX} keys, {WRAPPED_MAX_BYTES:,} bytes each"
            f" and {WRAPPED_TOTAL_BYTES:,} together"
        )
        yield KeyRefusal(("sops",), message, "seal the file to fewer keys", final=True)


def _collect_keys(pointer: Pointer, holder: Mapping[str, Any], keys: list[Any]) -> Iterator[KeyRefusal]:
    """Collect the keys of ``holder`` in ``keys``; yield forms that sops does not write."""
    restore = "restore the sops: block from git, or seal the file again"
    for kind in KINDS:
        found = holder.get(kind)
        if found is None:
            continue
        if not isinstance(found, list) or not all(isinstance(key, dict) for key in found):
            yield KeyRefusal((*pointer, kind), f"{kind} is not a list of keys", restore, final=True)
            continue
        keys += found
        for index, key in enumerate(found):
            if not _KEY_FIELDS[kind].issuperset(key):
                at = (*pointer, kind, index)
                yield KeyRefusal(at, f"a key of {kind} has an unknown field", restore, final=True)


def find_oversized(block: Mapping[str, Any]) -> KeyRefusal | None:
    """Return why a block's keys are not worth processing, or None."""
    return next((one for one in _find_unfit_forms(block) if one.pointer == ("sops",)), None)


def _match_field(key: Mapping[str, Any], name: str, form: re.Pattern[str], what: str) -> re.Match[str]:
    value = key.get(name)
    match = form.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _UnfitKey(name, f"{name} is not {what}")
    return match


def _normalise_origin(match: re.Match[str]) -> tuple[str, str]:
    """Return (normalised origin, host); of an impossible port or address, the text itself."""
    origin = normalise_origin(match[0])
    return match[0].lower().rstrip("/") if origin == NO_ORIGIN else origin, match["host"].lower()


def _need_of_vault(key: Mapping[str, Any]) -> _KeyNeed:
    origin, host = _normalise_origin(
        _match_field(key, "vault_address", _ORIGIN, "an address such as https://vault.example.org:8200")
    )
    engine = _match_field(key, "engine_path", _ENGINE, "a plain path such as transit")[0]
    name = _match_field(key, "key_name", _NAME, "a plain name")[0]
    return _KeyNeed((("this Vault", f"{origin}/v1/{engine}/keys/{name}"),), host)


def _need_of_azure(key: Mapping[str, Any]) -> _KeyNeed:
    match = _match_field(key, "vault_url", _ORIGIN, "an address such as https://name.vault.azure.net")
    origin, host = _normalise_origin(match)
    _match_field(key, "name", _AZURE_NAME, "a plain name")
    if key.get("version") is not None:
        _match_field(key, "version", _AZURE_VERSION, "a version")
    known = origin.startswith("https://") and host.endswith(_AZURE_HOSTS)
    return _KeyNeed((("this Azure Key Vault", origin if known else _AZURE_PREFIX + origin),), host)


def _need_of_kms(key: Mapping[str, Any]) -> _KeyNeed:
    match = _match_field(key, "arn", _ARN, "an ARN of a KMS key")
    entries = [("this KMS key", match[0])]
    if key.get("role"):
        entries.append(("this role", _match_field(key, "role", _ROLE, "an ARN of a role")[0]))
    if key.get("aws_profile"):
        entries.append(
            ("this profile", "aws-profile:" + _match_field(key, "aws_profile", _PROFILE, "a plain name")[0])
        )
    context = key.get("context")
    if context is not None and not (isinstance(context, dict) and all(map(_is_plain_pair, context.items()))):
        raise _UnfitKey("context", "context is not a mapping of short texts")
    domain = "amazonaws.com.cn" if match["partition"] == "aws-cn" else "amazonaws.com"
    return _KeyNeed(tuple(entries), f"kms.{match['region']}.{domain}")


def _is_plain_pair(pair: tuple[Any, Any]) -> bool:
    return all(isinstance(text, str) and len(text) <= 512 for text in pair)


def _need_of_gcp(key: Mapping[str, Any]) -> _KeyNeed:
    resource = _match_field(key, "resource_id", _RESOURCE, "a resource such as projects/…/cryptoKeys/…")[0]
    return _KeyNeed((("this Cloud KMS key", resource),), "cloudkms.googleapis.com")


def _need_of_huawei(key: Mapping[str, Any]) -> _KeyNeed:
    match = _match_field(key, "key_id", _HUAWEI, "a key such as region:uuid")
    return _KeyNeed(
        (("this Huawei KMS key", f"hckms:{match[0]}"),), f"kms.{match['region']}.myhuaweicloud.com"
    )


def _need_of_pgp(key: Mapping[str, Any]) -> _KeyNeed:
    _match_field(key, "fp", _FINGERPRINT, "a fingerprint in hexadecimal digits")
    return _KeyNeed((("PGP", "pgp"),))


def _need_of_age(key: Mapping[str, Any]) -> _KeyNeed:
    """Return the needs of an age key.

    A recipient is not run when a file is opened, but it is passed to a key command of the operator.
    """
    recipient = key.get("recipient")
    if not isinstance(recipient, str) or not (_AGE.fullmatch(recipient) or _SSH.fullmatch(recipient)):
        raise _UnfitKey("recipient", "recipient is not an age or SSH recipient")
    return _KeyNeed()


_NEEDS = {
    "age": _need_of_age,
    "pgp": _need_of_pgp,
    "kms": _need_of_kms,
    "gcp_kms": _need_of_gcp,
    "azure_kv": _need_of_azure,
    "hc_vault": _need_of_vault,
    "hckms": _need_of_huawei,
}


def _is_whole(kind: str, value: str) -> bool:
    """Return whether listing a whole kind covers ``value``.

    It never covers a role, a profile or a custom host.
    """
    return not value.startswith(("aws-profile:", _AZURE_PREFIX)) and ":iam:" not in value


def _matches_entry(entry: str, value: str) -> bool:
    if entry.startswith("http"):
        entry = _normalise_address(entry)
        if "/" not in entry.partition("://")[2]:  # an origin: every key there
            return value == entry or value.startswith(f"{entry}/v1/")
    if entry.startswith(_AZURE_PREFIX):
        entry = _AZURE_PREFIX + _normalise_address(entry.removeprefix(_AZURE_PREFIX))
    return re.fullmatch("[^/:]*".join(map(re.escape, entry.split("*"))), value) is not None


def _normalise_address(address: str) -> str:
    scheme, _, rest = address.partition("://")
    authority, slash, path = rest.partition("/")
    match = _ORIGIN.fullmatch(f"{scheme}://{authority}")
    return (_normalise_origin(match)[0] if match else address) + (slash + path if match else "")


def _iter_rule_keys(rule: Mapping[str, Any], pointer: Pointer) -> Iterator[tuple[Pointer, str, Any]]:
    """Yield (pointer, kind, key) of every key in a creation rule, groups and merged groups included."""
    if len(pointer) > _RULE_DEPTH:
        yield pointer, "age", None  # nested too deeply: refused as unfit
        return
    for name, kind in _RULE_KINDS.items():
        found = rule.get(name)
        keys = found.split(",") if isinstance(found, str) else found if isinstance(found, list) else []
        if found is not None and not isinstance(found, (str, list)):
            keys = [found]
        for key in keys:
            if key != "":
                yield (*pointer, name), kind, key.strip() if isinstance(key, str) else key
    for name in ("key_groups", "merge"):
        groups = rule.get(name)
        if isinstance(groups, list) and len(groups) > RULE_KEYS_MAX:
            yield (*pointer, name), "age", None
            return
        for index, one in enumerate(groups if isinstance(groups, list) else []):
            if isinstance(one, Mapping):
                yield from _iter_rule_keys(one, (*pointer, name, index))


def _need_of_rule(kind: str, key: Any) -> _KeyNeed:
    if isinstance(key, Mapping):
        return _need_of_mapping(kind, key)
    if not isinstance(key, str):
        raise _UnfitKey(kind, f"a key of {kind} has an unknown form")
    if kind == "age":
        return _need_of_recipient(key)
    if kind == "kms":
        arn, plus, role = key.replace(" ", "").partition("+arn:")
        return _need_of_kms({"arn": arn, "role": f"arn:{role}" if plus else None})
    if kind == "hc_vault":
        match = _TRANSIT.fullmatch(key)
        if match is None:
            raise _UnfitKey(kind, "a Vault key is not written as https://…/v1/ENGINE/keys/NAME")
        return _need_of_vault(
            {"vault_address": match["origin"], "engine_path": match["engine"], "key_name": match["name"]}
        )
    if kind == "azure_kv":
        url, _, rest = key.partition("/keys/")
        name, _, version = rest.partition("/")
        return _need_of_azure({"vault_url": url, "name": name, "version": version or None})
    name = {"pgp": "fp", "gcp_kms": "resource_id", "hckms": "key_id"}[kind]
    return _NEEDS[kind]({name: key.replace(" ", "") if kind == "pgp" else key})


def _need_of_mapping(kind: str, key: Mapping[str, Any]) -> _KeyNeed:
    if kind == "azure_kv":
        return _need_of_azure(
            {"vault_url": key.get("vaultUrl"), "name": key.get("key"), "version": key.get("version") or None}
        )
    return _NEEDS[kind](key)


def _need_of_recipient(recipient: str) -> _KeyNeed:
    """Return the needs of a recipient.

    Sealing to a plug-in's recipient runs the plug-in: ``age-plugin-NAME`` of the PATH.
    """
    _need_of_age({"recipient": recipient})
    plugin = None if recipient.startswith("age1pq1") else _PLUGIN.fullmatch(recipient)
    if plugin is None:
        if recipient.startswith("age1") and recipient.count("1") > 1 and not recipient.startswith("age1pq1"):
            raise _UnfitKey("age", "an age recipient has an unknown form")
        return _KeyNeed()
    return _KeyNeed((("this age plug-in", f"age-plugin-{plugin['name']}"),))
