"""One file → a manifest, a user, or everything that is wrong with it. No database, and no key needed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Any

from pydantic import BaseModel, ValidationError

from agentsd.control.attachments import attach
from agentsd.control.manifests import manifest_of, name_violation
from agentsd.control.meaning import beyond_schema
from agentsd.control.owners import user_of, user_rules
from agentsd.control.schemas import Schemas
from agentsd.control.seals import claimed_fields, seal_form, strays
from agentsd.core import chunking
from agentsd.core.agent import SECTIONS, AgentHead, Attachments, Manifest
from agentsd.core.document import Document, parse
from agentsd.core.errors import (
    InvalidManifests,
    SealError,
    SealLocked,
    SealMalformed,
    SealTampered,
    SealUnsure,
    SopsFailed,
)
from agentsd.core.names import USER_FILE
from agentsd.core.rules import misdirected
from agentsd.core.sections import is_bound, providers_in, sealed_fields
from agentsd.core.user import User
from agentsd.core.validation import Validator
from agentsd.core.violations import Pointer, Violation, dotted, errors_of
from agentsd.files.tree import Beside, SourceFile
from agentsd.providers.catalog import Catalog
from agentsd.providers.schema import ProviderSettings
from agentsd.sops.opener import Opened, Opener


@dataclass(frozen=True, slots=True)
class Checked:
    """What one file turned out to be. A file with an error has neither ``manifest`` nor ``user``."""

    path: str
    manifest: Manifest | None = None
    user: User | None = None
    violations: tuple[Violation, ...] = ()
    unsure: Document | None = None  # only the real sops can tell, and it was not (or could not be) asked


class Checker:
    """The rules that hold for one file, given a catalog of providers, keys and trusted origins."""

    def __init__(
        self,
        catalog: Catalog,
        opener: Opener,
        *,
        trusted: frozenset[str] = frozenset(),
        require_mac: bool = False,
    ) -> None:
        self._catalog = catalog
        self._opener = opener
        self._trusted = trusted
        self._require_mac = require_mac
        self._schemas = Schemas(catalog)

    @cached_property
    def fingerprint(self) -> bytes:
        """What a file was checked against: a stored row with the same one need not be checked again."""
        rules = [self._schemas.agent, sorted(self._trusted), chunking.VERSION, 3]
        return sha256(json.dumps(rules, sort_keys=True).encode()).digest()

    @property
    def can_open(self) -> bool:
        """Whether there is any key at hand."""
        return self._opener.can_open

    @cached_property
    def _agent(self) -> Validator:
        return Validator(self._schemas.agent)

    @cached_property
    def _user(self) -> Validator:
        return Validator(self._schemas.user)

    def check(self, file: SourceFile, beside: Beside = Beside()) -> Checked:  # noqa: B008  (frozen)
        """Everything that can be told in this process. ``beside``: the files that a manifest may name."""
        if file.problem:
            return Checked(file.path, violations=(file.problem,))
        name = file.path.rpartition("/")[2]
        try:
            if name.startswith("_"):
                return self._check_reserved(file, name)
            problem = name_violation(file.path)
            if problem:
                return Checked(file.path, violations=(problem,))
            return self._check_manifest(parse(file.path, file.data), file.digest, beside)
        except InvalidManifests as error:
            return Checked(file.path, violations=error.violations)

    async def settle(self, checked: Checked) -> Checked:
        """The real sops' word on a file that in-process opening was not certain of."""
        document = checked.unsure
        if document is None or checked.manifest is None:
            return checked
        try:
            opened = await self._opener.open_surely(document)
        except SealError as error:
            return self._refused(checked.manifest, document, error, checked.violations)
        except SopsFailed as error:  # a key service that is away must not stop the other files
            locked = self._locked(checked.manifest, document, checked.violations, error)
            return replace(locked, unsure=document)
        return self._verified(checked.manifest, document, opened, checked.violations)

    def prints(self, path: str, data: bytes, key: bytes) -> Mapping[Pointer, bytes] | None:
        """Keyed fingerprints of the sealed values of a document, or None where no key opens it."""
        try:
            return self._opener.open(parse(path, data)).prints(key)
        except (SealError, InvalidManifests):
            return None

    def _check_reserved(self, file: SourceFile, name: str) -> Checked:
        if name != USER_FILE:
            hint = f"names that start with '_' are reserved: rename it, or did you mean {USER_FILE}?"
            violation = Violation(file.path, "name-reserved", f"{name} means nothing here", hint)
            return Checked(file.path, violations=(violation,))
        document = parse(file.path, file.data)
        violations = (*self._user.check(document), *user_rules(document))
        if errors_of(violations):
            return Checked(file.path, violations=violations)
        return Checked(file.path, user=user_of(document), violations=violations)

    def _check_manifest(self, document: Document, digest: bytes, beside: Beside) -> Checked:
        violations = self._agent.check(document)
        attachments = Attachments()
        if not violations:
            claimed = claimed_fields(document.value)
            violations = [*seal_form(document), *self._destinations(document, document.value, claimed)]
            violations += beyond_schema(document)
            attachments, problems = attach(document, beside)
            violations += problems
        if errors_of(violations):
            return Checked(document.path, violations=tuple(violations))
        manifest, warnings = manifest_of(document, digest, attachments)
        if "sops" not in document.value:
            return Checked(document.path, replace(manifest, verified=True), violations=warnings)
        return self._open(manifest, document, warnings)

    def _open(self, manifest: Manifest, document: Document, warnings: tuple[Violation, ...]) -> Checked:
        if not self._opener.can_open:
            return self._locked(manifest, document, warnings)
        try:
            opened = self._opener.open(document)
        except (SealUnsure, SealTampered, SealMalformed):
            return Checked(document.path, manifest, violations=warnings, unsure=document)
        except SealError as error:
            return self._refused(manifest, document, error, warnings)
        return self._verified(manifest, document, opened, warnings)

    def _refused(
        self, manifest: Manifest, document: Document, error: SealError, warnings: tuple[Violation, ...]
    ) -> Checked:
        if isinstance(error, SealLocked):
            return self._locked(manifest, document, warnings)
        code = "seal-malformed" if isinstance(error, SealMalformed) else "seal-tampered"
        violation = document.violation(("sops",), code, error.message, error.hint)
        return Checked(document.path, violations=(violation,))

    def _locked(
        self,
        manifest: Manifest,
        document: Document,
        warnings: tuple[Violation, ...],
        error: SopsFailed | None = None,
    ) -> Checked:
        """No key opens it: fit to be stored (a runtime verifies before it uses), unless a MAC is required."""
        why = "none of your keys opens it" if self._opener.can_open else "no key at hand"
        hint = "set SOPS_AGE_KEY_FILE to the file with your age key"
        if error:
            why, hint = error.message, error.hint
        violation = document.violation(
            ("sops",), "seal-unverified", f"the seal was not verified: {why}", hint
        )
        if self._require_mac:
            return Checked(document.path, violations=(*warnings, violation))
        warning = replace(violation, severity="warning")
        return Checked(document.path, manifest, violations=(*warnings, warning))

    def _verified(
        self, manifest: Manifest, document: Document, opened: Opened, warnings: tuple[Violation, ...]
    ) -> Checked:
        wrong = self._destinations(document, opened.value, opened.sealed)
        violations = [*wrong, *strays(document, opened), *self._values(document, opened.value)]
        if violations:
            return Checked(document.path, violations=tuple(violations))
        return Checked(document.path, replace(manifest, verified=True), violations=warnings)

    def _destinations(
        self, document: Document, value: Mapping[str, Any], sealed: Collection[Pointer]
    ) -> Iterator[Violation]:
        """A secret goes only where it belongs. ``sealed``: what claims to be, or is verified as sealed."""
        for pointer, section in providers_in(value):
            names = sealed_fields(sealed, pointer)
            destinations = self._settings_of(pointer, section).destinations()
            bound = value is document.value or is_bound(value, pointer)  # sealed still: nobody can tell
            for wrong in misdirected(section, names, destinations, self._trusted, bound=bound):
                yield document.violation(
                    (*pointer, wrong.field),
                    "secret-destination",
                    f"{dotted((*pointer, wrong.field))} would send this section's secret to {wrong.origin}",
                    f"seal the URL too, or add {wrong.origin} to AGENTSD_TRUSTED_ORIGINS",
                )

    def _settings_of(self, pointer: Pointer, section: Mapping[str, Any]) -> type[ProviderSettings]:
        return self._catalog.vendor(str(pointer[0]), section["provider"]).settings

    def _values(self, document: Document, opened: Mapping[str, Any]) -> Iterator[Violation]:
        """Sealed values, once opened, must fit their fields as plain ones must."""
        head = {key: value for key, value in opened.items() if key not in SECTIONS}
        yield from _misfits(document, (), AgentHead, head)
        for pointer, section in providers_in(opened):
            yield from _misfits(document, pointer, self._settings_of(pointer, section), section)


def _misfits(
    document: Document, pointer: Pointer, model: type[BaseModel], value: Mapping[str, Any]
) -> Iterator[Violation]:
    try:
        model.model_validate(value)
    except ValidationError as error:
        for item in error.errors(include_input=False, include_url=False, include_context=False):
            message = f"the sealed value does not fit: {item['type'].replace('_', ' ')}"
            hint = "seal a right one: agentsd edit FILE"
            yield document.violation((*pointer, *item["loc"]), "opened-value", message, hint)
