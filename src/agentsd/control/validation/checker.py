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

from agentsd.control.validation.attachments import Attached, Read, Unread, resolve_attachments
from agentsd.control.validation.layers import (
    check_merge_rules,
    check_own_fields,
    explain_violations,
    make_layer_attachments,
)
from agentsd.control.validation.manifest import build_manifest, check_manifest_name
from agentsd.control.validation.schema import share_schemas
from agentsd.control.validation.seals import check_seal_form, find_claimed_fields, uncovered_seals
from agentsd.control.validation.semantics import check_completeness, check_semantics
from agentsd.control.validation.text_extraction import Extraction, Known, extract_in_worker, recall_passages
from agentsd.control.validation.tool_locks import check_tool_locks
from agentsd.control.validation.user_file import check_user, parse_user
from agentsd.control.validation.variables import check_placeholders, check_variables, list_links
from agentsd.core.errors import (
    InvalidManifests,
    KeyServiceForbidden,
    SealError,
    SealLocked,
    SealMalformed,
    SealTampered,
    SealUnsure,
    SopsFailed,
    describe_error,
)
from agentsd.core.manifest import chunks as chunking
from agentsd.core.manifest.agent import SECTIONS, AgentHead, Manifest
from agentsd.core.manifest.document import Document, parse_document
from agentsd.core.manifest.layers import merge_layers
from agentsd.core.manifest.sections import find_misdirected_secrets, iter_providers
from agentsd.core.manifest.tool_checks import find_misdirected_tokens
from agentsd.core.manifest.user import User
from agentsd.core.masker import Masker
from agentsd.core.names import DEFAULTS_FILE, USER_FILE
from agentsd.core.trust.engine_limits import EngineLimits
from agentsd.core.violations import (
    SEAL_UNVERIFIED,
    Pointer,
    Violation,
    filter_errors,
    format_pointer,
    limit_violations,
    suggest_word,
)
from agentsd.files.tree import SourceFile, TreeContext
from agentsd.providers.catalog import Catalog
from agentsd.providers.schema import ProviderSettings
from agentsd.sops.opener import OpenedDocument, Opener
from agentsd.supervisor import ENDING_ERRORS


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of checking one file. With an error, it contains no manifest, user or layer."""

    path: str
    manifest: Manifest | None = None
    user: User | None = None
    violations: tuple[Violation, ...] = ()
    unsure: Document | None = None  # only the real sops can decide, and it was not (or could not be) run
    layer: Document | None = None  # the layer that manifests are merged with
    pending: bool = False  # the error may resolve itself: check again soon
    unread: tuple[Unread, ...] = ()  # sources that must be read before this can be judged

    def verified(self) -> CheckResult:
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
        self._schemas = share_schemas(catalog)
        self._layers: dict[
            str, tuple[bytes, CheckResult]
        ] = {}  # by path, with the digest; as many as there are

    @cached_property
    def fingerprint(self) -> bytes:
        """Return the fingerprint of the rules: a stored row with the same one need not be checked again."""
        rules = [
            self._schemas.agent,
            sorted(self._trusted),
            chunking.CHUNKING_VERSION,
            self._limits.context_tokens,
            6,
        ]
        return sha256(json.dumps(rules, sort_keys=True).encode()).digest()

    @cached_property
    def masker(self) -> Masker:
        """Return the masker of everything that is shown of manifests."""
        return self._catalog.make_masker()

    @property
    def can_open(self) -> bool:
        """Return whether any key is available."""
        return self._opener.can_open

    def check(
        self,
        file: SourceFile,
        beside: TreeContext = TreeContext(),  # noqa: B008  (frozen)
        read: Read = recall_passages,
        parsed: Document | None = None,
    ) -> CheckResult:
        """Check everything that is possible in this process. ``beside``: the files that a manifest may name.

        May take seconds: on an event loop, call it in a thread. ``parsed``: the file, where a caller has
        parsed it.
        """
        checked = self._check_guarded(file, beside, read, parsed)
        return replace(checked, violations=limit_violations(checked.violations))

    def _check_guarded(
        self, file: SourceFile, beside: TreeContext, read: Read, parsed: Document | None
    ) -> CheckResult:
        """Check one file; whatever is raised is a violation of that file."""
        if file.problem:
            return CheckResult(file.path, violations=(file.problem,))
        try:
            return self._check(file, beside, read, parsed)
        except InvalidManifests as error:
            return CheckResult(file.path, violations=error.violations)
        except ENDING_ERRORS:
            raise
        except BaseException as error:  # of this file: the others are checked all the same
            return _report_unchecked(file.path, error)

    def _check(
        self, file: SourceFile, beside: TreeContext, read: Read, parsed: Document | None
    ) -> CheckResult:
        name = file.path.rpartition("/")[2]
        if name == DEFAULTS_FILE or file.path in beside.layers:
            return self._layer(file)
        if name.startswith("_"):
            return self._check_reserved(file, name, parsed)
        problem = check_manifest_name(file.path)
        if problem:
            return CheckResult(file.path, violations=(problem,))
        own = parsed or parse_document(file.path, file.data)
        return self._check_manifest(own, file, beside, read)

    async def check_wholly(self, file: SourceFile, beside: TreeContext) -> CheckResult:
        """Return everything that can be found out, however long it takes."""
        checked = await asyncio.to_thread(self.check, file, beside)
        if checked.unread:
            sources = {one.source.path: one.source.data for one in checked.unread}
            texts = {path: await extract_in_worker(path, data) for path, data in sources.items()}
            checked = await asyncio.to_thread(self.check, file, beside, partial(recall_from, texts))
        return await self.settle(checked)

    async def settle(self, checked: CheckResult) -> CheckResult:
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
        except ENDING_ERRORS:
            raise
        except BaseException as error:
            return _report_unchecked(checked.path, error)
        return self._settled(checked, document, opened)

    def _settled(self, checked: CheckResult, document: Document, opened: OpenedDocument) -> CheckResult:
        try:
            return self._verified(checked, document, opened)
        except ENDING_ERRORS:
            raise
        except BaseException as error:
            return _report_unchecked(checked.path, error)

    def pend(self, checked: CheckResult) -> CheckResult:
        """Return the result of a file that is not settled yet.

        One with an unread source is quarantined; so is one whose seal the real sops still looks at, where a
        MAC is required.
        """
        if checked.unread:
            violations = (*checked.violations, *(one.pending for one in checked.unread))
            return CheckResult(checked.path, violations=limit_violations(violations), pending=True)
        assert checked.unsure is not None  # noqa: S101 - only such files wait
        message = "the seal is not verified yet: sops has not answered"
        hint = "it is applied as soon as sops answers; does its key service?"
        violation = checked.unsure.violation(("sops",), "seal-pending", message, hint)
        if self._require_mac:
            return CheckResult(checked.path, violations=(*checked.violations, violation), pending=True)
        warning = replace(violation, severity="warning")
        return replace(checked, violations=(*checked.violations, warning), pending=True)

    def document(
        self,
        path: str,
        data: bytes,
        layers: Sequence[tuple[str, bytes]],
        parsed: Document | None = None,
    ) -> Document:
        """Return a stored manifest merged with its layers. Raises ``InvalidManifests``."""
        return merge_layers(
            parsed or parse_document(path, data),
            [parse_document(*layer) for layer in layers],
            self._catalog.destinations,
        )

    def prints(self, document: Document, key: bytes) -> Mapping[Pointer, bytes] | None:
        """Return keyed fingerprints of the sealed values of a document, or None where no key opens it."""
        try:
            return self._opener.open(document).prints(key)
        except Exception:  # a stored document may have been changed by hand
            return None

    def _check_reserved(self, file: SourceFile, name: str, parsed: Document | None) -> CheckResult:
        if name != USER_FILE:
            known = suggest_word(name, (USER_FILE, DEFAULTS_FILE)) or f"{USER_FILE} and {DEFAULTS_FILE} do"
            hint = f"names that start with '_' are reserved: rename it; {known}"
            violation = Violation(file.path, "name-reserved", f"{name} is not a known file name", hint)
            return CheckResult(file.path, violations=(violation,))
        document = parsed or parse_document(file.path, file.data)
        violations = (*self._schemas.user_validator.check(document), *check_user(document))
        if filter_errors(violations):
            return CheckResult(file.path, violations=violations)
        return CheckResult(file.path, user=parse_user(document), violations=violations)

    def _layer(self, file: SourceFile) -> CheckResult:
        """Check a layer on its own: many manifests ask. Does not check whether the real sops can open it."""
        known = self._layers.get(file.path)
        if known is None or known[0] != file.digest or file.problem:
            try:
                checked = self._check_layer(file)
            except InvalidManifests as error:
                checked = CheckResult(file.path, violations=error.violations)
            except ENDING_ERRORS:
                raise
            except BaseException as error:
                checked = _report_unchecked(file.path, error)
            self._layers[file.path] = known = (file.digest, checked)
        return known[1]

    def _check_layer(self, file: SourceFile) -> CheckResult:
        if file.problem:
            return CheckResult(file.path, violations=(file.problem,))
        document = parse_document(file.path, file.data)
        violations = [
            *self._schemas.layer_validator.check(document),
            *check_own_fields(document),
            *check_seal_form(document),
        ]
        if violations:
            return CheckResult(file.path, violations=tuple(violations))
        return self._opened(CheckResult(file.path, layer=document), document)

    def _check_manifest(
        self, own: Document, file: SourceFile, beside: TreeContext, read: Read
    ) -> CheckResult:
        files = beside.layers_of(file.path)
        layers = [self._layer(one) for one in files]
        broken = [violation for one in layers for violation in filter_errors(one.violations)]
        if broken:
            return CheckResult(file.path, violations=tuple(broken))
        document = merge_layers(own, [one.layer for one in layers if one.layer], self._catalog.destinations)
        violations = explain_violations(document, self._schemas.agent_validator.check(document))
        named = Attached()
        if not violations:
            claimed = find_claimed_fields(document.value)
            violations = [*check_seal_form(own), *self._destinations(document, document.value, claimed)]
            violations += (*check_semantics(document, self._limits), *check_merge_rules(document))
            named = resolve_attachments(document, beside, read)
            violations += (*named.problems, *check_tool_locks(document, named))
            violations += check_variables(document, named.attachments.prompt)
        unread = tuple(named.unread)
        if filter_errors(violations):
            return CheckResult(file.path, violations=tuple(violations), pending=named.passing, unread=unread)
        attachments = replace(named.attachments, layers=make_layer_attachments(files))
        manifest, warnings = build_manifest(document, file.digest, attachments, list_links(document))
        warnings = (*warnings, *check_completeness(document))
        opened = self._opened(CheckResult(file.path, manifest, violations=warnings), document)
        return replace(opened, unread=unread)

    def _opened(self, good: CheckResult, document: Document) -> CheckResult:
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

    def _refused(self, good: CheckResult, document: Document, error: SealError) -> CheckResult:
        if isinstance(error, SealLocked):
            return self._locked(good, document, error)
        code = "seal-malformed" if isinstance(error, SealMalformed) else "seal-tampered"
        violation = document.violation(("sops",), code, error.message, error.hint)
        return CheckResult(good.path, violations=(violation,))

    def _locked(self, good: CheckResult, document: Document, error: SealLocked | SopsFailed) -> CheckResult:
        """Return the result where no key opens it.

        It may be stored (a runtime verifies before it uses it), unless a MAC is required.
        """
        violation = self._unverified(document, error)
        if self._require_mac or (isinstance(error, KeyServiceForbidden) and error.final):
            return CheckResult(good.path, violations=(*good.violations, violation))
        warning = replace(violation, severity="warning")
        return replace(good, violations=(*good.violations, warning))

    def _unverified(self, document: Document, error: SealLocked | SopsFailed) -> Violation:
        if isinstance(error, KeyServiceForbidden):
            return document.violation(error.pointer, "key-service", error.message, error.hint)
        why = "none of your keys opens it" if self._opener.can_open else "no key available"
        hint = "set SOPS_AGE_KEY_FILE to the file with your age key"
        if self._opener.key_problems:
            why = f"{why} ({'; '.join(self._opener.key_problems)})"
        if isinstance(error, SopsFailed):
            why, hint = error.message, error.hint
        return document.violation(("sops",), SEAL_UNVERIFIED, f"the seal was not verified: {why}", hint)

    def _verified(self, good: CheckResult, document: Document, opened: OpenedDocument) -> CheckResult:
        violations = [*uncovered_seals(document, opened)]
        if good.layer is None:  # a layer alone is not whole: it is judged with every manifest on it
            violations += self._destinations(document, opened.value, opened.sealed)
            violations += self._values(document, opened.value)
        return CheckResult(good.path, violations=tuple(violations)) if violations else good.verified()

    def _destinations(
        self, document: Document, value: Mapping[str, Any], sealed: Collection[Pointer]
    ) -> Iterator[Violation]:
        """Check that a secret goes only where it belongs. ``sealed``: claimed or verified as sealed."""
        wrong_fields = find_misdirected_secrets(
            document, value, sealed, self._catalog.destinations, self._trusted
        )
        for pointer, wrong in wrong_fields:
            message = f"{format_pointer(pointer)} would send this section's secret to {wrong.origin}"
            yield document.violation(pointer, "secret-destination", message, wrong.remedy)
        known = None if value is document.value else sealed  # until it is opened
        for token in find_misdirected_tokens(value, known, self._trusted):
            message = f"{format_pointer(token.pointer)}: {token.message}"
            yield document.violation(token.pointer, "secret-destination", message, token.hint)

    def _settings_of(self, pointer: Pointer, section: Mapping[str, Any]) -> type[ProviderSettings]:
        return self._catalog.vendor(str(pointer[0]), section["provider"]).settings

    def _values(self, document: Document, opened: Mapping[str, Any]) -> Iterator[Violation]:
        """Check that sealed values, once opened, fit their fields as plain ones must."""
        head = {key: value for key, value in opened.items() if key not in SECTIONS}
        yield from _find_misfits(document, (), AgentHead, head)
        yield from check_placeholders(document, opened)
        for pointer, section in iter_providers(opened):
            yield from _find_misfits(document, pointer, self._settings_of(pointer, section), section)


def recall_from(
    texts: Mapping[str, Extraction | Known | None], path: str, data: bytes
) -> Extraction | Known | None:
    """Return what was read of a file, by ``texts`` or lately."""
    found = texts.get(path)
    return recall_passages(path, data) if found is None else found


def _find_misfits(
    document: Document, pointer: Pointer, model: type[BaseModel], value: Mapping[str, Any]
) -> Iterator[Violation]:
    try:
        model.model_validate(value)
    except ValidationError as error:
        for item in error.errors(include_input=False, include_url=False, include_context=False):
            message = f"the sealed value is invalid: {item['type'].replace('_', ' ')}"
            hint = "seal a valid one: agentsd edit FILE"
            yield document.violation((*pointer, *item["loc"]), "opened-value", message, hint)


def _report_unchecked(path: str, error: BaseException) -> CheckResult:
    """Return the violation of a file whose check failed in an unforeseen way."""
    message = f"this file cannot be checked ({describe_error(error)})"
    hint = "change or remove it, and please report it: this is a bug in agentsd"
    return CheckResult(path, violations=(Violation(path, "unchecked", message, hint),))
