"""Prints the project's figures on this machine: ``make bench``, or ``python -m tests.benchmarks NAME`` for one of them.

``python -m tests.benchmarks real_networks FOLDER`` takes network files that are not in the repository, ``judges``
packages and pictures that are not, ``memory BUNDLE`` a bundle of yours, ``low_bit SETTINGS`` and ``one_bit SETTINGS``
networks of yours, ``thin_branch [SETTINGS]`` those or the demo's, and ``published`` two files of published weights.
``fleet [FILES]`` adds up the files of 10,000 sites in an S3 that runs here, and goes on where it ended.
Every table names its unit and sample count. Nothing here asserts a time.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import (
    binary_layers,
    binary_network,
    cluster,
    collect_cost,
    conformance,
    demo_bundle,
    families,
    field_grafting,
    firmware,
    judges,
    large_pair,
    low_bit,
    noise_price,
    one_bit,
    pair_memory,
    planner,
    published_pair,
    real_networks,
    refit_depth,
    thin_branch,
)
from tests.benchmarks.family import study, ten_tasks
from tests.benchmarks.fleet import campaign as fleet
from tests.benchmarks.scheduling import admission, schedulers

SECTIONS: dict[str, Callable[[Path], None]] = {
    "refit": refit_depth.show,
    "field": field_grafting.show,
    "demo": demo_bundle.show,
    "large": large_pair.show,
    "firmware": firmware.show,
    "planner": planner.show,
    "collect": collect_cost.show,
}

ON_REQUEST: dict[str, Callable[[Path], None]] = {
    "binary": binary_layers.show,
    "binary-network": binary_network.show,
    "conformance": conformance.show,
    "noise": noise_price.show,
    "families": families.show,
    "ten-tasks": ten_tasks.show,
    "admission": admission.show,
    "schedulers": schedulers.show,
    "cluster": cluster.show,
}
"""They take minutes."""

WITH_ARGUMENTS: dict[str, Callable[[list[str]], None]] = {
    "real_networks": real_networks.run,
    "judges": judges.run,
    "fleet": fleet.run,
    "low_bit": low_bit.run,
    "one_bit": one_bit.run,
    "thin_branch": thin_branch.run,
    "published": published_pair.run,
    "study": study.run,
    "memory": pair_memory.run,
}
"""They take what follows their name."""


def main() -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what processes of their own print stays in its place
    if sys.argv[1:] and (run := WITH_ARGUMENTS.get(sys.argv[1])):
        run(sys.argv[2:])
        return
    names = sys.argv[1:] or list(SECTIONS)
    for name in names:
        with tempfile.TemporaryDirectory(prefix="multigraft-bench-") as folder:
            (SECTIONS | ON_REQUEST)[name](Path(folder))


if __name__ == "__main__":
    main()
