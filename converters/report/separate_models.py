"""One .tflite file per original network, converted the same way as the bundle, for comparison."""

from __future__ import annotations

from pathlib import Path

from multigraft import files
from multigraft.converters.conversion.interpreters import main_signature
from multigraft.converters.packing.finishing import Conversion
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Model


def write_separate_models(separate: Conversion, folder: Path) -> dict[str, Path]:
    """Write ``folder/TASK.tflite`` for every task of a bundle in which nothing is shared; returns task to path."""
    folder.mkdir(exist_ok=True)
    model = tflite_file.read(separate.bundle.model)
    graphs = {s.name: model.subgraphs[s.subgraph] for s in model.signatures}
    written = {}
    for task in separate.bundle.manifest.tasks:
        graph = graphs[separate.bundle.manifest.segment(task.segments[-1]).signature]
        written[task.name] = folder / f"{task.name}.tflite"
        files.write_bytes(written[task.name], tflite_file.write(Model((graph,), (main_signature(graph),))))
    return written
