"""Limits on reading a tree: by owner, and in all. An excess is a violation of that owner's folder.

A tree comes from whoever may push to it, and links make a small one large: 44 links are 2^22 paths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from agentsd.core.names import derive_owner
from agentsd.core.violations import Violation


@dataclass(frozen=True, slots=True)
class TreeLimits:
    """Limits of one tree. A path's first folder is its owner's; files at the top count as one owner's."""

    owner_files: int = 50_000
    owner_folders: int = 20_000
    owner_bytes: int = 512 << 20
    files: int = 250_000
    bytes: int = 2 << 30
    depth: int = 32  # nested folders
    entries: int = 100_000  # of one folder
    visits: int = 8  # of one folder, by links


DEFAULT_LIMITS = TreeLimits()


@dataclass(slots=True)
class TreeBudget:
    """Account of what was read so far."""

    limits: TreeLimits = DEFAULT_LIMITS
    _used: dict[str, list[int]] = field(default_factory=dict)  # files and bytes, by owner
    _total: list[int] = field(default_factory=lambda: [0, 0])
    _folders: Counter[str] = field(default_factory=Counter)
    _visits: Counter[Hashable] = field(default_factory=Counter)  # by folder
    _spent: dict[str, Violation] = field(default_factory=dict)  # by owner

    @property
    def violations(self) -> Iterable[Violation]:
        """Yield a violation for each owner that exceeds the limits."""
        return self._spent.values()

    def enter(self, prefix: str, link: Hashable | None = None) -> Violation | None:
        """Return why the folder at ``prefix`` is not walked, or None.

        ``link``: identity of the folder, if a link leads to it.
        """
        if prefix.count("/") > self.limits.depth:
            hint = "move it further up: owner/agent.yaml is enough"
            return _make_violation(prefix, f"more than {self.limits.depth} nested folders", hint)
        if link is not None:
            self._visits[link] += 1
            if self._visits[link] > self.limits.visits:
                message = f"more than {self.limits.visits} links lead to this folder"
                return _make_violation(prefix, message, "remove this link")
        owner = get_top_folder(prefix)
        self._folders[owner] += 1
        if self._folders[owner] > self.limits.owner_folders:
            self._spend(owner, f"more than {self.limits.owner_folders:,} folders")
        return None

    def is_spent(self, path: str) -> bool:
        """Return whether nothing more is read for the owner of this path."""
        return bool(self._spent) and get_top_folder(path) in self._spent

    def take(self, path: str, size: int) -> bool:
        """Count a file; return False if it exceeds the budget."""
        owner, limits, total = get_top_folder(path), self.limits, self._total
        used = self._used.get(owner)
        if used is None:
            used = self._used[owner] = [0, 0]
        used[0] += 1
        used[1] += size
        total[0] += 1
        total[1] += size
        if used[0] > limits.owner_files:
            self._spend(owner, f"more than {limits.owner_files:,} files")
        elif used[1] > limits.owner_bytes:
            self._spend(owner, f"more than {limits.owner_bytes >> 20} MiB in files")
        elif total[0] > limits.files or total[1] > limits.bytes:
            self._spend(
                owner, f"all owners have more than {limits.files:,} files, or {limits.bytes >> 30} GiB"
            )
        return not self._spent or owner not in self._spent

    def _spend(self, owner: str, message: str) -> None:
        hint = "remove what is not needed; files after it in the order of names are not read"
        self._spent.setdefault(owner, _make_violation(f"{owner}/", message, hint))


def get_top_folder(path: str) -> str:
    """Return the first folder of a path, whose budget it counts for."""
    end = path.find("/")
    return derive_owner(path) if end < 3 else path[:end]  # hot path: at the top, or maybe within an overlay


def _make_violation(path: str, message: str, hint: str) -> Violation:
    return Violation(path, "too-much", message, hint)
