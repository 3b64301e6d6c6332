"""What an interrupted build takes over of the conversion: the float model, of the same graph by the same converter."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from multigraft.converters.conversion.onnx2tf import to_tflite
from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.converters.job.checkpoints import Checkpoints
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Model, Op, Signature, Tensor
from tests.converters.graft.networks import perturbed, residual_network

NETWORK = residual_network("a", 0)
GRAPH = Graph(
    "main",
    ("x",),
    ("y",),
    (Op("RELU", ("x",), ("y",)),),
    {name: Tensor(name, (1, 4), "float32") for name in ("x", "y")},
)
FLOAT_MODEL = tflite_file.write(Model((GRAPH,), (Signature("serving_default", {"x": "x"}, {"y": "y"}, 0),)))


def converter(folder: Path, version: str = "2.6.9") -> Environment:
    """A program in onnx2tf's place that gives one model and leaves a line for every run."""
    folder.mkdir(exist_ok=True)
    (folder / "model.tflite").write_bytes(FLOAT_MODEL)
    program = folder / "python"
    program.write_text(
        f'#!/bin/sh\nmkdir -p onnx2tf\ncp "{folder}/model.tflite" onnx2tf/model_float32.tflite\necho run >> ran\n'
    )
    program.chmod(0o755)
    return Environment(program, version)


def with_attribute(model: onnx.ModelProto) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    pads = next(a for a in changed.graph.node[0].attribute if a.name == "pads")
    pads.ints[:] = [0, 0, 2, 2]
    return changed


@pytest.mark.parametrize("what", ["nothing", "weights", "attribute", "version", "interpreter"])
def test_another_graph_or_converter_converts_again(tmp_path: Path, what: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    to_tflite(NETWORK.model, converter(tmp_path / "one"), work, checkpoints=Checkpoints(tmp_path / "steps"))
    model, environment = NETWORK.model, converter(tmp_path / "one")
    if what == "weights":
        model = perturbed(NETWORK, "a", 0.01).model
    elif what == "attribute":
        model = with_attribute(model)
    elif what == "version":
        environment = converter(tmp_path / "one", "2.7.0")
    elif what == "interpreter":
        environment = converter(tmp_path / "two")
    checkpoints = Checkpoints(tmp_path / "steps")
    converted = to_tflite(model, environment, work, checkpoints=checkpoints)
    assert converted.main.ops[0].name == "RELU"
    assert checkpoints.reused == (what == "nothing")
    assert (work / "ran").read_text().count("run") == (1 if what == "nothing" else 2)
