"""The arena planner on hard instances: those of the MiniMalloc benchmark if given, and generated ones like them.

MULTIGRAFT_MINIMALLOC names a folder with files such as ``B.1048576.csv`` (github.com/google/minimalloc, benchmarks).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from multigraft.cli.shared.table import print_table
from multigraft.firmware_gen.memory.planner import Buffer, plan
from tests.firmware_gen.memory import minimalloc

NODES = 1_000_000


def show(folder: Path) -> None:
    """Print which capacities are met, how far the plan is from the bound, and in what time."""
    given = os.environ.get("MULTIGRAFT_MINIMALLOC")
    files = sorted(Path(given).glob("*.csv")) if given else []
    rows = [_row(path.name, minimalloc.read(path.read_text()), minimalloc.capacity_of(path)) for path in files]
    for count in (50, 100, 200):
        rows.append(
            _row(f"generated, {count} buffers", minimalloc.read(minimalloc.made(0, count)), minimalloc.CAPACITY)
        )
    print_table(
        f"arena planner, at most {NODES:,} search nodes",
        ("instance", "buffers", "capacity", "plan, bytes", "bound, bytes", "met", "s"),
        rows,
    )


def _row(name: str, buffers: list[Buffer], capacity: int) -> list[str]:
    begin = time.perf_counter()
    made = plan(buffers, nodes=NODES)
    seconds = time.perf_counter() - begin
    met = "yes" if made.size <= capacity else "no"
    return [name, *map(str, (len(buffers), capacity, made.size, made.bound)), met, f"{seconds:.1f}"]
