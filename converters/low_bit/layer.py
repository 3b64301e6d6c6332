"""Layers whose weights can have 4 or 2 bits, and what each becomes.

Stock LiteRT has one kernel for such weights: FULLY_CONNECTED of int8 values. A 1x1 convolution of stride 1 is one over
all positions. Any other convolution is one over its windows, which a depthwise convolution with weights of 0 and 1
lays side by side: exact, and small beside the layer where that reads many channels.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from multigraft.converters.conversion.rewriting import free_name, prune, replace_op
from multigraft.converters.low_bit.rounding import Rounded
from multigraft.converters.low_bit.window import Window
from multigraft.converters.quantising.linear_operators import LinearOperator, constant, linear_operator
from multigraft.converters.quantising.sound_scales import GREATEST_RATIO, input_scale, stored_bias
from multigraft.errors import ConversionError
from multigraft.tensors.arrays import Array, Float64Array
from multigraft.tflite.graph import Graph, Op, Quant, Tensor

Bits = Literal[4, 2]
DTYPES: dict[Bits, str] = {4: "int4", 2: "int2"}

VERSION = 14
"""Of FULLY_CONNECTED: the first with 2-bit weights. Interpreters that know none of it refuse the file when they open
it; some take 4-bit weights of older versions and stop at the first frame."""

_CLAMPS = {"NONE": None, "RELU": (0.0, math.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}


@dataclass(frozen=True)
class Layer:
    """One of them.

    Attributes:
        linear: As it stands in the int8 graph.
        exact: The same in the float graph.
        window: Where it looks, if it is a convolution.
    """

    linear: LinearOperator
    exact: LinearOperator
    window: Window | None

    @property
    def name(self) -> str:
        """The tensor it writes."""
        return self.linear.result

    @property
    def has_windows(self) -> bool:
        """Whether its windows have to be laid side by side."""
        return self.window is not None and not self.window.is_point

    @property
    def clamp(self) -> tuple[float, float] | None:
        """What its results are cut off at."""
        return _CLAMPS[str(self.exact.op.options.get("fused_activation_function") or "NONE")]

    def weights(self, floating: Graph) -> Float64Array:
        """Its exact weights, outputs x inputs; of windows a channel's places follow each other."""
        value = constant(floating, self.exact.weights).astype(np.float64)
        return (value if self.window is None else value.transpose(0, 3, 1, 2)).reshape(len(value), -1)

    def shape(self, graph: Graph) -> tuple[int, int]:
        """Outputs and inputs."""
        outputs, *rest = graph.tensors[self.linear.weights].shape
        return outputs, math.prod(rest)

    def positions(self, graph: Graph) -> int:
        """Rows that one frame gives."""
        return math.prod(graph.tensors[self.name].shape[:-1])

    def rows(self, value: Array, picked: npt.NDArray[np.intp], inputs: int) -> Array:
        """Its inputs at the positions ``picked``, rows x inputs, of the whole tensor it reads."""
        return value.reshape(-1, inputs)[picked] if self.window is None else self.window.rows(value, picked)


def layers_of(graph: Graph, floating: Graph) -> list[Layer]:
    """All of them, in running order.

    Args:
        graph: int8.
        floating: The float graph it was made of.
    """
    found, originals = [], floating.producers()
    for op in graph.ops:
        linear = linear_operator(graph, op) if op.name in ("FULLY_CONNECTED", "CONV_2D") else None
        original = originals.get(linear.result) if linear is not None else None
        exact = linear_operator(floating, original) if original is not None else None
        if linear is None or exact is None or exact.op.name != op.name or not _is_int8(graph, linear):
            continue
        window = None if op.name == "FULLY_CONNECTED" else Window.of(graph, op)
        source, weights = graph.tensors[linear.source], graph.tensors[linear.weights]
        is_whole = weights.shape[-1] == source.shape[-1] if window else math.prod(source.shape) % weights.shape[-1] == 0
        if is_whole and (window is None or source.shape[0] == 1) and _has_known_clamp(exact):
            found.append(Layer(linear, exact, window))
    return found


def _has_known_clamp(exact: LinearOperator) -> bool:
    return str(exact.op.options.get("fused_activation_function") or "NONE") in _CLAMPS


def _is_int8(graph: Graph, linear: LinearOperator) -> bool:
    tensors = [graph.tensors[n] for n in (linear.source, linear.weights, linear.result)]
    bias = graph.tensors.get(linear.bias)
    is_plain = all(t.dtype == "int8" and t.quant is not None for t in tensors)
    return is_plain and graph.constant(linear.source) is None and (bias is None or bias.dtype == "int32")


def with_few_bits(graph: Graph, layer: Layer, rounded: Rounded, bias: Float64Array, bits: Bits) -> Graph:
    """``graph`` with other weights in ``layer``.

    Args:
        graph: int8, where other layers may have few bits already.
        layer: Of it.
        rounded: The new weights.
        bias: Float, one per output.
        bits: Of the weights.

    Raises:
        ConversionError: A scale or the bias does not fit what the kernels compute with.
    """
    op = layer.linear.op
    output = graph.tensors[layer.name].quant
    assert output is not None
    if (rounded.scales * input_scale(graph, layer.linear) / output.scales[0] >= GREATEST_RATIO).any():
        raise ConversionError(f"the steps of {layer.name!r} are too coarse for so few bits", "keep its weights in int8")
    source, before, added = op.inputs[0], [], list[Tensor]()
    if layer.has_windows:
        assert layer.window is not None
        first, added = layer.window.laid_out(graph, source, layer.name)
        source, before = added[0].name, [first]
    quant = Quant(tuple(float(s) for s in rounded.scales), (0,) * len(rounded.scales), 0)
    name = free_name(graph, f"{layer.name}/{DTYPES[bits]}")
    weights = Tensor(name, rounded.integers.shape, DTYPES[bits], quant, rounded.integers)
    place = Tensor(free_name(graph, f"{layer.name}/bias"), (len(bias),), "int32")
    options = {
        "fused_activation_function": op.options.get("fused_activation_function") or "NONE",
        "keep_num_dims": layer.window is not None or bool(op.options.get("keep_num_dims")),
    }
    dense = Op("FULLY_CONNECTED", (source, weights.name, place.name), op.outputs, options, VERSION)
    changed = replace_op(graph, op, [*before, dense], [*added, weights, place])
    new = dataclasses.replace(layer.linear, op=dense, weights=weights.name, bias=place.name, source=source)
    stored = stored_bias(changed, new, bias, rounded.scales)
    return prune(dataclasses.replace(changed, tensors={**changed.tensors, stored.name: stored}))
