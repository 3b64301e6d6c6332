"""Takes an ONNX model through rewrites, the real onnx2tf and the clean-ups, and compares it with onnxruntime.

One onnx2tf is started for all models of a process; builds and the tests of the converter start one each.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import tempfile
from pathlib import Path

import numpy as np
import onnx

from multigraft.converters.conversion.boundary_tensors import OnnxRunner, locate, to_tflite_layout
from multigraft.converters.conversion.interpreters import Arrays
from multigraft.converters.conversion.onnx2tf import to_tflite
from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.tflite.graph import Graph
from tests.converters.graph_builder import run
from tests.fuzz.converting import Served

TOLERANCE = 1e-4


@functools.cache
def served(environment: Environment) -> Served:
    """The onnx2tf of this process, which ends with it."""
    folder = tempfile.TemporaryDirectory(prefix="multigraft-served-")
    made = Served(environment, Path(folder.name))
    atexit.register(folder.cleanup)
    atexit.register(made.close)
    return made


def through_converter(model: onnx.ModelProto, environment: Environment, folder: Path) -> Graph:
    """The cleaned float graph, after its outputs were found equal on three random inputs."""
    outputs = [o.name for o in model.graph.output]
    feeds = random_feeds(model, 3)
    converted = to_tflite(model, environment, folder, checkpoints=served(environment))
    floating = locate(converted, model, [], outputs, feeds[:2])
    names = [floating.boundaries[o] for o in outputs]
    tapped = dataclasses.replace(floating.graph, outputs=tuple(dict.fromkeys(names)))
    runner = OnnxRunner(model, outputs)
    for feed in feeds:
        wanted = to_tflite_layout(runner(feed), floating.layouts)
        values = run(tapped, to_tflite_layout(feed, floating.layouts))
        for output, name in zip(outputs, names, strict=True):
            largest = max(1.0, float(np.abs(wanted[output]).max()))
            np.testing.assert_allclose(values[name], wanted[output], rtol=0, atol=TOLERANCE * largest)
    return floating.graph


def random_feeds(model: onnx.ModelProto, count: int) -> list[Arrays]:
    """Normally distributed values for every input."""
    rng = np.random.default_rng(7)
    shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input}
    return [{n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()} for _ in range(count)]
