"""UNIDIRECTIONAL_SEQUENCE_LSTM."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import quant
from multigraft.firmware_gen.arithmetic.fixed_point import quantize_multiplier, rescale, rounding_shift
from multigraft.firmware_gen.arithmetic.fixed_point16 import saturated, sigmoid, tanh
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.operators.base.constraints import is_int8
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.program.options import number
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Tensor

_GATES = {"input": (1, 5, 12), "forget": (2, 6, 13), "cell": (3, 7, 14), "output": (4, 8, 15)}
"""Gate to the places of its weights for the input, of those for the state, and of its bias."""
_ABSENT = (9, 10, 11, 16, 17, 20, 21, 22, 23)
_STATE, _CELL = 18, 19
_GATE_SCALE = np.float32(2.0**-12)
_MOST_TAPS = 1 << 15


def _input_types(node: Node) -> bool:
    """Input, output and the state of the output have to be int8 with one scale each, the state of the cells int16."""
    cell = node.inputs[_CELL] if len(node.inputs) > _CELL else None
    wanted = (node.input(0), node.outputs[0], node.inputs[_STATE] if cell is not None else None)
    return all(is_int8(t) for t in wanted) and cell is not None and cell.dtype == "int16" and cell.quant is not None


def _kept(node: Node) -> bool:
    """The states have to be variables of the file."""
    return len(node.outputs) == 3 and [t.name for t in node.outputs[1:]] == [
        node.input(_STATE).name, node.input(_CELL).name,
    ]  # fmt: skip


def _plain(node: Node) -> bool:
    """There may be no peepholes, no projection and no layer normalisation."""
    return all(node.inputs[place] is None for place in _ABSENT if place < len(node.inputs))


def _cell_scale(node: Node) -> bool:
    """The scale of the cells has to be a power of two from 2^-15 to 2^-9, their zero point 0."""
    held = quant(node.input(_CELL))
    exponent = math.log2(held.scales[0]) if held.scales[0] > 0 else -99.0
    return abs(exponent - round(exponent)) < 1e-3 and -15 <= round(exponent) <= -9 and not any(held.zero_points)


def _gates(node: Node) -> list[str]:
    """The gates that have weights: without those of the input gate it is 1 less the forget gate."""
    return [gate for gate in _GATES if gate != "input" or node.inputs[1] is not None]


def _weights(node: Node) -> bool:
    """The weights have to be constant int8 with one scale and zero point 0, the biases constant int32."""
    for gate in _gates(node):
        *matrices, bias = (node.inputs[place] for place in _GATES[gate])
        if any(t is None or t.data is None or not is_int8(t) or any(quant(t).zero_points) for t in matrices):
            return False
        if bias is None or bias.data is None or bias.dtype != "int32":
            return False
    return True


def _shapes(node: Node) -> bool:
    """There has to be one sequence, and states, weights and biases have to be of its sizes."""
    shape, result, (cells,) = node.input(0).shape, node.outputs[0].shape, node.input(12 + 1).shape[:1] or (0,)
    if len(shape) != 3 or sorted(shape[:2])[0] != 1 or result != (*shape[:2], cells):
        return False
    if max(shape[2], cells) > _MOST_TAPS or node.input(_STATE).shape != (1, cells):
        return False
    matrices = all(
        node.input(x).shape == (cells, shape[2])
        and node.input(h).shape == (cells, cells)
        and node.input(b).shape == (cells,)
        for x, h, b in (_GATES[gate] for gate in _gates(node))
    )
    return matrices and node.input(_CELL).shape == (1, cells)


def _tanh(node: Node) -> bool:
    """The activation has to be TANH."""
    return node.op.options.get("fused_activation_function") == "TANH"


@dataclass(frozen=True)
class _Gate:
    """Sums of one gate: of the input and of the state, each with its bias (zero point included) and its scale."""

    weights: tuple[Array, Array]
    biases: tuple[Array, Array]
    scales: tuple[tuple[int, int], tuple[int, int]]

    def sums(self, x: Array, h: Array) -> Array:
        total = np.zeros(len(self.biases[0]), np.int64)
        for given, weights, bias, scale in zip((x, h), self.weights, self.biases, self.scales, strict=True):
            total = saturated(rescale(weights.astype(np.int64) @ given + bias, *scale) + total)
        return total


class Lstm(Operator):
    """UNIDIRECTIONAL_SEQUENCE_LSTM with int8 weights and int16 cells."""

    names = ("UNIDIRECTIONAL_SEQUENCE_LSTM",)
    summary = "int8 with int16 cells, one sequence of any length, with or without an input gate; keeps its state"
    constraints = (_input_types, _kept, _plain, _cell_scale, _weights, _shapes, _tanh)

    def _gate(self, node: Node, gate: str) -> _Gate:
        x, h, b = _GATES[gate]
        weights, biases, scales = [], [], []
        for place, source in ((x, node.input(0)), (h, node.input(_STATE))):
            matrix = node.input(place)
            assert matrix.data is not None
            weights.append(matrix.data)
            biases.append(-quant(source).zero_points[0] * matrix.data.astype(np.int64).sum(axis=1))
            product = np.float32(quant(matrix).scales[0]) * np.float32(quant(source).scales[0])
            scales.append(quantize_multiplier(float(product / _GATE_SCALE)))
        bias = node.input(b).data
        assert bias is not None
        return _Gate((weights[0], weights[1]), (biases[0] + bias, biases[1]), (scales[0], scales[1]))

    def _hidden(self, node: Node) -> tuple[int, int, int]:
        """Multiplier, shift and zero point of the product that becomes output and state."""
        inside: Tensor | None = node.intermediates[4] if len(node.intermediates) > 4 else None
        held = inside.quant if inside is not None and inside.quant is not None else quant(node.input(_STATE))
        scale = np.float32(2.0**-15) / np.float32(held.scales[0]) * np.float32(2.0**-15)
        return *quantize_multiplier(float(scale)), held.zero_points[0]

    def _cells(self, node: Node) -> tuple[int, int]:
        """The exponent of the cells' scale, and the greatest stored cell; 0 where there is no limit."""
        scale = quant(node.input(_CELL)).scales[0]
        clip = number(node.op.options.get("cell_clip"), 0.0)
        limit = min(float(np.float32(clip) / np.float32(scale)), 32767.0) if clip > 0 else 0.0
        return round(math.log2(scale)), int(limit)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        return self.references(node, inputs)[0]

    def references(self, node: Node, inputs: Sequence[Array | None]) -> tuple[Array, ...]:
        source, state, cell = inputs[0], inputs[_STATE], inputs[_CELL]
        assert source is not None and state is not None and cell is not None
        gates = {gate: self._gate(node, gate) for gate in _gates(node)}
        multiplier, shift, zero_point = self._hidden(node)
        exponent, limit = self._cells(node)
        h, c = state.reshape(-1).astype(np.int64), cell.reshape(-1).astype(np.int64)
        rows = []
        for x in source.reshape(-1, source.shape[-1]).astype(np.int64):
            forget = sigmoid(gates["forget"].sums(x, h))
            opened = sigmoid(gates["input"].sums(x, h)) if "input" in gates else 32767 - forget
            new = rounding_shift(opened * tanh(gates["cell"].sums(x, h), 3), 30 + exponent)
            c = saturated(rounding_shift(forget * c, 15) + new)
            c = np.clip(c, -limit, limit) if limit else c
            shown = sigmoid(gates["output"].sums(x, h)) * tanh(c, 15 + exponent)
            h = np.clip(rescale(shown, multiplier, shift) + zero_point, -128, 127)
            rows.append(h)
        output = np.stack(rows).astype(np.int8).reshape(node.outputs[0].shape)
        return output, h.astype(np.int8).reshape(state.shape), c.astype(np.int16).reshape(cell.shape)

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        shape, cells = node.input(0).shape, node.outputs[0].shape[-1]
        named = _gates(node)
        gates = [self._gate(node, gate) for gate in named]
        biases = np.concatenate([b for gate in gates for b in gate.biases]).astype("<i4").tobytes()
        constant = biases + b"".join(np.ascontiguousarray(w).tobytes() for gate in gates for w in gate.weights)
        scales = ", ".join(f"{m}, {s}" for gate in gates for m, s in gate.scales)
        multiplier, shift, zero_point = self._hidden(node)
        exponent, limit = self._cells(node)

        def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
            return (
                f"{{\n    static const int32_t scales[{4 * len(gates)}] = {{{scales}}};\n"
                f"    mg_lstm({ins[0]}, {outs[0]}, {outs[1]}, {outs[2]}, {constants}, scales, {scratch},\n"
                f"            &(mg_lstm_sizes){{{math.prod(shape[:2])}, {shape[2]}, {cells}, {int('input' in named)}, "
                f"{exponent}, {limit},\n                              {multiplier}, {shift}, {zero_point}}});\n}}"
            )

        return Kernel(call, ("dot.h", "lstm.h"), {}, constant, -(-2 * 4 * cells // 4) * 4)
