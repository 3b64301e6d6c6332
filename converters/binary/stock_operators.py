"""Binary operators of a .tflite file written out in stock ones, which every interpreter has.

A word of 32 signs becomes 32 floats of -1 and 1. Sums of them are whole numbers, so nothing is rounded that was not
before, but for int8 outputs: the interpreter's QUANTIZE rounds what the operator rounds in double precision.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from multigraft.tensors.arrays import Array
from multigraft.tflite.checking.flexbuffer import whole_numbers
from multigraft.tflite.graph import Graph, Op, OptionValue, Quant, Tensor
from multigraft.tflite.operators import BINARY
from multigraft.tflite.words import bits_of

PADDINGS = ("SAME", "VALID")
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")


def in_stock_operators(graph: Graph) -> Graph | None:
    """``graph`` without binary operators; None where others see packed or bool values, which floats are not.

    Args:
        graph: As :mod:`multigraft.tflite.checking.check` lets it through.
    """
    binary = [op for op in graph.ops if op.custom_code in BINARY]
    others = [name for op in graph.ops if op.custom_code not in BINARY for name in (*op.inputs, *op.outputs)]
    ends = {*graph.inputs, *graph.outputs, *others}
    for op in binary:
        words = (op.inputs[0], op.outputs[0])
        if any((n in ends and graph.tensors[n].dtype == "int32") or graph.tensors[n].dtype == "bool" for n in words):
            return None
    return _Writer(graph).written()


class _Writer:
    """Takes the operators in order; packed tensors keep their names and become float32."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._tensors = dict(graph.tensors)
        self._ops: list[Op] = []

    def written(self) -> Graph:
        write: dict[str, Callable[[Op], None]] = {
            "LceQuantize": self._quantize,
            "LceDequantize": self._dequantize,
            "LceBMaxPool2d": self._pool,
            "LceBconv2d": self._convolution,
        }
        for op in self._graph.ops:
            write.get(op.custom_code, self._ops.append)(op)
        read = {name for op in self._ops for name in (*op.inputs, *op.outputs)}
        kept = {n: t for n, t in self._tensors.items() if n in read or n in (*self._graph.inputs, *self._graph.outputs)}
        return dataclasses.replace(self._graph, ops=tuple(self._ops), tensors=kept)

    def _emit(
        self,
        name: str,
        inputs: tuple[str, ...],
        target: str,
        options: dict[str, OptionValue] | None = None,
        *,
        shape: tuple[int, ...],
        dtype: str = "float32",
    ) -> str:
        self._tensors[target] = Tensor(target, shape, dtype)
        self._ops.append(Op(name, inputs, (target,), options or {}))
        return target

    def _constant(self, name: str, data: Array, quant: Quant | None = None) -> str:
        self._tensors[name] = Tensor(name, data.shape, data.dtype.name, quant, data)
        return name

    def _signs_of(self, source: str, least: str, target: str, shape: tuple[int, ...]) -> None:
        """1 where ``source`` is at least ``least``, else -1."""
        bits = self._emit("GREATER_EQUAL", (source, least), f"{target}/is_1", shape=shape, dtype="bool")
        zeros_and_ones = self._emit("CAST", (bits,), f"{target}/bits", shape=shape)
        two = self._constant(f"{target}/two", np.full((1,), 2, np.float32))
        doubled = self._emit("MUL", (zeros_and_ones, two), f"{target}/doubled", _PLAIN, shape=shape)
        one = self._constant(f"{target}/one", np.ones((1,), np.float32))
        self._emit("SUB", (doubled, one), target, _PLAIN, shape=shape)

    def _quantize(self, op: Op) -> None:
        (source,), (target,) = op.inputs, op.outputs
        given = self._graph.tensors[source]
        if given.dtype == "int8":
            source = self._emit("DEQUANTIZE", (source,), f"{target}/real", shape=given.shape)
        zero = self._constant(f"{target}/zero", np.zeros((1,), np.float32))
        self._signs_of(source, zero, target, given.shape)

    def _dequantize(self, op: Op) -> None:
        (source,), (target,) = op.inputs, op.outputs
        shape = self._tensors[source].shape
        wanted = self._constant(f"{target}/shape", np.array(shape, np.int32))
        self._emit("RESHAPE", (source, wanted), target, {"new_shape": shape}, shape=shape)

    def _pool(self, op: Op) -> None:
        (source,), (target,) = op.inputs, op.outputs
        told = whole_numbers(op.custom_options)
        options: dict[str, OptionValue] = {
            "padding": PADDINGS[told["padding"]],
            "stride_w": told["stride_width"],
            "stride_h": told["stride_height"],
            "filter_width": told["filter_width"],
            "filter_height": told["filter_height"],
            "fused_activation_function": "NONE",
        }
        shape = (*self._graph.tensors[target].shape[:3], self._tensors[source].shape[3])
        self._emit("MAX_POOL_2D", (source,), target, options, shape=shape)

    def _convolution(self, op: Op) -> None:
        (source, filters, multiplier, bias, thresholds), (target,) = op.inputs, op.outputs
        told = whole_numbers(op.custom_options)
        result = self._graph.tensors[target]
        words, held = self._graph.tensors[source].shape[-1], self._graph.constant(filters)
        assert held is not None
        depth = told["channels_in"] * held.shape[-1] // words
        weights = 1 - 2 * bits_of(held, depth)
        made = (*result.shape[:3], len(weights))
        stored = self._constant(f"{target}/signs", weights.astype(np.int8), Quant((1.0,), (0,)))
        real = self._emit("DEQUANTIZE", (stored,), f"{target}/weights", shape=weights.shape)
        zeros = self._constant(f"{target}/zeros", np.zeros(len(weights), np.float32))
        padding = PADDINGS[told["padding"]]
        if padding == "SAME" and told["pad_values"]:
            source, padding = self._padded(op, source, weights.shape[1:3], told), "VALID"
        is_packed = result.dtype == "int32"
        options: dict[str, OptionValue] = {
            "padding": padding,
            "stride_w": told["stride_width"],
            "stride_h": told["stride_height"],
            "dilation_w_factor": told["dilation_width_factor"],
            "dilation_h_factor": told["dilation_height_factor"],
            # Thresholds have it in them.
            "fused_activation_function": "NONE" if is_packed else ACTIVATIONS[told["fused_activation_function"]],
        }
        sums = self._emit("CONV_2D", (source, real, zeros), f"{target}/sums", options, shape=made)
        if is_packed:
            most = self._graph.constant(thresholds)
            assert most is not None
            places = int(np.prod(weights.shape[1:]))
            least = (places - 2 * most.reshape(-1).astype(np.float64)).astype(np.float32)
            self._signs_of(sums, self._constant(f"{target}/least", least), target, made)
            return
        scaled = self._emit("MUL", (sums, multiplier), f"{target}/scaled", _PLAIN, shape=made)
        if result.dtype == "float32":
            self._emit("ADD", (scaled, bias), target, _PLAIN, shape=made)
            return
        moved = self._emit("ADD", (scaled, bias), f"{target}/real", _PLAIN, shape=made)
        self._ops.append(Op("QUANTIZE", (moved,), (target,)))

    def _padded(self, op: Op, source: str, kernel: tuple[int, ...], told: dict[str, int]) -> str:
        """``source`` with 1 around it, as SAME pads."""
        given = self._tensors[source].shape
        around = [[0, 0]]
        for axis, side in enumerate(("height", "width")):
            size, stride = given[1 + axis], told[f"stride_{side}"]
            span = (kernel[axis] - 1) * told[f"dilation_{side}_factor"] + 1
            whole = max(0, (-(-size // stride) - 1) * stride + span - size)
            around.append([whole // 2, whole - whole // 2])
        around.append([0, 0])
        if not np.any(around):
            return source
        target = op.outputs[0]
        amounts = self._constant(f"{target}/around", np.array(around, np.int32))
        one = self._constant(f"{target}/outside", np.ones((), np.float32))
        shape = tuple(size + sum(pair) for size, pair in zip(given, around, strict=True))
        return self._emit("PADV2", (source, amounts, one), f"{target}/padded", shape=shape)


_PLAIN: dict[str, OptionValue] = {"fused_activation_function": "NONE"}
