"""TRANSPOSE_CONV."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import Layer, exact_rows, quant
from multigraft.firmware_gen.arithmetic.fixed_point import quantize_multiplier
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.arithmetic.requantise import Rescaling
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.c_text import digest, window_literal
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.operators.base.constraints import (
    constant_bias_at,
    constant_weights,
    is_int8,
    scale_per_channel,
)
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.options import integer
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _types(node: Node) -> bool:
    """Source and output have to be int8 with one scale each, of four dimensions with batch 1."""
    tensors = (node.input(2), node.outputs[0])
    return all(is_int8(t) and len(t.shape) == 4 and t.shape[0] == 1 for t in tensors)


def _no_activation(node: Node) -> bool:
    """There may be no fused activation."""
    return node.op.options.get("fused_activation_function", "NONE") == "NONE"


def _shapes(node: Node) -> bool:
    """The output has to be of the size, and the weights of the channels, that source, strides and padding ask for."""
    weights, source, result, options = node.input(1).shape, node.input(2).shape, node.outputs[0].shape, node.op.options
    strides = integer(options.get("stride_h"), 1), integer(options.get("stride_w"), 1)
    padding = options.get("padding", "SAME")
    if len(weights) != 4 or min(strides) < 1 or padding not in ("SAME", "VALID"):
        return False
    sides = zip(source[1:3], result[1:3], weights[1:3], strides, strict=True)
    for size, out, kernel, stride in sides:
        whole = out if padding == "SAME" else out - kernel + 1
        if whole < 1 or -(-whole // stride) != size:
            return False
    return (weights[0], weights[3]) == (result[3], source[3])


class TransposeConv(Operator):
    """TRANSPOSE_CONV with constant weights; its inputs are output shape, weights, source and an optional bias."""

    names = ("TRANSPOSE_CONV",)
    summary = "int8, weights of 8 or 4 bits per channel or per tensor, any stride and padding"
    constraints = (constant_weights, scale_per_channel, constant_bias_at(3), _types, _no_activation, _shapes)

    def _parts(self, node: Node) -> tuple[Layer, Window]:
        weights, source, result = node.input(1), node.input(2), node.outputs[0]
        assert weights.data is not None
        channels = weights.shape[0]
        given_scales = quant(weights).scales
        scales = given_scales if len(given_scales) == channels else given_scales * channels
        given, made = quant(source), quant(result)
        into, out = float(np.float32(given.scales[0])), float(np.float32(made.scales[0]))
        rescalings = tuple(
            Rescaling(*quantize_multiplier(into * float(np.float32(s)) / out), made.zero_points[0]) for s in scales
        )
        offset = node.inputs[3] if len(node.inputs) > 3 else None
        bias = np.zeros(channels, np.int64) if offset is None or offset.data is None else offset.data.astype(np.int64)
        layer = Layer(weights.data.reshape(channels, -1), bias, rescalings, given.zero_points[0])
        (_, in_h, in_w, in_c), (_, out_h, out_w, _) = source.shape, result.shape
        _, k_h, k_w, _ = weights.shape
        stride_h, stride_w = integer(node.op.options.get("stride_h"), 1), integer(node.op.options.get("stride_w"), 1)
        pad_h = pad_w = 0
        if node.op.options.get("padding", "SAME") == "SAME":
            pad_h = max((in_h - 1) * stride_h + k_h - out_h, 0) // 2
            pad_w = max((in_w - 1) * stride_w + k_w - out_w, 0) // 2
        over = Window(
            in_h, in_w, in_c, out_h, out_w, channels, k_h, k_w, stride_h, stride_w, 1, 1, pad_h, pad_w
        )  # fmt: skip
        return layer, over

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        layer, over = self._parts(node)
        assert inputs[2] is not None
        source = inputs[2][0].astype(np.int64) - layer.input_zero_point
        weights = layer.weights.astype(np.int64).reshape(over.out_c, over.k_h, over.k_w, over.in_c)
        height = max((over.in_h - 1) * over.stride_h + over.k_h, over.pad_h + over.out_h)
        width = max((over.in_w - 1) * over.stride_w + over.k_w, over.pad_w + over.out_w)
        sums = np.zeros((height, width, over.out_c), np.int64)
        for y in range(over.in_h):
            for x in range(over.in_w):
                top, left = y * over.stride_h, x * over.stride_w
                sums[top : top + over.k_h, left : left + over.k_w] += np.einsum("i,chwi->hwc", source[y, x], weights)
        cut = sums[over.pad_h : over.pad_h + over.out_h, over.pad_w : over.pad_w + over.out_w] + layer.bias
        result = np.stack([r.apply(cut[..., c]) for c, r in enumerate(layer.rescalings)], axis=-1)
        return result.astype(np.int8)[None]

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        layer, over = self._parts(node)
        body = (
            f"mg_transpose_conv({window_literal(over, layer.input_zero_point)}, in, out, constants,"
            f" {layer.rescalings[0].zero_point});"
        )
        name = f"transpose_conv_{digest(body)}"
        text = f"MG_KERNEL void {name}(const int8_t *in, int8_t *out, const void *constants)\n{{\n    {body}\n}}\n"

        def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
            return f"{name}({ins[2]}, {outs[0]}, {constants});"

        return Kernel(call, ("transpose_conv.h",), {name: text}, exact_rows(layer).tobytes() + layer.weights.tobytes())
