#!/usr/bin/env python3
"""Print the lower bound of every dependency as an exact pin, for an environment that tests them.

Usage: scripts/lower_bounds.py > lower.txt; .ci/lower-bounds installs and tests them.

The wheel's metadata has ranges, so that agentsd can be installed beside other packages; the exact versions of
a full install are in deploy/constraints.txt alone.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"

_BOUND = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?>=([^,;\s]+)")


def read_bounds(project: Path) -> dict[str, str]:
    """Return name → lower bound of the dependencies and extras of a pyproject.toml."""
    table = tomllib.loads(project.read_text("utf-8"))["project"]
    extras = table.get("optional-dependencies", {}).values()
    lines = [*table["dependencies"], *(line for extra in extras for line in extra)]
    return {found[1]: found[2] for line in lines if (found := _BOUND.match(line))}


def main() -> int:
    """Print ``name==version`` lines."""
    for name, version in sorted(read_bounds(PROJECT).items(), key=lambda item: item[0].casefold()):
        print(f"{name}=={version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
