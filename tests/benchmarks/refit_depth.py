"""How much accuracy is kept when 1, 2 or 3 of 4 residual blocks are shared, by method."""

from __future__ import annotations

from pathlib import Path

from multigraft.cli.shared.table import print_table
from multigraft.converters.graft.join import Method
from tests.benchmarks.demo_networks import accuracy_kept, demo_task

METHODS: tuple[Method, ...] = ("raw", "refit", "adapter3")


def show(folder: Path) -> None:
    """Print the table."""
    for donor, target in (("garment", "digit"), ("garment", "worn")):
        task = demo_task(target)
        rows = [
            (f"{blocks} of 4", *(f"{100 * accuracy_kept(donor, target, blocks, m):.2f}" for m in METHODS))
            for blocks in (1, 2, 3)
        ]
        print_table(
            f"{target} on the trunk of {donor}: % of its own accuracy ({100 * task.own_accuracy:.2f} %) kept, "
            f"{len(task.labelled.labels)} labelled frames, fitted on {len(task.evidence.fit)} unlabeled ones",
            ("blocks shared", *METHODS),
            rows,
        )
