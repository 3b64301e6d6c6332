"""SVDF."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.arithmetic.fixed_point import quantize_multiplier, rescale
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.operators.base.constraints import is_int8
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.options import integer
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array

_BIAS, _STATE = 3, 4
_MOST_TAPS = 1 << 15
_MOST_TIMES = 1 << 12
"""Products of int8 and int16, or of a product's zero point, whose sum fits 32 bits with a rank of 16."""


def _types(node: Node) -> bool:
    """Input, output and feature weights have to be int8 with one scale, state and time weights both int8 or int16."""
    time, state = node.input(2), node.input(_STATE)
    if not all(is_int8(t) for t in (node.input(0), node.input(1), node.outputs[0])):
        return False
    held = all(t.dtype == state.dtype and t.quant is not None and t.quant.per_tensor for t in (time, state))
    return held and state.dtype in ("int8", "int16")


def _kept(node: Node) -> bool:
    """The state has to be a variable of the file."""
    return len(node.outputs) == 2 and node.outputs[1].name == node.input(_STATE).name


def _weights(node: Node) -> bool:
    """The weights have to be constant with zero point 0, the bias constant int32."""
    bias = node.inputs[_BIAS]
    constant = all(t.data is not None and not any(quant(t).zero_points) for t in (node.input(1), node.input(2)))
    return constant and (bias is None or (bias.data is not None and bias.dtype == "int32"))


def _rank(node: Node) -> int:
    return integer(node.op.options.get("rank"))


def _shapes(node: Node) -> bool:
    """There has to be one row; weights, bias and state have to fit its size, rank (1 to 16) and times (to 4096)."""
    shape, features, times = node.input(0).shape, node.input(1).shape, node.input(2).shape
    if len(shape) != 2 or shape[0] != 1 or len(features) != 2 or len(times) != 2 or not 1 <= _rank(node) <= 16:
        return False
    filters, bias = features[0], node.inputs[_BIAS]
    units, rest = divmod(filters, _rank(node))
    sizes = features[1] == shape[1] <= _MOST_TAPS and times[0] == filters and times[1] <= _MOST_TIMES
    kept = node.input(_STATE).shape == (1, filters * times[1]) and node.outputs[0].shape == (1, units)
    return sizes and kept and rest == 0 and (bias is None or bias.shape == (units,))


def _activation(node: Node) -> bool:
    """The fused activation has to be none or RELU, which the reference kernel takes for none."""
    return node.op.options.get("fused_activation_function", "NONE") in ("NONE", "RELU")


class Svdf(Operator):
    """SVDF: a row's features are remembered, and weighted over time."""

    names = ("SVDF",)
    summary = "int8 with an int16 or int8 state, one row, any rank; keeps its state"
    constraints = (_types, _kept, _weights, _shapes, _activation)

    def _scales(self, node: Node) -> tuple[tuple[int, int], tuple[int, int]]:
        """Of the features in the state, and of the sum over time in the output."""
        source, features, times, state = (quant(node.input(i)) for i in (0, 1, 2, _STATE))
        scales = [np.float32(q.scales[0]) for q in (source, features, times, state, quant(node.outputs[0]))]
        first = float(scales[0]) * float(scales[1]) / float(scales[3])
        second = float(scales[3]) * float(scales[2]) / float(scales[4])
        return quantize_multiplier(first), quantize_multiplier(second)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        return self.references(node, inputs)[0]

    def references(self, node: Node, inputs: Sequence[Array | None]) -> tuple[Array, ...]:
        source, features, times, bias, state = inputs
        assert source is not None and features is not None and times is not None and state is not None
        first, second = self._scales(node)
        zero, held = quant(node.input(0)).zero_points[0], quant(node.input(_STATE)).zero_points[0]
        limits = np.iinfo(state.dtype)
        found = rescale(features.astype(np.int64) @ (source[0].astype(np.int64) - zero), *first)
        kept = np.roll(state.reshape(-1), -1).reshape(times.shape).astype(np.int64)
        kept[:, -1] = (held + np.clip(found, limits.min, limits.max)).astype(state.dtype)
        sums = (times.astype(np.int64) * (kept - held)).sum(axis=1).reshape(-1, _rank(node)).sum(axis=1)
        total = sums + (0 if bias is None else bias.astype(np.int64))
        result = np.clip(rescale(total, *second) + quant(node.outputs[0]).zero_points[0], -128, 127)
        return result.astype(np.int8).reshape(node.outputs[0].shape), kept.astype(state.dtype).reshape(state.shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        features, times, bias = node.input(1).data, node.input(2).data, node.inputs[_BIAS]
        assert features is not None and times is not None
        units = node.outputs[0].shape[1]
        source, state = quant(node.input(0)), quant(node.input(_STATE))
        given = np.zeros(units, np.int64) if bias is None or bias.data is None else bias.data.astype(np.int64)
        shifts = -source.zero_points[0] * features.astype(np.int64).sum(axis=1)
        order = f"<i{times.dtype.itemsize}"
        constant = (
            np.concatenate([shifts, given]).astype("<i4").tobytes()
            + np.ascontiguousarray(times).astype(order).tobytes()
            + np.ascontiguousarray(features).tobytes()
        )
        (a, b), (c, d) = self._scales(node)
        kind = "int16_t" if times.dtype.itemsize == 2 else "int8_t"
        sizes = f"{features.shape[1]}, {units}, {_rank(node)}, {times.shape[1]}"

        def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
            return (
                f"mg_svdf_{kind}({ins[0]}, {outs[0]}, {outs[1]}, {constants}, &(mg_svdf_sizes){{{sizes}, {a}, {b}, "
                f"{c}, {d},\n    {state.zero_points[0]}, {quant(node.outputs[0]).zero_points[0]}}});"
            )

        return Kernel(call, ("dot.h", "svdf.h"), {}, constant)
