"""Selection of a document's or creation rule's keys for sops: only those the operator allows."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import yaml

from agentsd.core.errors import InvalidManifests, KeyServiceForbidden, SealLocked, SealMalformed, SopsFailed
from agentsd.core.manifest.document import parse_document
from agentsd.core.manifest.positions import iter_events
from agentsd.core.trust.key_services import KeyRefusal, KeyServices
from agentsd.core.trust.outbound import Outbound

CONFIG_NAME = ".sops.yaml"
CONFIG_MAX_BYTES = 1 << 20
RULES_MAX = 1000


@dataclass(frozen=True, slots=True)
class AdmittedInput:
    """Input that sops is given."""

    data: bytes = field(repr=False)
    kinds: frozenset[str] = frozenset()  # the groups whose keys it may use
    hosts: frozenset[str] = frozenset()  # that it will connect to
    refusals: tuple[KeyRefusal, ...] = ()  # of the keys that it is not given

    def explain(self, error: SealLocked) -> SealLocked:
        """Turn "no key opens it" into the reason why sops was not given the keys that might."""
        return (
            make_forbidden_error([replace(one, final=False) for one in self.refusals])
            if self.refusals
            else error
        )


def admit_seal(data: bytes, services: KeyServices) -> AdmittedInput:
    """Return the sealed YAML ``data`` with those keys in its ``sops:`` block that ``services`` allows.

    Raises ``KeyServiceForbidden`` if no key is left, ``SealMalformed`` if the file cannot be read here.
    """
    if not data:
        return AdmittedInput(data)  # sops reports the error itself
    try:
        value = parse_document("", data).value
    except InvalidManifests:
        raise SealMalformed("the file cannot be read", hint="run: agentsd validate") from None
    block = value.get("sops")
    if not isinstance(block, dict):
        return AdmittedInput(data)
    admission = services.admit(block)
    if admission.refusals and not admission.usable:
        raise make_forbidden_error(admission.refusals)
    if admission.block != block:
        data = _replace_block(data, {**value, "sops": admission.block}, admission.refusals)
    return AdmittedInput(data, admission.kinds, admission.hosts, admission.refusals)


def make_forbidden_error(refusals: Iterable[KeyRefusal]) -> KeyServiceForbidden:
    """Return the error for refused keys: preferably for those that no setting allows."""
    worst = next(iter(sorted(refusals, key=lambda one: not one.final)))
    return KeyServiceForbidden(worst.message, hint=worst.hint, pointer=worst.pointer, final=worst.final)


def _replace_block(data: bytes, value: Mapping[str, Any], refusals: Sequence[KeyRefusal]) -> bytes:
    """Return ``data`` with the ``sops:`` block of ``value``, in one line; the rest byte for byte."""
    text = data.decode()
    start, end = _find_extent(text)
    block = json.dumps(value["sops"], ensure_ascii=False)
    reduced = f'{text[:start]}"sops": {block}\n{text[end:]}'.encode()
    try:
        if parse_document("", reduced).value == value:
            return reduced
    except InvalidManifests:
        pass
    if refusals:
        raise make_forbidden_error(refusals)
    raise SealMalformed("the seal has an unusual form", hint="restore the sops: block from git")


_STARTS = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_ENDS = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


def _find_extent(text: str) -> tuple[int, int]:
    """Return where the entry ``sops`` of the root, a mapping, begins and ends, in characters."""
    depth, start, is_key = 0, -1, True
    for event in iter_events(text):
        opens = event.__class__ in _STARTS
        closes = event.__class__ in _ENDS
        depth -= closes
        if depth == 1 and closes and start >= 0:
            return start, _read_offset(event.end_mark)
        if depth == 1 and isinstance(event, yaml.ScalarEvent):
            start = _read_offset(event.start_mark) if is_key and event.value == "sops" else -1
        if depth == 1 and (closes or isinstance(event, yaml.ScalarEvent)):
            is_key = not is_key
        depth += opens
    return 0, 0


def _read_offset(mark: Any) -> int:
    return int(mark.index)


# Creation rules


def admit_rule(
    path: str, config: Path | None, recipients: Sequence[str], services: KeyServices
) -> AdmittedInput:
    """Return the input for sealing a file at ``path``.

    Raises ``SopsFailed`` for a key that is not allowed.
    """
    file = config or find_config(Path(path))
    rules = [{"age": list(recipients)}] if recipients else _load_rules(file) if file else []
    if not recipients and file:
        rules = [rule for rule in rules if _may_fit(rule, Path(path), file)]
        rules = rules[:1] if rules and _surely_fits(rules[0], Path(path), file) else rules
    refusals = [refusal for rule in rules for refusal in services.refuse_rule(rule)]
    if refusals:
        worst = next(iter(sorted(refusals, key=lambda one: not one.final)))
        where = f"{file.parent.name}/{file.name}: " if file else ""
        raise SopsFailed(f"{where}{worst.message}", hint=worst.hint)
    kinds = frozenset[str]().union(*map(services.kinds_of_rule, rules))
    return AdmittedInput(b"", kinds, frozenset[str]().union(*map(services.hosts_of_rule, rules)))


def find_config(path: Path) -> Path | None:
    """Return the nearest ``.sops.yaml`` from ``path`` upwards, as sops finds it."""
    return next(
        (file for folder in path.absolute().parents if (file := folder / CONFIG_NAME).is_file()), None
    )


def _load_rules(file: Path) -> list[dict[str, Any]]:
    unreadable = SopsFailed(
        f"{file.name} cannot be read as sops creation rules", hint="check .sops.yaml", code=1
    )
    try:
        with file.open("rb") as opened:
            data = opened.read(CONFIG_MAX_BYTES + 1)
        text = data.decode()
        if len(data) > CONFIG_MAX_BYTES or any(map(_is_ambiguous, iter_events(text))):
            raise unreadable
        value = yaml.load(text, Loader=yaml.CSafeLoader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        raise unreadable from None
    rules = (value.get("creation_rules") if isinstance(value, dict) else None) or []
    if not isinstance(rules, list) or len(rules) > RULES_MAX or not all(isinstance(r, dict) for r in rules):
        raise unreadable
    return rules


def _is_ambiguous(event: Any) -> bool:
    """Return whether sops may read other keys or values than this: merge keys, tags (!!binary)."""
    return getattr(event, "value", "") == "<<" or getattr(event, "tag", None) is not None


def _may_fit(rule: Mapping[str, Any], path: Path, file: Path) -> bool:
    """Return whether a rule may be the one for ``path``: also where RE2 may read its pattern otherwise."""
    return _match_rule(rule, path, file) is not False


def _surely_fits(rule: Mapping[str, Any], path: Path, file: Path) -> bool:
    return _match_rule(rule, path, file) is True


_SIMPLE = re.compile(r"[A-Za-z0-9_/^$.\\*+?()|\[\]-]{0,256}")


def _match_rule(rule: Mapping[str, Any], path: Path, file: Path) -> bool | None:
    """Return whether ``path`` matches the rule's pattern; None if that cannot be decided here."""
    pattern = rule.get("path_regex", "")
    if pattern in ("", None):
        return True
    if (
        not isinstance(pattern, str)
        or not _SIMPLE.fullmatch(pattern)
        or len(re.findall(r"[*+]", pattern)) > 3
    ):
        return None
    try:
        names = {path.absolute().relative_to(file.absolute().parent).as_posix()}
    except ValueError:
        names = {path.as_posix()}
    try:
        return any(re.search(pattern, name) for name in names)
    except re.error:
        return None


# Addresses


async def refuse_unresolved(hosts: Collection[str], outbound: Outbound) -> None:
    """Raise ``SopsFailed`` if a host of a key service leads to an address that nothing may connect to."""
    for host in sorted(hosts):
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host.strip("[]"), None, type=socket.SOCK_STREAM
            )
        except OSError:
            continue  # sops will not find it, either; a proxy may
        for *_, address in found:
            reason = outbound.refuses(host, ip_address(str(address[0]).partition("%")[0]))
            if reason:
                raise SopsFailed(
                    f"sops may not connect to the key service: {reason}", hint="see AGENTSD_OUTBOUND"
                )
