"""What a bundle adds to a process, as a .graft file and deployed, beside its networks apart.

``python -m tests.benchmarks memory BUNDLE`` takes a bundle of yours, with the folder of its networks that
``multigraft build --report-dir`` wrote beside it.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from multigraft.bundle.bundle import Bundle
from multigraft.runtime.memory import MemoryUse, measure_bundle, measure_models
from multigraft.tflite.graph import Graph
from multigraft.tflite.tflite_file import read

FRESH = 3
IN_PLACE = {"PAD", "RESHAPE", "SQUEEZE", "EXPAND_DIMS"}


def run(arguments: list[str]) -> None:
    """Print the memory of each bundle that is named."""
    for argument in arguments:
        path = Path(argument)
        with tempfile.TemporaryDirectory() as folder:
            bundle = Bundle.open(path).write(Path(folder) / path.name)
            show_memory(bundle, sorted(path.with_suffix(".separate").glob("*.tflite")))


def show_memory(bundle: Path, separate: list[Path]) -> None:
    """Print PSS (KiB), and how much that is of a byte of weights and activations.

    Args:
        bundle: A .graft file; it is deployed beside itself.
        separate: Its networks, as .tflite files.
    """
    opened = Bundle.open(bundle)
    deployed = opened.deploy(bundle.with_name(f"{bundle.stem}.deployed"))
    weights = sum(segment.weights_bytes for segment in opened.manifest.segments)
    graphs = read(opened.model).subgraphs
    activations = max(map(most_alive, graphs)) + sum(map(_boundary_bytes, graphs))
    kinds: dict[str, Callable[[], MemoryUse]] = {
        "apart, as .tflite files": lambda: measure_models(separate),
        "apart, letting go": lambda: measure_models(separate, lets_go=True),
        "bundle, .graft file": lambda: measure_bundle(bundle),
        "bundle, deployed": lambda: measure_bundle(deployed),
    }
    print(
        f"PSS that the models add; {weights / 1024:.0f} KiB of weights in the bundle, {activations / 1024:.0f} of "
        f"activations; median of {FRESH} processes"
    )
    for name, measure in kinds.items():
        added = statistics.median(measure().added_kib for _ in range(FRESH))
        share = added * 1024 / (weights + activations)
        print(f"  {name:26} {added:8.0f} KiB   {share:.2f} bytes a byte of the bundle's weights and activations")


def most_alive(graph: Graph) -> int:
    """Bytes of computed tensors that have to be there at once, at the operator where they are most.

    XNNPACK pads within convolutions, and another shape of a tensor is no other tensor.
    """
    same: dict[str, str] = {}
    for op in graph.ops:
        if op.name in IN_PLACE:
            same[op.outputs[0]] = same.get(op.inputs[0], op.inputs[0])
    ops = [op for op in graph.ops if op.name not in IN_PLACE]
    read = [{same.get(name, name) for name in op.inputs} for op in ops]
    last = {name: number for number, names in enumerate(read) for name in names}
    last |= dict.fromkeys((same.get(name, name) for name in graph.outputs), len(ops))
    alive, most = set(graph.inputs), 0
    for number, op in enumerate(ops):
        alive |= set(op.outputs)
        most = max(most, sum(graph.tensors[name].stored_bytes for name in alive))
        alive = {name for name in alive if last.get(name, -1) > number}
    return most


def _boundary_bytes(graph: Graph) -> int:
    """Bytes of what is given to a graph and of what it gives: they are kept beside the activations."""
    return sum(graph.tensors[name].stored_bytes for name in (*graph.inputs, *graph.outputs))
