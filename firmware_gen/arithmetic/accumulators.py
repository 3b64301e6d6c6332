"""What convolutions and fully connected layers share: exact accumulator ranges, rescaling, constants in flash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from typing import Any

import numpy as np

from multigraft.firmware_gen.arithmetic.activation_range import activation_range
from multigraft.firmware_gen.arithmetic.fixed_point import quantize_multiplier
from multigraft.firmware_gen.arithmetic.requantise import (
    Affine,
    Rescaling,
    Summed,
    Upper,
    find_steps,
    largest_shift,
    solve,
    solve_upper,
)
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Quant, Tensor

COMMON_SHIFT = 36
"""Kernels are compiled for one right shift; a layer with larger multipliers takes a smaller one."""
LEAST_SHIFT = 32
MOST_UPPER_SHIFT = 44
"""The larger the multipliers, the finer; beyond this many bits it makes no difference."""
STARTS: Array = np.arange(1 << 20)
"""What a sum may begin with where nothing else is said; all are tried before a layer is given up."""


@dataclass(frozen=True)
class Layer:
    """A linear layer over raw int8 inputs: the input's zero point is folded into the bias.

    Attributes:
        weights: int8, output channels x taps, in the order the reference visits them.
        bias: int64 per output channel, for raw inputs; padding then has to hold the zero point.
        rescalings: One per output channel.
        input_zero_point: What padding holds.
    """

    weights: Array
    bias: Array
    rescalings: tuple[Rescaling, ...]
    input_zero_point: int

    @property
    def low(self) -> int:
        """The least output."""
        return self.rescalings[0].low

    @property
    def high(self) -> int:
        """The greatest output."""
        return self.rescalings[0].high

    def ranges(self) -> tuple[Array, Array]:
        """Least and greatest accumulator of each channel over all int8 inputs."""
        w = self.weights.astype(np.int64)
        positive, negative = np.maximum(w, 0).sum(1), np.minimum(w, 0).sum(1)
        return self.bias + positive * -128 + negative * 127, self.bias + positive * 127 + negative * -128

    @cached_property
    def affine(self) -> tuple[Affine, ...] | None:
        """Per channel the exact one-multiplication rescaling at one shift for all, bias included; None if none is."""
        least, most = self.ranges()
        for shift in range(largest_shift(list(self.rescalings), COMMON_SHIFT), LEAST_SHIFT - 1, -1):
            affine = []
            for rescaling, low, high, bias, step in zip(
                self.rescalings, least, most, self.bias, self._steps, strict=True
            ):
                one = solve(rescaling, int(low), int(high), step, shift)
                if one is None:
                    break
                affine.append(Affine(one.multiplier, one.offset + int(bias) * one.multiplier, shift))
            if len(affine) == len(self.rescalings):
                return tuple(affine)
        return None

    @cached_property
    def found(self) -> dict[str, Any]:
        """What kernels searched for this layer, by their names for it: streaming lowers a layer many times."""
        return {}

    @cached_property
    def _channels(self) -> dict[tuple[Any, ...], list[Summed]]:
        return {}

    @cached_property
    def _steps(self) -> list[tuple[Array, Array]]:
        return find_steps(list(self.rescalings), *self.ranges())

    def upper_shifts(self, common: int = COMMON_SHIFT) -> list[int]:
        """Shifts for :meth:`upper`: ``common`` first, if it fits, as layers of one shift share a kernel, then others
        from the largest down."""
        shifts = range(largest_shift(list(self.rescalings), MOST_UPPER_SHIFT), LEAST_SHIFT - 1, -1)
        return sorted(shifts, key=lambda s: (s != common, -s))

    def upper(
        self,
        factors: Sequence[int],
        shifts: Sequence[int],
        starts: Sequence[Array] = (STARTS,),
        more: Array | int = 0,
    ) -> tuple[Upper, ...] | None:
        """Per channel the exact rescaling by one product's upper word, at one shift for all sums; None if none is.

        Args:
            factors: By which factor sums come too large, one a channel, in turn. So many channels in a row begin
                their sums with the same.
            shifts: Which shifts are tried, in this order.
            starts: What sums may begin with, for each of those groups, in turn: see :func:`~.requantise.solve_upper`.
            more: What is not in sums beside the bias, int64 per channel.
        """
        channels = self._summed(tuple(factors), more)
        groups = [channels[at : at + len(factors)] for at in range(0, len(channels), len(factors))]
        for shift in shifts:
            found: list[Upper] = []
            for group, some in zip(groups, cycle(starts), strict=False):
                together = solve_upper(group, shift, some)
                if together is None:
                    break
                found += together
            if len(found) == len(channels):
                return tuple(found)
        return None

    def _summed(self, factors: tuple[int, ...], more: Array | int) -> list[Summed]:
        """All channels, kept for the next start or shift that is tried."""
        key = (factors, more if isinstance(more, int) else more.tobytes())
        if key not in self._channels:
            least, most = self.ranges()
            self._channels[key] = [
                Summed(wanted, int(low), int(high), int(bias), steps, factor)
                for wanted, low, high, bias, steps, factor in zip(
                    self.rescalings, least, most, self.bias + more, self._steps, cycle(factors), strict=False
                )
            ]
        return self._channels[key]


def quant(tensor: Tensor) -> Quant:
    """The quantisation of an int8 tensor (constraints have made sure there is one)."""
    assert tensor.quant is not None
    return tensor.quant


def linear_layer(node: Node, weights: Array, float_product: bool) -> Layer:
    """The layer of a CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED ``node``.

    Args:
        node: Inputs are source, weights and an optional bias.
        weights: The weights as output channels x taps.
        float_product: The scales are multiplied in float32, as FULLY_CONNECTED does; else in double.
    """
    source, kernel, result = quant(node.input(0)), quant(node.input(1)), quant(node.outputs[0])
    channels = len(weights)
    scales = kernel.scales if len(kernel.scales) == channels else kernel.scales * channels
    zero_point = result.zero_points[0]
    low, high = activation_range(node.op.options.get("fused_activation_function"), result.scales[0], zero_point)
    rescalings = []
    for scale in scales:
        if float_product:
            real = float(np.float32(source.scales[0]) * np.float32(scale)) / float(np.float32(result.scales[0]))
        else:
            real = float(np.float32(source.scales[0])) * float(np.float32(scale)) / float(np.float32(result.scales[0]))
        rescalings.append(Rescaling(*quantize_multiplier(real), zero_point, low, high))
    bias = np.zeros(channels, np.int64)
    if len(node.inputs) > 2 and (offset := node.inputs[2]) is not None and offset.data is not None:
        bias = offset.data.astype(np.int64).reshape(-1)
    bias = bias - source.zero_points[0] * weights.astype(np.int64).sum(1)
    return Layer(weights, bias, tuple(rescalings), source.zero_points[0])


def dense_layer(node: Node) -> Layer:
    """The layer of a FULLY_CONNECTED ``node``: with one scale the product is float32, with several it is double."""
    weights = node.input(1)
    assert weights.data is not None
    return linear_layer(node, weights.data, float_product=quant(weights).per_tensor)


def scaling(layer: Layer) -> tuple[bytes, int, int]:
    """What kernels rescale by: the constants of all channels, whether those are the reference's (``exact``), and its
    zero point then, or else the shift of all (``number``), as ``mg_scaled`` takes them."""
    affine = layer.affine
    if affine is None:
        return exact_rows(layer).tobytes(), 1, layer.rescalings[0].zero_point
    return _affine_bytes(affine), 0, affine[0].shift


def _affine_bytes(affine: tuple[Affine, ...]) -> bytes:
    """Per channel: multiplier, low and high word of the offset, int32 each."""
    rows = np.zeros((len(affine), 3), "<i4")
    for row, one in zip(rows, affine, strict=True):
        offset = one.offset & 0xFFFFFFFFFFFFFFFF
        row[:] = np.array([one.multiplier, offset & 0xFFFFFFFF, offset >> 32], np.uint32).view("<i4")
    return rows.tobytes()


def exact_rows(layer: Layer) -> Array:
    """Per channel a row: bias, multiplier and shift of the reference, int32 each."""
    rows = [(int(b), r.multiplier, r.shift) for b, r in zip(layer.bias, layer.rescalings, strict=True)]
    return np.array(rows, "<i4")
