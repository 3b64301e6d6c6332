"""The committed network of bits, trained on real digits: its bundle is as good, and an eighth of int8's bytes."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from multigraft.cli.shared.settings_options import load_frames
from multigraft.converters.build import Built, build
from multigraft.converters.demo.data import demo_folder
from multigraft.converters.importing.importer import load_task
from multigraft.converters.network.labelled import load_labelled
from multigraft.converters.packing.fidelity import BundleRunner
from multigraft.converters.settings.settings import Settings
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Op

FRAMES = 500
pytestmark = pytest.mark.usefixtures("onnx2tf_environment")


@functools.cache
def built() -> Built:
    return build(Settings.load(demo_folder() / "binary.toml"), load_frames)


def layers(graph: Graph) -> list[Op]:
    return [op for op in graph.ops if op.custom_code == "LceBconv2d"]


def test_it_answers_labelled_digits_as_the_float_network() -> None:
    settings = Settings.load(demo_folder() / "binary.toml")
    (task,) = settings.tasks
    assert task.labelled is not None
    network, labelled = load_task(task, demo_folder()), load_labelled(task.labelled, task.name)
    frames, labels = labelled.frames[:FRAMES], labelled.labels[:FRAMES]
    wanted = network.run(network.prepare(frames))[network.outputs[0]]
    (given,) = BundleRunner(built().bundle).outputs("digit", frames)
    given = given.reshape(wanted.shape)
    hits = [(answer.argmax(1) == labels).sum() for answer in (wanted, given)]
    assert hits[0] == hits[1] > 0.9 * FRAMES
    assert (np.abs(given - wanted).max(1) < 1e-3).mean() > 0.99


def test_its_binary_layers_take_a_sixth_of_int8_at_most() -> None:
    graph = tflite_file.read(built().conversion.uncut_model).main
    found = layers(graph)
    assert [graph.tensors[op.outputs[0]].dtype for op in found] == ["int32", "int32", "int32", "float32"]
    held = sum(graph.tensors[name].stored_bytes for op in found for name in op.inputs[1:] if name)
    weights = [graph.tensors[op.inputs[1]].shape for op in found]
    int8 = sum(o * (h * w * words * 32 + 4 + 4) for o, h, w, words in weights)  # a bias and a scale a channel
    assert int8 / held > 6
