"""What converters leave of dynamic shapes is computed beforehand, and a network with it is as good as one without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multigraft.errors import MultigraftError
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import M3
from multigraft.firmware_gen.program.program import load
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Model, Op, Tensor
from tests.firmware_gen.host import compile_host, reference, run_host, stimuli
from tests.firmware_gen.models import Builder, activation, ints


def flattened(*, answered: bool = False) -> bytes:
    """A convolution, and a RESHAPE to what SHAPE, STRIDED_SLICE, MUL and PACK make of its output's shape."""
    b = Builder(3)
    b.add(activation("image", (1, 6, 5, 3)))
    features = b.conv("features", "image", 4)
    for name, values in (("first", [0]), ("second", [1]), ("third", [2]), ("one", [1]), ("four", [4])):
        b.add(ints(name, values))

    def row(name: str, shape: tuple[int, ...] = (4,)) -> Tensor:
        return Tensor(name, shape, "int32")

    bounds = {"begin_mask": 0, "end_mask": 0, "ellipsis_mask": 0, "new_axis_mask": 0}
    b.plain("SHAPE", "sizes", [features], row("sizes"), out_type=2)
    b.plain("STRIDED_SLICE", "batch", ["sizes", "first", "second", "one"], row("", ()), **bounds, shrink_axis_mask=1)
    b.plain("STRIDED_SLICE", "rows", ["sizes", "second", "third", "one"], row("", (1,)), **bounds, shrink_axis_mask=0)
    b.plain("MUL", "values", ["rows", "four"], row("", (1,)))
    b.add(Tensor("rest", (), "int32", None, np.array(5, np.int32)))
    b.plain("RESHAPE", "height", ["values", "none"], row("", ()))
    b.add(Tensor("none", (0,), "int32", None, np.empty(0, np.int32)))
    b.plain("PACK", "shape", ["batch", "height", "rest"], row("", (3,)), axis=0, values_count=3)
    b.plain("RESHAPE", "out", [features, "shape"], activation("", (1, 24, 5), 0.05, -128))
    versions = {"SHAPE": 1, "STRIDED_SLICE": 1, "MUL": 1, "PACK": 1}
    b.ops = [replace(op, version=versions.get(op.name, op.version)) for op in b.ops]
    return b.model(["image"], ["out", *(["sizes"] if answered else [])])


def test_shapes_are_computed_beforehand(tmp_path: Path) -> None:
    model = flattened()
    assert [step.node.name for step in load(model).steps] == ["CONV_2D", "RESHAPE"]
    project = generate(model, core=M3)
    inputs = [stimuli((1, 6, 5, 3), 20)]
    (answer,) = run_host(compile_host(project, tmp_path), project, inputs).values()
    np.testing.assert_array_equal(answer, reference(model, inputs)[0])


def test_a_shape_that_is_an_answer_is_refused() -> None:
    with pytest.raises(MultigraftError, match="int32"):
        generate(flattened(answered=True), core=M3)


@pytest.mark.parametrize("begin", [7, -9])
def test_a_slice_beyond_the_shape_is_left_to_be_refused(begin: int) -> None:
    tensors = [
        activation("in", (1, 6)), Tensor("sizes", (2,), "int32"), ints("begin", [begin]), ints("end", [begin + 1]),
        ints("one", [1]), Tensor("first", (), "int32"), activation("out", (1, 6)),
    ]  # fmt: skip
    masks = {"begin_mask": 0, "end_mask": 0, "ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 1}
    ops = [
        Op("SHAPE", ("in",), ("sizes",), {"out_type": 2}),
        Op("STRIDED_SLICE", ("sizes", "begin", "end", "one"), ("first",), masks),
        Op("RESHAPE", ("in", "first"), ("out",)),
    ]
    model = tflite_file.write(Model((Graph.of("main", ["in"], ["out"], ops, tensors),)))
    with pytest.raises(MultigraftError, match="STRIDED_SLICE"):
        generate(model, core=M3)


def test_a_bias_along_another_dimension_is_read() -> None:
    """Older converters wrote the weights' dimension beside biases; TensorFlow Lite Micro takes such files."""
    b = Builder(5)
    b.add(activation("image", (1, 6, 5, 3)))
    b.conv("out", "image", 4)
    graph = b.graph("main", ["image"], ["out"])
    bias = graph.tensors["out/b"]
    assert bias.quant is not None
    wrong = {**graph.tensors, "out/b": replace(bias, quant=replace(bias.quant, axis=3))}
    models = [tflite_file.write(Model((replace(graph, tensors=t),))) for t in (graph.tensors, wrong)]
    assert models[0] != models[1]
    right, read = (generate(model, core=M3).files for model in models)
    assert read == right
