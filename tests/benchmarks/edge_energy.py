"""Energy of computation with a cheap edge and a full-precision rest, beside that of the full-precision network.

``python -m tests.benchmarks.edge_energy NAME.graft TASK EXITS.json --edge int4``: the JSON is that of ``early_exits``
on this bundle. Multiply-accumulates in front of the exit and those of its head count at the edge's precision, those
behind it, for the frames that do not exit, as float32 on a server. It is the kind of model that arXiv 2005.10851
computes with; memory and instructions are in none of it. Constants are picojoules of a multiply-accumulate at 45 nm:
float32 and int8 of Horowitz (ISSCC 2014), 4 bits and 1 bit by the number of bits from int8. ``--pj int4=0.2`` replaces
one.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from multigraft.bundle.bundle import Bundle

PICOJOULES = {"float32": 4.6, "int8": 0.3, "int4": 0.15, "binary": 0.04}


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("task")
    parser.add_argument("exits", type=Path, help="what early_exits printed")
    parser.add_argument("--edge", choices=PICOJOULES, default="int8")
    parser.add_argument("--pj", action="append", default=[], metavar="PRECISION=PICOJOULES")
    options = parser.parse_args()
    pj = PICOJOULES | {name: float(value) for name, _, value in (given.partition("=") for given in options.pj)}
    manifest, seen = Bundle.open(options.bundle).manifest, json.loads(options.exits.read_text())
    task, order = manifest.task(options.task), [segment.name for segment in manifest.segments]
    last = order.index(seen["exit"])
    front = sum(manifest.segment(name).macs for name in task.segments if order.index(name) < last)
    behind = sum(manifest.segment(name).macs for name in task.segments if order.index(name) > last)
    edge = front + manifest.segment(seen["exit"]).macs
    rest = (1 - seen["rate"]) * behind
    whole_pj, hybrid_pj = (front + behind) * pj["float32"], edge * pj[options.edge] + rest * pj["float32"]
    told = {
        "edge": options.edge,
        "picojoules_per_mac": pj,
        "exit_rate": seen["rate"],
        "share_of_macs_at_the_edge": front / (front + behind),
        "accuracy_whole": seen["accuracy_whole"],
        "accuracy_with_exit": seen["accuracy_with_exit"],
        "float32_uj": whole_pj * 1e-6,
        "hybrid_uj": hybrid_pj * 1e-6,
        "times_less": whole_pj / hybrid_pj,
    }
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
