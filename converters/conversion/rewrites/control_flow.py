"""Scan, Loop and If are written out where the number of steps, or the way taken, is constant."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes

LARGEST = 4096
"""Nodes of a loop, all its steps together. Longer ones stay as they are, and are refused: they take minutes to convert.
"""

_UNSQUEEZE_TAKES_AXES = 13
"""The operator set from which on Squeeze and Unsqueeze take their axes as an input."""


def scan(writer: Writer) -> bool:
    """Scan repeats its body for every element along an axis."""
    node, given = writer.node, attributes(writer.node)
    body, count = given["body"], given["num_scan_inputs"]
    if writer.editor.opset < 9:
        return _batched_scan(writer, body, count)
    states, scanned = list(node.input[:-count]), list(node.input[-count:])
    shapes = [writer.editor.shape(n) for n in scanned]
    results = len(body.output) - len(states)
    if any(s is None for s in shapes):
        return False
    axes = [a % len(s) for a, s in zip(given.get("scan_input_axes", [0] * count), shapes, strict=True) if s is not None]
    steps = next(s[a] for a, s in zip(axes, shapes, strict=True) if s is not None)
    if not 0 < steps <= LARGEST // nodes_in(body):
        return False
    backwards = given.get("scan_input_directions", [0] * count)
    states, collected = _steps(writer, body, states, list(zip(scanned, axes, backwards, strict=True)), steps)
    for name, state in zip(node.output, states, strict=False):
        if name:
            writer("Identity", state, to=name)
    out_axes, out_backwards = (given.get(f"scan_output_{k}", [0] * results) for k in ("axes", "directions"))
    for name, many, axis, back in zip(node.output[len(states) :], collected, out_axes, out_backwards, strict=True):
        if name:
            _stacked(writer, many[::-1] if back else many, axis, name)
    return True


def _batched_scan(writer: Writer, body: onnx.GraphProto, count: int) -> bool:
    """Scan of operator set 8 has a batch before all it reads and writes, and lengths in front; here for one frame."""
    node, given = writer.node, attributes(writer.node)
    lengths, *read = node.input
    shapes = [writer.editor.shape(n) for n in read]
    if lengths or any(not s or s[0] != 1 for s in shapes):
        return False
    steps = next(s[1] for s in shapes[-count:] if s is not None)
    if not 0 < steps <= LARGEST // nodes_in(body):
        return False
    frame = [_of_rank("Squeeze", writer, name, 0) for name in read]
    scanned = [(n, 0, back) for n, back in zip(frame[-count:], given.get("directions", [0] * count), strict=True)]
    states, collected = _steps(writer, body, frame[:-count], scanned, steps)
    for name, state in zip(node.output, states, strict=False):
        if name:
            _of_rank("Unsqueeze", writer, state, 0, name)
    for name, many in zip(node.output[len(states) :], collected, strict=True):
        if name:
            stacked = writer.editor.free_name(f"{name}/frame")
            _stacked(writer, many, 0, stacked)
            _of_rank("Unsqueeze", writer, stacked, 0, name)
    return True


def _steps(
    writer: Writer, body: onnx.GraphProto, states: list[str], scanned: list[tuple[str, int, int]], steps: int
) -> tuple[list[str], list[list[str]]]:
    """The last states, and what each step gave, by output; of ``scanned`` are tensor, axis, and 1 for backwards."""
    collected: list[list[str]] = [[] for _ in range(len(body.output) - len(states))]
    for step in range(steps):
        parts = [
            writer("Gather", name, writer.constant("step", steps - 1 - step if back else step, np.int64), axis=axis)
            for name, axis, back in scanned
        ]
        names = dict(zip((i.name for i in body.input), [*states, *parts], strict=True))
        answers = written_out(writer, body, names)
        states, rest = answers[: len(states)], answers[len(states) :]
        for one, many in zip(rest, collected, strict=True):
            many.append(one)
    return states, collected


def loop(writer: Writer) -> bool:
    """Loop repeats its body as often as a constant says, if nothing ends it earlier."""
    node, body = writer.node, attributes(writer.node)["body"]
    trips, go = (writer.editor.constant(n) if n else None for n in [*node.input, ""][:2])
    states = list(node.input[2:])
    if trips is None or (node.input[1:] and node.input[1] and go is None):
        return False
    steps = int(trips.reshape(-1)[0]) if go is None or go.all() else 0
    if steps > LARGEST // nodes_in(body) or (steps > 0 and not _goes_on(writer, body)):
        return False
    if steps <= 0 and any(node.output[len(states) :]):
        return False
    collected: list[list[str]] = [[] for _ in range(len(body.output) - 1 - len(states))]
    for step in range(steps):
        number, is_on = writer.constant("number", step, np.int64), writer.constant("on", True, np.bool_)
        names = dict(zip((i.name for i in body.input), [number, is_on, *states], strict=True))
        _, *answers = written_out(writer, body, names)
        states, rest = answers[: len(states)], answers[len(states) :]
        for one, many in zip(rest, collected, strict=True):
            many.append(one)
    for name, state in zip(node.output, states, strict=False):
        if name:
            writer("Identity", state, to=name)
    for name, many in zip(node.output[len(states) :], collected, strict=False):
        if name:
            _stacked(writer, many, 0, name)
    return True


def choose(writer: Writer) -> bool:
    """If with a constant condition is the branch that it takes."""
    condition, given = writer.editor.constant(writer.node.input[0]), attributes(writer.node)
    if condition is None:
        return False
    branch = given["then_branch" if condition.all() else "else_branch"]
    for name, answer in zip(writer.node.output, written_out(writer, branch, {}), strict=True):
        if name:
            writer("Identity", answer, to=name)
    return True


def nodes_in(body: onnx.GraphProto) -> int:
    """Number of nodes, with those of the graphs inside; at least 1."""
    inner = (nodes_in(a.g) for n in body.node for a in n.attribute if a.HasField("g"))
    return max(len(body.node) + sum(inner), 1)


def written_out(writer: Writer, body: onnx.GraphProto, names: Mapping[str, str]) -> list[str]:
    """Add the nodes of ``body``, whose inputs are called ``names``, under free names; returns those of its outputs."""
    taken = dict(names)
    for stored in body.initializer:
        taken[stored.name] = writer.editor.add_constant(stored.name, numpy_helper.to_array(stored))
    for node in body.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        rename_inputs(copy, taken)
        for i, name in enumerate(node.output):
            if name:
                taken[name] = copy.output[i] = writer.editor.free_name(name)
        copy.name = f"{next(n for n in copy.output if n)}/node"
        writer.nodes.append(copy)
    return [taken.get(o.name, o.name) for o in body.output]


def rename_inputs(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Let ``node``, and the graphs inside it, read other tensors; what such a graph writes itself stays."""
    for i, name in enumerate(node.input):
        node.input[i] = names.get(name, name)
    for attribute in node.attribute:
        if not attribute.HasField("g"):
            continue
        graph = attribute.g
        own = {
            *(i.name for i in graph.input),
            *(i.name for i in graph.initializer),
            *(o for n in graph.node for o in n.output),
        }
        outer = {k: v for k, v in names.items() if k not in own}
        for inner in graph.node:
            rename_inputs(inner, outer)
        for output in graph.output:
            output.name = outer.get(output.name, output.name)


