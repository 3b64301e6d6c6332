"""``make fuzz``: random small graphs through import, onnx2tf and interpreter, against onnxruntime; a table.

python -m tests.fuzz [--graphs N] [--first N] [--int8 N] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
import time
from pathlib import Path

import onnx
from hypothesis import HealthCheck, Phase, given, seed, settings

from multigraft.converters.quantising.precisions import Precision
from tests.fuzz.graphs import Graph, graphs
from tests.fuzz.judge import Judge


def graph_of(number: int) -> Graph:
    """The graph of that number, the same in every run.

    Hypothesis's own sequence goes on from what it had before; graphs of 2,000 seeds have more in them.
    """
    made: list[Graph] = []

    @seed(number)
    @settings(
        max_examples=2, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck]
    )
    @given(graphs())
    def keep(graph: Graph) -> None:
        made.append(graph)

    keep()
    return made[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graphs", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first graph")
    parser.add_argument("--int8", type=int, default=20, help="every so many is quantised, too")
    parser.add_argument("--keep", type=Path, help="a folder for the graphs that ended badly")
    options = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    operators: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    refused: collections.Counter[str] = collections.Counter()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        judge = Judge(Path(name))
        for number in range(options.first, options.first + options.graphs):
            graph = graph_of(number)
            counts["graphs"] += 1
            kinds = [n.op_type for n in graph.model.graph.node if n.op_type != "Constant"]
            precisions: list[Precision] = ["float32", "int8"] if number % options.int8 == 0 else ["float32"]
            for precision in precisions:
                verdict = judge(graph, precision)
                label = verdict.kind if precision == "float32" else f"int8 {verdict.kind}"
                counts[label] += 1
                if precision == "float32":
                    for kind in set(kinds):
                        operators[kind][verdict.kind] += 1
                if verdict.kind == "refused":
                    refused[verdict.detail] += 1
                if verdict.is_bad or verdict.kind == "late":
                    print(f"{number} {label}: {verdict.detail} [{' '.join(kinds)}]", flush=True)
                    if options.keep:
                        options.keep.mkdir(exist_ok=True, parents=True)
                        onnx.save(graph.model, options.keep / f"{number}-{label.replace(' ', '-')}.onnx")
                    break
        judge.close()
    columns = ("right", "refused", "late", "vague", "wrong", "traceback", "crash")
    print(f"{'operator':28}" + "".join(f"{c:>10}" for c in columns))
    for kind, counted in sorted(operators.items()):
        print(f"{kind:28}" + "".join(f"{counted[c]:10}" for c in columns))
    print(f"{'all graphs':28}" + "".join(f"{counts[c]:10}" for c in columns))
    print(f"{'in int8':28}" + "".join(f"{counts[f'int8 {c}']:10}" for c in columns))
    print("refused by name: " + ", ".join(f"{k} {n}" for k, n in refused.most_common()))
    print(f"{counts['graphs']} graphs in {time.monotonic() - start:.0f} s")
    bad = sum(counts[prefix + c] for c in ("vague", "wrong", "traceback", "crash") for prefix in ("", "int8 "))
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
