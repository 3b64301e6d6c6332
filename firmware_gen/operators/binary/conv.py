"""LceBconv2d."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.c_text import digest, window_literal
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.operators.base.constraints import is_words
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.operators.binary.demands import HEADERS, is_value, options_of
from multigraft.firmware_gen.operators.binary.window import binary_window
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array
from multigraft.tflite.words import bits_of, packed, words_of

_NO_LIMIT = 1 << 28
_ACTIVATIONS = ((-_NO_LIMIT, _NO_LIMIT), (0, _NO_LIMIT), (-1, 1), (0, 6))
"""Least and most of no activation, RELU, RELU_N1_TO_1 and RELU6."""
_GREATEST = 1e30


def _types(node: Node) -> bool:
    """The input has to be int32 words, the output such words, float32, or int8 with one scale, of one image each."""
    source, result = node.input(0), node.outputs[0]
    images = all(len(t.shape) == 4 and t.shape[0] == 1 for t in (source, result))
    return images and is_words(source) and (is_words(result) or is_value(result))


def _constants(node: Node) -> bool:
    """Filter, and thresholds or multiplier and bias, have to be constant; factors have to be below 10^30."""
    packs = is_words(node.outputs[0])
    given = [node.inputs[place] for place in ((1, 4) if packs else (1, 2, 3)) if place < len(node.inputs)]
    if len(given) != (2 if packs else 3) or any(t is None or t.data is None for t in given):
        return False
    return packs or bool(np.all(np.abs(np.stack(_factors(node))) < _GREATEST))


def _fits(node: Node) -> bool:
    """The output has to be of the size that window, strides and padding give."""
    over = _window(node)
    outputs = node.input(1).shape[0]
    depth = words_of(outputs) if is_words(node.outputs[0]) else outputs
    return node.outputs[0].shape == (1, over.out_h, over.out_w, depth)


def _window(node: Node) -> Window:
    _, kernel_h, kernel_w, _ = node.input(1).shape
    return binary_window(node, (kernel_h, kernel_w), options_of(node))


def _factors(node: Node) -> tuple[Array, Array]:
    """What twice the differences are multiplied by, and what is added, float32 per channel; as float32 they hold the
    scale, the zero point and the number of places."""
    multiplier, bias = (np.asarray(node.input(place).data, np.float64) for place in (2, 3))
    scale, zero = 1.0, 0
    if node.outputs[0].dtype == "int8":
        result = quant(node.outputs[0])
        scale, zero = float(np.float32(result.scales[0])), result.zero_points[0]
    with np.errstate(over="ignore", invalid="ignore"):
        slope = (-multiplier / scale).astype(np.float32)
        return slope, ((bias + _Sums.of(node).places * multiplier) / scale + zero).astype(np.float32)


@dataclass(frozen=True)
class _Sums:
    """Sizes of what is summed: channels of one group, places of a window in it, groups; and whether padding is 1."""

    depth: int
    places: int
    groups: int
    pads_one: bool

    @classmethod
    def of(cls, node: Node) -> _Sums:
        options, (_, kernel_h, kernel_w, held) = options_of(node), node.input(1).shape
        groups = node.input(0).shape[3] // held
        depth = options["channels_in"] // groups
        return cls(depth, kernel_h * kernel_w * depth, groups, bool(options["pad_values"]))


class LceBconv2d(Operator):
    """LceBconv2d: exclusive-or and counting bits."""

    names = ("LceBconv2d",)
    summary = (
        "words of 32 channels to int8, to words or, as the network's answer, float32; groups, any stride, dilation, "
        "padding and fused ReLU"
    )
    constraints = (_types, _constants, _fits)

    def _twice(self, node: Node, source: Array) -> Array:
        """Twice the differences, int64 [rows, columns, outputs]; outside lies 1, or counts as half a difference."""
        over, sums = _window(node), _Sums.of(node)
        filters = node.input(1)
        assert filters.data is not None
        weights = 1 - 2 * bits_of(filters.data, sums.depth)
        values = 1 - 2 * bits_of(source[0], sums.groups * sums.depth)
        outputs = filters.shape[0] // sums.groups
        result = np.empty((over.out_h, over.out_w, filters.shape[0]), np.int64)
        for y in range(over.out_h):
            for x in range(over.out_w):
                seen = np.full((over.k_h, over.k_w, values.shape[-1]), int(sums.pads_one), np.int64)
                for a in range(over.k_h):
                    for b in range(over.k_w):
                        row = y * over.stride_h - over.pad_h + a * over.dilation_h
                        column = x * over.stride_w - over.pad_w + b * over.dilation_w
                        if 0 <= row < over.in_h and 0 <= column < over.in_w:
                            seen[a, b] = values[row, column]
                for g in range(sums.groups):
                    part = slice(g * outputs, (g + 1) * outputs)
                    window = seen[..., g * sums.depth : (g + 1) * sums.depth]
                    result[y, x, part] = np.einsum("hwc,ohwc->o", window, weights[part])
        return sums.places - result

    def _thresholds(self, node: Node) -> Array:
        """Twice the thresholds, as far as sums reach."""
        given = node.input(4).data
        assert given is not None
        return 2 * np.clip(given.astype(np.int64), -1, _Sums.of(node).places)

    def _limits(self, node: Node) -> tuple[int, int]:
        """Least and most of twice the differences that the activation lets through."""
        least, most = _ACTIVATIONS[options_of(node)["fused_activation_function"]]
        places = _Sums.of(node).places
        return places - most, places - max(least, -places)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        twice, result = self._twice(node, inputs[0]), node.outputs[0]
        if is_words(result):
            return packed(np.where(twice > self._thresholds(node), -1, 1))[None]
        slope, level = _factors(node)
        real: Array = np.clip(twice, *self._limits(node)).astype(np.float32) * slope + level
        if result.dtype == "float32":
            return real[None]
        whole = np.trunc(real)
        rounded = whole + (real - whole >= 0.5) - (real - whole <= -0.5)
        return np.asarray(np.clip(rounded, -128, 127).astype(np.int8)[None])

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        over, sums, result = _window(node), _Sums.of(node), node.outputs[0]
        filters = node.input(1)
        assert filters.data is not None
        outputs, kernel_h, kernel_w, held = filters.shape
        kind = 0 if is_words(result) else 1 if result.dtype == "int8" else 2
        rows = [self._thresholds(node).astype("<i4")] if kind == 0 else [f.astype("<f4") for f in _factors(node)]
        constant = b"".join(r.tobytes() for r in rows) + filters.data.astype("<i4").tobytes()
        least, most = (0, 0) if kind == 0 else self._limits(node)
        body = (
            f"mg_conv_bits({window_literal(over, 0)}, in, out, constants, scratch,\n        "
            f"&(mg_bits){{{outputs}, {sums.groups}, {held}, {sums.depth}, {int(sums.pads_one)}, {kind}, {least}, "
            f"{most}}});"
        )
        name = f"binary_conv_{digest(body)}"
        text = (
            f"MG_KERNEL void {name}(const int8_t *in, int8_t *out, const void *constants, void *scratch)\n"
            f"{{\n    {body}\n}}\n"
        )

        def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
            return f"{name}({ins[0]}, {outs[0]}, {constants}, {scratch});"

        taps = kernel_h * kernel_w
        return Kernel(call, HEADERS, {name: text}, constant, 4 * taps * held + -(-taps // 4) * 4)
