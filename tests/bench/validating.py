"""``agentsd validate`` of ten sealed files as a whole process, beside ``sops decrypt`` of each."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.bench.fleet import fleet
from tests.bench.opening import sample_of_decrypts
from tests.bench.processes import AGENTSD, spend
from tests.bench.report import Figure, Scale, main, p50

FILES = 10


def run(scale: Scale) -> Sequence[Figure]:
    """``agentsd validate`` of ten sealed files as a whole process."""
    made = fleet(FILES)
    ours, python, sops = [], [], []
    for _ in range(scale.rounds * 2):
        ours.append(spend([*AGENTSD, "validate", "--path", str(made.root)], made.environ()))
        python.append(spend([sys.executable, "-c", "pass"], made.environ()))
        sops.append(sum(one.wall for one in sample_of_decrypts(made, FILES)))
    wall = p50([one.wall for one in ours])
    return [
        Figure(
            "validate ten files, whole process",
            wall,
            "s",
            0.35,
            anchor=p50(sops),
            against="sops decrypt, ten times",
        ),
        Figure(
            "  the same, CPU",
            p50([one.cpu for one in ours]),
            "s",
            anchor=p50([one.wall for one in python]),
            against="python -c pass",
        ),
    ]


if __name__ == "__main__":
    main(run)
