"""Checks of one file: a manifest, a user, or all violations. No database, and no key needed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from typing import Any

from pydantic import BaseModel, ValidationError

from agentsd.control.validation.attachments import Attached, Read, Unread, attach
from agentsd.control.validation.layers import attached, explained, merge_rules, own_fields
from agentsd.control.validation.manifest import manifest_of, name_violation
from agentsd.control.validation.schema import Schemas
from agentsd.control.validation.seals import claimed_fields, seal_form, strays
from agentsd.control.validation.semantics import beyond_schema
from agentsd.control.validation.text_extraction import Extraction, Known, extract, recall
from agentsd.control.validation.user_file import user_of, user_rules
from agentsd.core.errors import (
    InvalidManifests,
    KeyServiceForbidden,
    SealError,
    SealLocked,
    SealMalformed,
    SealTampered,
    SealUnsure,
    SopsFailed,
    describe,
)
from agentsd.core.manifest.agent import SECTIONS, AgentHead, Manifest
from agentsd.core.manifest.document import Document, parse
from agentsd.core.manifest.layers import layered, together
from agentsd.core.manifest.schema_validation import Validator
from agentsd.core.manifest.sections import is_bound, providers_in, sealed_fields
from agentsd.core.manifest.user import User
from agentsd.core.names import DEFAULTS_FILE, USER_FILE
from agentsd.core.text import chunking
from agentsd.core.trust.engine_limits import EngineLimits
from agentsd.core.trust.rules import misdirected
from agentsd.core.violations import (
    SEAL_UNVERIFIED,
    Pointer,
    Violation,
    did_you_mean,
    dotted,
    errors_of,
    first_of,
)
from agentsd.files.tree import Beside, SourceFile
from agentsd.providers.catalog import Catalog
from agentsd.providers.schema import ProviderSettings
from agentsd.sops.opener import Opened, Opener
from agentsd.supervisor import ENDINGS


@dataclass(frozen=True, slots=True)
class Checked:
    """Result of checking one file. With an error, it contains no manifest, user or layer."""

    path: str
    manifest: Manifest | None = None
    user: User | None = None
    violations: tuple[Violation, ...] = ()
    unsure: Document | None = None  # only the real sops can tell, and it was not (or could not be) asked
    layer: Document | None = None  # what manifests are merged with
    pending: bool = False  # what is wrong may pass by itself: worth another look soon
    unread: tuple[Unread, ...] = ()  # sources that have to be read before it is sure what this is

    def verified(self) -> Checked:
        """Return the same result, with its seal verified."""
        manifest = self.manifest and replace(self.manifest, verified=True)
        return replace(self, manifest=manifest, unsure=None)


class Checker:
    """Rules that hold for one file, given a catalog of providers, keys and trusted origins."""

    def __init__(
        self,
        catalog: Catalog,
        opener: Opener,
        *,
        trusted: frozenset[str] = frozenset(),
        limits: EngineLimits = EngineLimits(),  # noqa: B008  (frozen)
        require_mac: bool = False,
    ) -> None:
        self._catalog = catalog
        self._opener = opener
        self._trusted = trusted
        self._limits = limits
        self._require_mac = require_mac
        self._schemas = Schemas(catalog)
        self._layers: dict[str, tuple[bytes, Checked]] = {}  # by path, with the digest; as many as there are

    @cached_property
    def fingerprint(self) -> bytes:
        """Return the fingerprint of the rules: a stored row with the same one need not be checked again."""
        rules = [self._schemas.agent, sorted(self._trusted), chunking.VERSION, self._limits.context_tokens, 3]
        return sha256(json.dumps(rules, sort_keys=True).encode()).digest()

    @property
    def can_open(self) -> bool:
        """Return whether any key is available."""
        return self._opener.can_open

    @cached_property
    def _agent(self) -> Validator:
        return Validator(self._schemas.agent)

    @cached_property
    def _layer_schema(self) -> Validator:
        return Validator(self._schemas.layer)

    @cached_property
    def _user(self) -> Validator:
        return Validator(self._schemas.user)

    def check(
        self,
        file: SourceFile,
        beside: Beside = Beside(),  # noqa: B008  (frozen)
        read: Read = recall,
    ) -> Checked:
        """Check everything that is possible in this process. ``beside``: the files that a manifest may name.

        May take seconds: on an event loop, call it in a thread.
        """
        checked = self._check_guarded(file, beside, read)
        return replace(checked, violations=first_of(checked.violations))

    def _check_guarded(self, file: SourceFile, beside: Beside, read: Read) -> Checked:
        """Check one file; whatever is raised is a violation of that file."""
        if file.problem:
            return Checked(file.path, violations=(file.problem,))
        try:
            return self._check(file, beside, read)
        except InvalidManifests as error:
            return Checked(file.path, violations=error.violations)
        except ENDINGS:
            raise
        except BaseException as error:  # of this file: the others are checked all the same
            return _unchecked(file.path, error)

    def _check(self, file: SourceFile, beside: Beside, read: Read) -> Checked:
        name = file.path.rpartition("/")[2]
        if name == DEFAULTS_FILE or file.path in beside.layers:
            return self._layer(file)
        if name.startswith("_"):
            return self._check_reserved(file, name)
        problem = name_violation(file.path)
        if problem:
            return Checked(file.path, violations=(problem,))
        return self._check_manifest(file, beside, read)

    async def check_wholly(self, file: SourceFile, beside: Beside) -> Checked:
        """Return everything that can be found out, however long it takes."""
        checked = await asyncio.to_thread(self.check, file, beside)
        if checked.unread:
            sources = {one.source.path: one.source.data for one in checked.unread}
            texts = {path: await extract(path, data) for path, data in sources.items()}
            checked = await asyncio.to_thread(self.check, file, beside, partial(recall_from, texts))
        return await self.settle(checked)

    async def settle(self, checked: Checked) -> Checked:
        """Return the real sops' result for a file that in-process opening was not certain of."""
        document = checked.unsure
        if document is None:
            return checked
        try:
            opened = await self._opener.open_surely(document)
        except SealError as error:
            return self._refused(replace(checked, unsure=None), document, error)
        except SopsFailed as error:  # a key service that is away must not stop the other files
            return replace(self._locked(checked, document, error), unsure=document)
        except ENDINGS:
            raise
        except BaseException as error:
            return _unchecked(checked.path, error)
        return self._settled(checked, document, opened)

    def _settled(self, checked: Checked, document: Document, opened: Opened) -> Checked:
        try:
            return self._verified(checked, document, opened)
        except ENDINGS:
            raise
        except BaseException as error:
            return _unchecked(checked.path, error)

    def pend(self, checked: Checked) -> Checked:
        """A file that is not settled yet.

        One with an unread source is quarantined; so is one whose seal the real sops still looks at, where a
        MAC is required.
        """
        if checked.unread:
            violations = (*checked.violations, *(one.pending for one in checked.unread))
            return Checked(checked.path, violations=first_of(violations), pending=True)
        assert checked.unsure is not None  # noqa: S101 - only such files wait
        message = "the seal is not verified yet: sops has not answered"
        hint = "it is applied as soon as sops answers; does its key service?"
        violation = checked.unsure.violation(("sops",), "seal-pending", message, hint)
        if self._require_mac:
            return Checked(checked.path, violations=(*checked.violations, violation), pending=True)
        warning = replace(violation, severity="warning")
        return replace(checked, violations=(*checked.violations, warning), pending=True)

    def document(self, path: str, data: bytes, layers: Sequence[tuple[str, bytes]]) -> Document:
        """Return a stored manifest merged with its layers. Raises ``InvalidManifests``."""
        return layered(parse(path, data), [parse(*layer) for layer in layers], self._catalog.destinations)

    def prints(self, document: Document, key: bytes) -> Mapping[Pointer, bytes] | None:
        """Return keyed fingerprints of the sealed values of a document, or None where no key opens it."""
        try:
            return self._opener.open(document).prints(key)
        except Exception:  # a stored document may have been changed by hand
            return None

    def _check_reserved(self, file: SourceFile, name: str) -> Checked:
        if name != USER_FILE:
            known = did_you_mean(name, (USER_FILE, DEFAULTS_FILE)) or f"{USER_FILE} and {DEFAULTS_FILE} do"
            hint = f"names that start with '_' are reserved: rename it; {known}"
            violation = Violation(file.path, "name-reserved", f"{name} means nothing here", hint)
            return Checked(file.path, violations=(violation,))
        document = parse(file.path, file.data)
        violations = (*self._user.check(document), *user_rules(document))
        if errors_of(violations):
            return Checked(file.path, violations=violations)
        return Checked(file.path, user=user_of(document), violations=violations)

    def _layer(self, file: SourceFile) -> Checked:
        """Check a layer on its own: many manifests ask. Does not check whether the real sops can open it."""
        known = self._layers.get(file.path)
        if known is None or known[0] != file.digest or file.problem:
            try:
                checked = self._check_layer(file)
            except InvalidManifests as error:
                checked = Checked(file.path, violations=error.violations)
            except ENDINGS:
                raise
            except BaseException as error:
                checked = _unchecked(file.path, error)
            self._layers[file.path] = known = (file.digest, checked)
        return known[1]

    def _check_layer(self, file: SourceFile) -> Checked:
        if file.problem:
            return Checked(file.path, violations=(file.problem,))
        document = parse(file.path, file.data)
        violations = [*self._layer_schema.check(document), *own_fields(document), *seal_form(document)]
        if violations:
            return Checked(file.path, violations=tuple(violations))
        return self._opened(Checked(file.path, layer=document), document)

    def _check_manifest(self, file: SourceFile, beside: Beside, read: Read) -> Checked:
        own, files = parse(file.path, file.data), beside.layers_of(file.path)
        layers = [self._layer(one) for one in files]
        broken = [violation for one in layers for violation in errors_of(one.violations)]
        if broken:
            return Checked(file.path, violations=tuple(broken))
        document = layered(own, [one.layer for one in layers if one.layer], self._catalog.destinations)
        violations = explained(document, self._agent.check(document))
        named = Attached()
        if not violations:
            claimed = claimed_fields(document.value)
            violations = [*seal_form(own), *self._destinations(document, document.value, claimed)]
            violations += (*beyond_schema(document, self._limits), *merge_rules(document))
            named = attach(document, beside, read)
            violations += named.problems
        unread = tuple(named.unread)
        if errors_of(violations):
            return Checked(file.path, violations=tuple(violations), pending=named.passing, unread=unread)
        attachments = replace(named.attachments, layers=attached(files))
        manifest, warnings = manifest_of(document, file.digest, attachments)
        opened = self._opened(Checked(file.path, manifest, violations=warnings), document)
        return replace(opened, unread=unread)

    def _opened(self, good: Checked, document: Document) -> Checked:
        """Return ``good``, if its seal is, with the facts from opening ``document``."""
        if "sops" not in document.value:
            return good.verified()
        if obstacle := self._opener.obstacle(document):
            return self._locked(good, document, obstacle)
        try:
            opened = self._opener.open(document)
        except (SealUnsure, SealTampered, SealMalformed):
            return replace(good, unsure=document)
        except SealError as error:
            return self._refused(good, document, error)
        return self._verified(good, document, opened)

    def _refused(self, good: Checked, document: Document, error: SealError) -> Checked:
        if isinstance(error, SealLocked):
            return self._locked(good, document, error)
        code = "seal-malformed" if isinstance(error, SealMalformed) else "seal-tampered"
        violation = document.violation(("sops",), code, error.message, error.hint)
        return Checked(good.path, violations=(violation,))

    def _locked(self, good: Checked, document: Document, error: SealLocked | SopsFailed) -> Checked:
        """Return the result where no key opens it.

        It may be stored (a runtime verifies before it uses it), unless a MAC is required.
        """
        violation = self._unverified(document, error)
        if self._require_mac or (isinstance(error, KeyServiceForbidden) and error.final):
            return Checked(good.path, violations=(*good.violations, violation))
        warning = replace(violation, severity="warning")
        return replace(good, violations=(*good.violations, warning))

    def _unverified(self, document: Document, error: SealLocked | SopsFailed) -> Violation:
        if isinstance(error, KeyServiceForbidden):
            return document.violation(error.pointer, "key-service", error.message, error.hint)
        why = "none of your keys opens it" if self._opener.can_open else "no key at hand"
        hint = "set SOPS_AGE_KEY_FILE to the file with your age key"
        if isinstance(error, SopsFailed):
            why, hint = error.message, error.hint
        return document.violation(("sops",), SEAL_UNVERIFIED, f"the seal was not verified: {why}", hint)

    def _verified(self, good: Checked, document: Document, opened: Opened) -> Checked:
        violations = [*strays(document, opened)]
        if good.layer is None:  # a layer alone is not whole: it is judged with every manifest on it
            violations += self._destinations(document, opened.value, opened.sealed)
            violations += self._values(document, opened.value)
        return Checked(good.path, violations=tuple(violations)) if violations else good.verified()

    def _destinations(
        self, document: Document, value: Mapping[str, Any], sealed: Collection[Pointer]
    ) -> Iterator[Violation]:
        """Check that a secret goes only where it belongs. ``sealed``: fields claimed or verified as sealed."""
        for pointer, section in providers_in(value):
            names = sealed_fields(sealed, pointer)
            destinations = self._settings_of(pointer, section).destinations()
            bound = value is document.value or (  # sealed still: nobody can tell
                is_bound(value, pointer) and together(document, pointer, destinations.bearing(section, names))
            )
            for wrong in misdirected(section, names, destinations, self._trusted, bound=bound):
                yield document.violation(
                    (*pointer, wrong.field),
                    "secret-destination",
                    f"{dotted((*pointer, wrong.field))} would send this section's secret to {wrong.origin}",
                    wrong.remedy,
                )

    def _settings_of(self, pointer: Pointer, section: Mapping[str, Any]) -> type[ProviderSettings]:
        return self._catalog.vendor(str(pointer[0]), section["provider"]).settings

    def _values(self, document: Document, opened: Mapping[str, Any]) -> Iterator[Violation]:
        """Check that sealed values, once opened, fit their fields as plain ones must."""
        head = {key: value for key, value in opened.items() if key not in SECTIONS}
        yield from _misfits(document, (), AgentHead, head)
        for pointer, section in providers_in(opened):
            yield from _misfits(document, pointer, self._settings_of(pointer, section), section)


def recall_from(
    texts: Mapping[str, Extraction | Known | None], path: str, data: bytes
) -> Extraction | Known | None:
    """Return what was read of a file, by ``texts`` or lately."""
    found = texts.get(path)
    return recall(path, data) if found is None else found


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


def _unchecked(path: str, error: BaseException) -> Checked:
    """Return the violation of a file whose check failed in an unforeseen way."""
    message = f"this file cannot be checked ({describe(error)})"
    hint = "change or remove it, and please report it: this is a bug in agentsd"
    return Checked(path, violations=(Violation(path, "unchecked", message, hint),))
