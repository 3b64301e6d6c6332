"""LSTM, GRU and RNN are unrolled: TFLite's own keep their state in variables from one run to the next.

The equations are those of the ONNX specification; gates are stored in the order i o f c (LSTM) and z r h (GRU).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes
from multigraft.tensors.arrays import Array

STEPS = 512
"""Longer sequences stay as they are, and are refused: unrolled, they would be too many operators."""

_PLAIN = ("Sigmoid", "Tanh", "Relu", "Softsign", "Softplus")
"""Activations that have no parameters."""

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_ACTIVATIONS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


def unroll(writer: Writer) -> bool:
    """Write every step of every direction out."""
    node, given = writer.node, attributes(writer.node)
    shape = writer.editor.shape(node.input[0])
    weights = [writer.editor.constant(name) for name in node.input[1:3]]
    optional = [(list(node.input) + [""] * 8)[i] for i in range(3, 8)]
    is_batch_first = bool(given.get("layout"))
    if shape is None or weights[0] is None or weights[1] is None or given.get("input_forget"):
        return False
    batch, steps = (shape[0], shape[1]) if is_batch_first else (shape[1], shape[0])
    lengths = writer.editor.constant(optional[1]) if optional[1] else np.full(batch, steps)
    biases = writer.editor.constant(optional[0]) if optional[0] else None
    directions, size = weights[1].shape[0], weights[1].shape[2]
    peepholes = writer.editor.constant(optional[4]) if optional[4] else None
    per_direction = len(_ACTIVATIONS[node.op_type])
    names = [a.decode() if isinstance(a, bytes) else a for a in given.get("activations", ())]
    names = names or list(_ACTIVATIONS[node.op_type]) * directions
    is_missing = bool(optional[0] and biases is None) or bool(optional[4] and peepholes is None)
    if is_missing or lengths is None or steps > STEPS or any(n not in _PLAIN for n in names):
        return False
    is_reversed = given.get("direction", "forward") in ("reverse", "bidirectional")
    if is_reversed and np.any(lengths != steps):
        return False
    if biases is None:
        biases = np.zeros((directions, 2 * _GATES[node.op_type] * size), np.float32)
    x = writer("Transpose", node.input[0], perm=[1, 0, 2]) if is_batch_first else node.input[0]
    x = writer("Reshape", x, writer.ints("flat", [steps * batch, shape[2]]))
    cells = []
    for d in range(directions):
        backwards = given.get("direction", "forward") == "reverse" or d == 1
        states = [_initial(writer, optional[2 + i], d, batch, size, is_batch_first) for i in range(2)]
        cell = _Cell(
            writer,
            weights[0][d],
            weights[1][d],
            biases[d],
            names[d * per_direction : (d + 1) * per_direction],
            float(given.get("clip", 0.0)),
            bool(given.get("linear_before_reset", 0)),
            None if peepholes is None else peepholes[d],
        )
        cells.append(cell.run(x, steps, batch, states, lengths, backwards))
    _outputs(writer, cells, batch, size, steps, is_batch_first)
    return True


def _initial(writer: Writer, name: str, direction: int, batch: int, size: int, is_batch_first: bool) -> str:
    if not name:
        return writer.constant("zeros", np.zeros((batch, size)))
    index = writer.constant("direction", direction, np.int64)
    return writer("Gather", name, index, axis=1 if is_batch_first else 0)


class _Cell:
    """One direction of one layer.

    Args:
        weights: (gates * size, inputs).
        recurrence: (gates * size, size).
        biases: Of the input, then of the state, one behind the other.
        activations: Names, in the order of the specification.
        clip: Largest magnitude before an activation; 0 for none.
        resets_last: GRU: the reset gate multiplies after the matrix.
        peepholes: LSTM: i, o, f, one behind the other.
    """

    def __init__(
        self,
        writer: Writer,
        weights: Array,
        recurrence: Array,
        biases: Array,
        activations: list[str],
        clip: float,
        resets_last: bool,
        peepholes: Array | None,
    ) -> None:
        self.write, self.activations, self.clip = writer, activations, clip
        self.size = recurrence.shape[1]
        self.kind = writer.node.op_type
        self.resets_last = resets_last
        of_input, of_state = np.split(biases, 2)
        if self.kind == "GRU":
            # The state's bias of the last gate stays with the state: the reset gate may multiply it.
            first = of_state.copy()
            first[2 * self.size :] = 0
            self.of_new = writer.constant("bias_h", of_state[2 * self.size :])
            self.new = writer.constant("recurrence_h", recurrence[2 * self.size :].T)
            recurrence, of_state = recurrence[: 2 * self.size], first
        self.weights = writer.constant("weights", weights.T)
        self.bias = writer.constant("bias", of_input + of_state)
        self.recurrence = writer.constant("recurrence", recurrence.T)
        parts = [None] * 3 if peepholes is None else [writer.constant("peephole", p) for p in np.split(peepholes, 3)]
        self.peepholes: list[str | None] = list(parts)

    def run(
        self, x: str, steps: int, batch: int, states: list[str], lengths: Array, backwards: bool
    ) -> tuple[list[str], str, str]:
        """The state after each step, in the order of the input, and the last two states."""
        write = self.write
        every = write("Gemm", x, self.weights, self.bias)
        sizes = write.ints("steps", [batch] * steps)
        parts = write.several("Split", every, sizes, to=[""] * steps, axis=0) if steps > 1 else [every]
        hidden, memory = states
        answers = [""] * steps
        step: Callable[[str, str, str], tuple[str, str]] = {"LSTM": self._lstm, "GRU": self._gru, "RNN": self._rnn}[
            self.kind
        ]
        for t in reversed(range(steps)) if backwards else range(steps):
            new, new_memory = step(parts[t], hidden, memory)
            answers[t] = new
            if (lengths <= t).any():
                is_on = write.constant("on", (lengths > t).reshape(-1, 1))
                is_off = write.constant("off", (lengths <= t).reshape(-1, 1))
                answers[t] = write("Mul", new, is_on)
                new = write("Add", answers[t], write("Mul", hidden, is_off))
                new_memory = write("Add", write("Mul", new_memory, is_on), write("Mul", memory, is_off))
            hidden, memory = new, new_memory
        return answers, hidden, memory

    def _active(self, number: int, x: str) -> str:
        if self.clip:
            limits = (self.write.constant("limit", v) for v in (-self.clip, self.clip))
            x = self.write("Clip", x, *limits)
        return self.write(self.activations[number], x)

    def _gates(self, gates: str, count: int) -> list[str]:
        return self.write.several(
            "Split", gates, self.write.ints("gates", [self.size] * count), to=[""] * count, axis=1
        )

    def _seen(self, number: int, gate: str, memory: str) -> str:
        peephole = self.peepholes[number]
        return gate if peephole is None else self.write("Add", gate, self.write("Mul", memory, peephole))

    def _lstm(self, x: str, hidden: str, memory: str) -> tuple[str, str]:
        write = self.write
        i, o, f, c = self._gates(write("Add", x, write("MatMul", hidden, self.recurrence)), 4)
        opened = self._active(0, self._seen(0, i, memory))
        kept = self._active(0, self._seen(2, f, memory))
        new = write("Add", write("Mul", kept, memory), write("Mul", opened, self._active(1, c)))
        shown = self._active(0, self._seen(1, o, new))
        return write("Mul", shown, write(self.activations[2], new)), new

    def _gru(self, x: str, hidden: str, memory: str) -> tuple[str, str]:
        write = self.write
        ahead, last = write.several("Split", x, write.ints("sizes", [2 * self.size, self.size]), to=["", ""], axis=1)
        z, r = self._gates(write("Add", ahead, write("MatMul", hidden, self.recurrence)), 2)
        update, reset = self._active(0, z), self._active(0, r)
        if self.resets_last:
            recalled = write("Mul", reset, write("Gemm", hidden, self.new, self.of_new))
        else:
            recalled = write("Gemm", write("Mul", reset, hidden), self.new, self.of_new)
        new = self._active(1, write("Add", last, recalled))
        # (1 - z) * new + z * hidden
        return write("Add", new, write("Mul", update, write("Sub", hidden, new))), memory

    def _rnn(self, x: str, hidden: str, memory: str) -> tuple[str, str]:
        return self._active(0, self.write("Add", x, self.write("MatMul", hidden, self.recurrence))), memory


def _outputs(
    writer: Writer, cells: list[tuple[list[str], str, str]], batch: int, size: int, steps: int, is_batch_first: bool
) -> None:
    """Y (steps, directions, batch, size), Y_h and Y_c (directions, batch, size); with the batch first if asked."""
    names = [*writer.node.output, "", ""]
    directions = len(cells)
    if names[0]:
        shape = [batch, 1, 1, size] if is_batch_first else [1, 1, batch, size]
        axes = (1, 2) if is_batch_first else (0, 1)
        target = writer.ints("step", shape)
        per_step = []
        for t in range(steps):
            parts = [writer("Reshape", answers[t], target) for answers, _, _ in cells]
            per_step.append(parts[0] if directions == 1 else writer("Concat", *parts, axis=axes[1]))
        writer("Concat", *per_step, to=names[0], axis=axes[0])
    for number, name in enumerate(names[1:3], 1):
        if name:
            target = writer.ints("last", [batch, 1, size] if is_batch_first else [1, batch, size])
            ends = [(hidden, memory)[number - 1] for _, hidden, memory in cells]
            parts = [writer("Reshape", end, target) for end in ends]
            writer("Concat", *parts, to=name, axis=1 if is_batch_first else 0)


RULES: dict[str, tuple[Rule, ...]] = dict.fromkeys(_GATES, (unroll,))
