"""A convolution with values and weights of 1 bit, as operators of Larq Compute Engine's set (docs/binary.md).

A 1x1 depthwise convolution moves every channel so that its cut comes to 0, LceQuantize packs the signs, and one
LceBconv2d for each base of weights multiplies them. One base writes int8 itself. Two write floats, which are added.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from multigraft.converters.binary.binary_op import binary_op
from multigraft.converters.conversion.rewriting import free_name, prune, replace_op
from multigraft.converters.low_bit.layer import Layer
from multigraft.converters.one_bit.bases import Bases
from multigraft.converters.one_bit.signs_of_values import Cuts
from multigraft.converters.quantising.linear_operators import linear_operators
from multigraft.tensors.arrays import Float64Array
from multigraft.tflite.graph import Graph, Op, OptionValue, Quant, Tensor
from multigraft.tflite.words import packed, words_of

_PADDINGS = {"SAME": 0, "VALID": 1}


@dataclass(frozen=True)
class Signed:
    """What a layer becomes.

    Attributes:
        cuts: Of the values it reads.
        bases: Of its weights.
        bias: Float, one per output.
    """

    cuts: Cuts
    bases: Bases
    bias: Float64Array


def candidates(graph: Graph, layers: list[Layer]) -> list[Layer]:
    """The convolutions among ``layers`` that are neither the first nor the last of what their path multiplies.

    Args:
        graph: int8.
        layers: Of it, those whose weights can have few bits.
    """
    linear = {one.result for one in linear_operators(graph)}
    behind, before = computed_from(graph, linear), set[str]()
    for op in reversed(graph.ops):
        if any(name in linear or name in before for name in op.outputs):
            before.update(op.inputs)
    return [one for one in layers if one.window is not None and one.name in behind and one.name in before]


def computed_from(graph: Graph, tensors: Collection[str]) -> set[str]:
    """Tensors that are computed from some of ``tensors``."""
    found = set[str]()
    for op in graph.ops:
        if any(name in tensors or name in found for name in op.inputs):
            found.update(op.outputs)
    return found


def with_signs(graph: Graph, layer: Layer, signed: Signed) -> Graph:
    """``graph`` with ``layer`` of 1 bit; the tensors it reads and writes stay as they are.

    Args:
        graph: int8, where other layers may have 1 bit already.
        layer: A convolution of it.
        signed: Its cuts, weights and bias.
    """
    assert layer.window is not None
    op, output, window = layer.linear.op, graph.tensors[layer.name], layer.window
    moving, tensors = _moved(graph, layer, signed.cuts)
    _, height, width, channels = graph.tensors[layer.linear.source].shape
    bits = Tensor(free_name(graph, f"{layer.name}/signs"), (1, height, width, words_of(channels)), "int32")
    tensors.append(bits)
    new = [moving, binary_op("LceQuantize", moving.outputs, bits.name)]
    activation = str(op.options.get("fused_activation_function") or "NONE")
    is_alone = len(signed.bases.signs) == 1 and _saturates(output, layer)
    parts = []
    for number, (signs, multiplier) in enumerate(zip(signed.bases.signs, signed.bases.multipliers, strict=True)):
        stem = f"{layer.name}/base{number}"
        filters = packed(signs.reshape(len(signs), channels, *window.size).transpose(0, 2, 3, 1))
        bias = signed.bias if number == 0 else np.zeros(len(signs))
        held = [
            Tensor(free_name(graph, f"{stem}/{kind}"), value.shape, str(value.dtype), data=value)
            for kind, value in (
                ("filter", filters),
                ("multiplier", multiplier.astype(np.float32)),
                ("bias", bias.astype(np.float32)),
            )
        ]
        result = output if is_alone else Tensor(free_name(graph, stem), output.shape)
        tensors += held if is_alone else [*held, result]
        parts.append(result.name)
        options = {
            "channels_in": channels,
            "dilation_height_factor": window.dilation[0],
            "dilation_width_factor": window.dilation[1],
            "fused_activation_function": 0,
            "pad_values": 1,
            "padding": _PADDINGS[window.padding],
            "stride_height": window.stride[0],
            "stride_width": window.stride[1],
        }
        new.append(binary_op("LceBconv2d", (bits.name, *(t.name for t in held), ""), result.name, **options))
    if not is_alone:
        total = parts[0]
        if len(parts) > 1:
            total = free_name(graph, f"{layer.name}/sum")
            new.append(Op("ADD", tuple(parts), (total,), {"fused_activation_function": activation}))
        elif activation != "NONE":
            total = free_name(graph, f"{layer.name}/cut_off")
            new.append(Op(activation, tuple(parts), (total,)))
        tensors += [Tensor(total, output.shape)] if total not in parts else []
        new.append(Op("QUANTIZE", (total,), (layer.name,)))
    return prune(replace_op(graph, op, new, tensors))


def _moved(graph: Graph, layer: Layer, cuts: Cuts) -> tuple[Op, list[Tensor]]:
    """The operator that moves every channel's cut to 0, and its tensors."""
    source = graph.tensors[layer.linear.source]
    assert source.quant is not None
    channels, scale = source.shape[-1], source.quant.scales[0]
    # A weight of 1 or -1 and equal scales on both sides: the kernels' factor is 1, and nothing is rounded.
    result = Tensor(free_name(graph, f"{layer.name}/moved"), source.shape, "int8", Quant((scale,), (0,)))
    factors = cuts.factors.astype(np.int8).reshape(1, 1, 1, channels)
    unit = Quant((1.0,) * channels, (0,) * channels, 3)
    weights = Tensor(free_name(graph, f"{layer.name}/turns"), factors.shape, "int8", unit, factors)
    steps = Quant((scale,) * channels, (0,) * channels, 0)
    bias = Tensor(free_name(graph, f"{layer.name}/cuts"), (channels,), "int32", steps, cuts.summands.astype(np.int32))
    options: dict[str, OptionValue] = {
        "padding": "VALID",
        "stride_h": 1,
        "stride_w": 1,
        "dilation_h_factor": 1,
        "dilation_w_factor": 1,
        "depth_multiplier": 1,
        "fused_activation_function": "NONE",
    }
    op = Op("DEPTHWISE_CONV_2D", (source.name, weights.name, bias.name), (result.name,), options, version=3)
    return op, [result, weights, bias]


def _saturates(output: Tensor, layer: Layer) -> bool:
    """Whether int8 itself cuts results off where the layer does."""
    if layer.clamp is None:
        return True
    assert output.quant is not None
    scale, zero_point = output.quant.scales[0], output.quant.zero_points[0]
    low, high = ((end - zero_point) * scale for end in (-128, 127))
    return low >= layer.clamp[0] - scale / 2 and high <= layer.clamp[1] + scale / 2
