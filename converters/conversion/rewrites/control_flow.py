"""Scan, Loop and If are written out where the number of steps, or the way taken, is constant."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes

STEPS = 512
"""Longer loops stay as they are, and are refused: unrolled, they would be too many operators."""


def scan(writer: Writer) -> bool:
    """Scan repeats its body for every element along an axis."""
    node, given = writer.node, attributes(writer.node)
    body, count = given["body"], given["num_scan_inputs"]
    states, scanned = list(node.input[:-count]), list(node.input[-count:])
    shapes = [writer.editor.shape(n) for n in scanned]
    results = len(body.output) - len(states)
    if writer.editor.opset < 9 or any(s is None for s in shapes) or not is_plain(body):
        return False
    axes = [a % len(s) for a, s in zip(given.get("scan_input_axes", [0] * count), shapes, strict=True) if s is not None]
    steps = next(s[a] for a, s in zip(axes, shapes, strict=True) if s is not None)
    if not 0 < steps <= STEPS:
        return False
    backwards = given.get("scan_input_directions", [0] * count)
    collected: list[list[str]] = [[] for _ in range(results)]
    for step in range(steps):
        parts = [
            writer("Gather", name, writer.constant("step", steps - 1 - step if back else step, np.int64), axis=axis)
            for name, axis, back in zip(scanned, axes, backwards, strict=True)
        ]
        names = dict(zip((i.name for i in body.input), [*states, *parts], strict=True))
        answers = written_out(writer, body, names)
        states, rest = answers[: len(states)], answers[len(states) :]
        for one, many in zip(rest, collected, strict=True):
            many.append(one)
    for name, state in zip(node.output, states, strict=False):
        if name:
            writer("Identity", state, to=name)
    out_axes, out_backwards = (given.get(f"scan_output_{k}", [0] * results) for k in ("axes", "directions"))
    for name, many, axis, back in zip(node.output[len(states) :], collected, out_axes, out_backwards, strict=True):
        if name:
            _stacked(writer, many[::-1] if back else many, axis, name)
    return True


def loop(writer: Writer) -> bool:
    """Loop repeats its body as often as a constant says, if nothing ends it earlier."""
    node, body = writer.node, attributes(writer.node)["body"]
    trips, go = (writer.editor.constant(n) if n else None for n in node.input[:2])
    states = list(node.input[2:])
    if trips is None or (node.input[1] and (go is None or not go.all())) or not is_plain(body):
        return False
    steps = int(trips.reshape(-1)[0])
    if not 0 < steps <= STEPS or not _goes_on(body):
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
    for name, many in zip(node.output[len(states) :], collected, strict=True):
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


def is_plain(body: onnx.GraphProto) -> bool:
    """Whether no node of it has a graph of its own."""
    return not any(a.HasField("g") for n in body.node for a in n.attribute)


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


def _goes_on(body: onnx.GraphProto) -> bool:
    """Whether its first output, the condition, is always true after a true one."""
    name, writers = body.output[0].name, {o: n for n in body.node for o in n.output}
    while (node := writers.get(name)) is not None and node.op_type == "Identity":
        name = node.input[0]
    if node is not None and node.op_type == "Constant":
        return all(bool(numpy_helper.to_array(a.t).all()) for a in node.attribute if a.name == "value")
    stored = {i.name: i for i in body.initializer}
    return name == body.input[1].name or (name in stored and bool(numpy_helper.to_array(stored[name]).all()))


def _stacked(writer: Writer, parts: list[str], axis: int, name: str) -> None:
    shaped = [writer("Unsqueeze", part, writer.ints("axis", [axis])) for part in parts]
    writer("Concat", *shaped, to=name, axis=axis)


RULES: dict[str, tuple[Rule, ...]] = {"Scan": (scan,), "Loop": (loop,), "If": (choose,)}
