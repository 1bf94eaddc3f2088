"""Requirements of a provider on this machine beyond agentsd itself.

Checking them imports none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agentsd.core.errors import ConfigError

EXTRA_INSTALL = "pip install '.[local]'"
"""Command that installs the optional extra, in a clone: agentsd is not on a package index."""


@dataclass(frozen=True, slots=True)
class Need:
    """Python package or program, and the exact command that installs it."""

    name: str  # the distribution's or program's name, for messages
    is_there: Callable[[], bool]
    install: str


@dataclass(frozen=True, slots=True)
class Needs:
    """Requirements of one provider."""

    of: tuple[Need, ...]

    def missing(self) -> tuple[Need, ...]:
        """Return the requirements that are not installed."""
        return tuple(need for need in self.of if not need.is_there())

    def advice(self) -> str:
        """Return the commands that install what is missing; empty if nothing is."""
        return " && ".join(dict.fromkeys(need.install for need in self.missing()))

    def check(self, vendor: str) -> None:
        """Raise ``ConfigError`` with the command if anything is missing."""
        missing = self.missing()
        if missing:
            names = " and ".join(need.name for need in missing)
            where = f"not installed on this machine; in a clone of agentsd: {self.advice()}"
            raise ConfigError(
                f"{vendor} needs {names}, {where}",
                hint="then restart agentsd; agentsd doctor shows what is installed",
            )


def require_package(module: str, name: str, install: str = EXTRA_INSTALL) -> Need:
    """Return the need for a Python package: imported as ``module``, installed as ``name``."""
    return Need(name, lambda: _is_importable(module), install)


def require_program(name: str, install: str) -> Need:
    """Return the requirement of a program on the PATH."""
    return Need(name, lambda: _is_on_path(name), install)


def find_package_folder(module: str) -> Path:
    """Return an installed package's folder without importing it: some are data with unwanted code."""
    from importlib.util import find_spec

    spec = find_spec(module)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise ConfigError(f"the package {module} is not installed", hint=EXTRA_INSTALL)
    return Path(places[0])


def _is_importable(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def _is_on_path(name: str) -> bool:
    from shutil import which

    return which(name) is not None