def _goes_on(writer: Writer, body: onnx.GraphProto) -> bool:
    """Whether its first output, the condition, is always true after a true one."""
    name, writers = body.output[0].name, {o: n for n in body.node for o in n.output}
    while (node := writers.get(name)) is not None and node.op_type in ("Identity", "Cast"):
        name = node.input[0]
    if node is not None:
        values = [numpy_helper.to_array(a.t) for a in node.attribute if a.name == "value"]
        return node.op_type == "Constant" and bool(values) and all(bool(v.all()) for v in values)
    if name == body.input[1].name:
        return True
    stored = {i.name: numpy_helper.to_array(i) for i in body.initializer}
    value = stored[name] if name in stored else writer.editor.constant(name)
    return value is not None and bool(value.all())


def _stacked(writer: Writer, parts: list[str], axis: int, name: str) -> None:
    writer("Concat", *(_of_rank("Unsqueeze", writer, part, axis) for part in parts), to=name, axis=axis)


def _of_rank(kind: str, writer: Writer, x: str, axis: int, to: str = "") -> str:
    if writer.editor.opset < _UNSQUEEZE_TAKES_AXES:
        return writer(kind, x, to=to, axes=[axis])
    return writer(kind, x, writer.ints("axis", [axis]), to=to)


RULES: dict[str, tuple[Rule, ...]] = {"Scan": (scan,), "Loop": (loop,), "If": (choose,)}
