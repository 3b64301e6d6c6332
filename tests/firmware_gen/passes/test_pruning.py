"""Exact pruning: constant channels go, every answer stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import M3
from multigraft.firmware_gen.inspection.reference import evaluate
from multigraft.firmware_gen.inspection.report import report_of, report_text
from multigraft.firmware_gen.passes.intervals import intervals
from multigraft.firmware_gen.passes.pruning import prune
from multigraft.firmware_gen.program.program import Program, load
from multigraft.tflite.graph import Graph
from multigraft.tflite.macs import op_macs
from tests.firmware_gen.host import compile_host, reference, run_host, stimuli
from tests.firmware_gen.models import Builder, activation, ints, residual


def with_dead_channels() -> bytes:
    """Every second channel of some layers is dead (stuck at zero) or stuck at another value."""
    b = Builder(3)
    b.add(activation("in", (1, 8, 8, 3), 0.02, -128))
    x = b.conv("first", "in", 16)
    x = b.conv("depthwise", x, 16, depthwise=True)
    x = b.conv("second", x, 16, kernel=(1, 1))
    x = b.conv("third", x, 8, padding="VALID")
    b.add(ints("shape", [1, 8]))
    height = b.tensors[x].shape[1]
    pooled = activation("", (1, 1, 1, 8), 0.05)
    x = b.plain(
        "AVERAGE_POOL_2D", "pool", [x], pooled, padding="VALID", stride_w=1, stride_h=1, filter_height=height,
        filter_width=height,
    )  # fmt: skip
    x = b.plain("RESHAPE", "flat", [x, "shape"], activation("", (1, 8), 0.05))
    b.dense("out", x, 6)
    for name, value in (("first", -(10**6)), ("second", 10**6), ("third", -(10**6))):
        bias = b.tensors[f"{name}/b"]
        data = np.array(bias.data)
        data[::2] = value
        b.tensors[f"{name}/b"] = replace(bias, data=data)
    return b.model(["in"], ["out"])


def test_constant_channels_go_and_answers_stay(tmp_path: Path) -> None:
    model = with_dead_channels()
    program = load(model)
    pruned = prune(program)
    shapes = {s.node.outputs[0].name: s.node.outputs[0].shape[-1] for s in pruned.steps}
    # The 3x3 layer reads "second" without padding, so channels stuck at 127 can be folded into its bias.
    assert shapes == {"first": 8, "depthwise": 8, "second": 8, "third": 4, "pool": 4, "flat": 4, "out": 6}
    inputs = stimuli((1, 8, 8, 3), 40)
    (wanted,) = reference(model, [inputs])
    for value, answer in zip(inputs, wanted, strict=True):
        np.testing.assert_array_equal(evaluate(pruned, {"in": value})["out"], answer)
    project = generate(model, core=M3)
    host = compile_host(project, tmp_path)
    np.testing.assert_array_equal(run_host(host, project, [inputs])["out"], wanted)
    before = sum(model_macs(program))
    assert project.given.macs == before
    assert project.left.macs == sum(s.macs for s in project.steps)
    # Half of the channels of both sides of "second" and "third" went.
    assert 0.25 * before < project.left.macs < 0.5 * before
    text = report_text(report_of(project, "some"))
    assert f" {project.left.macs} MACs, {before} before exact pruning" in text
    assert f" {project.left.weights_bytes} bytes, {project.given.weights_bytes} before exact pruning" in text
    assert report_text(report_of(generate(residual(), core=M3), "some")).count("nothing to prune") == 2


def test_channels_go_through_a_mean(tmp_path: Path) -> None:
    """As in MobileNets, whose last convolution is averaged and read by a dense layer."""
    b = Builder(5)
    b.add(activation("in", (1, 7, 5, 4), 0.02, -3))
    x = b.conv("features", "in", 16, kernel=(1, 1))
    b.add(ints("axes", [1, 2]))
    x = b.plain("MEAN", "mean", [x, "axes"], activation("", (1, 16), 0.03, 5), keep_dims=False)
    b.dense("out", x, 6)
    bias = b.tensors["features/b"]
    data = np.array(bias.data)
    data[:5], data[8:12] = -(10**6), 10**6
    b.tensors["features/b"] = replace(bias, data=data)
    model = b.model(["in"], ["out"])
    pruned = prune(load(model))
    shapes = {s.node.outputs[0].name: s.node.outputs[0].shape for s in pruned.steps}
    # Nine channels are constant, and channels stay a multiple of four.
    assert shapes == {"features": (1, 7, 5, 8), "mean": (1, 8), "out": (1, 6)}
    inputs = stimuli((1, 7, 5, 4), 40)
    project = generate(model, core=M3)
    host = compile_host(project, tmp_path)
    np.testing.assert_array_equal(run_host(host, project, [inputs])["out"], reference(model, [inputs])[0])


def model_macs(program: Program) -> list[int]:
    return [
        op_macs(Graph("", (), (), (s.node.op,), {t.name: t for t in (*s.node.inputs, *s.node.outputs) if t}), s.node.op)
        for s in program.steps
    ]


def test_intervals_hold_for_every_input() -> None:
    program = load(with_dead_channels())
    known = intervals(program)
    for value in stimuli((1, 8, 8, 3), 60, seed=9):
        seen = evaluate(replace(program, tasks=(replace(program.tasks[0], outputs=tuple(known)),)), {"in": value})
        for name, (low, high) in known.items():
            flat = seen[name].reshape(-1, seen[name].shape[-1])
            assert np.all(flat >= low) and np.all(flat <= high)


def test_padding_keeps_a_channel_that_is_not_zero() -> None:
    b = Builder(4)
    b.add(activation("in", (1, 6, 6, 4), 0.02, -128))
    b.conv("out", b.conv("first", "in", 8), 4)
    bias = b.tensors["first/b"]
    b.tensors["first/b"] = replace(bias, data=np.full(8, 10**6, np.int32))
    pruned = prune(load(b.model(["in"], ["out"])))
    assert pruned.steps[0].node.outputs[0].shape[-1] == 8
