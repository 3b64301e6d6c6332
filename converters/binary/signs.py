"""Steps from -s to s in front of layers, written in the one way that is found again after onnx2tf.

That way is ``Sign(Sign(x) + 0.5)``: it gives 1 for 0, as a bit does that is set below zero, and is made of operators
that every interpreter has. So what is converted and quantised is an ordinary network, compared as any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from multigraft.converters.binary.plain_weights import with_plain_weights
from multigraft.converters.binary.step_functions import NoStep, Step, find_step
from multigraft.converters.conversion.boundary_tensors import OnnxRunner
from multigraft.converters.conversion.interpreters import Arrays
from multigraft.converters.conversion.rewrites.editing import Editor, attributes
from multigraft.converters.conversion.rewrites.folding import fold_constants
from multigraft.converters.network.steps import LINEAR, moved_from

_MOVES = frozenset({"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"})
"""The sign of what they move is their move of the sign, which has fewer words to move."""
BETWEEN_ZERO_AND_ONE = 0.5
"""What is added between the two ``Sign``."""


@dataclass(frozen=True)
class Signs:
    """A network with its steps rewritten.

    Attributes:
        model: The network.
        layers: Names of the layers that read steps alone.
        tensors: Those whose sign is taken.
        rounding: What is to be said where its answers differ from those of the model as it was; the frames tell.
        refused: Layer to why it reads none though it looks so; the end of a sentence.
    """

    model: onnx.ModelProto
    layers: tuple[str, ...]
    tensors: tuple[str, ...]
    refused: Mapping[str, str]
    rounding: str = ""


def rewrite_signs(model: onnx.ModelProto, feeds: Iterable[Arrays]) -> Signs:
    """Rewrite the steps that layers with constant weights read.

    Args:
        model: Its shapes are fixed.
        feeds: Values of its inputs. A step written as ``Sign`` gives 0 for 0, which no bit can tell: where that happens
            on one of them the layer stays as it is.
    """
    editor = Editor(model)
    fold_constants(editor)
    order = {o: i for i, node in enumerate(editor.graph.node) for o in node.output}
    constants = {i.name: value for i in editor.graph.initializer if (value := editor.constant(i.name)) is not None}
    writers = {o: node for node in editor.graph.node for o in node.output if o}
    found: dict[str, Step | NoStep] = {}
    ways: dict[str, list[tuple[onnx.NodeProto, str]]] = {}
    for node in editor.graph.node:
        if node.op_type in LINEAR and (place := _data_place(editor, node)) is not None:
            ends = [*moved_from(node, node.input[place], writers)]
            ways[_label(node)] = ends
            for _, end in ends:
                if end not in found:
                    found[end] = find_step(end, writers, constants, order, editor.opset)
    steps = {name: step for name, step in found.items() if isinstance(step, Step)}
    pads = {name: pad for name, step in steps.items() if (pad := _pad_before(editor, step)) is not None}
    starts = {name: pads[name].input[0] if name in pads else step.source for name, step in steps.items()}
    zeros = {starts[name]: step.place for name, step in steps.items() if step.is_zero_there}
    met = _met_zero(model, zeros, feeds)
    layers, refused, changed = [], {}, dict[str, list[onnx.NodeProto]]()
    for layer, ends in ways.items():
        if why := next(filter(None, (_why_not(found[end], met.get(starts.get(end, ""), 0)) for _, end in ends)), ""):
            refused[layer] = why
        elif ends and all(end in steps for _, end in ends):
            layers.append(layer)
            for reader, end in ends:
                changed.setdefault(end, []).append(reader)
    nodes: list[onnx.NodeProto] = []
    names: dict[tuple[int, str], str] = {}
    tensors: list[str] = []
    for node in editor.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = names.get((order[node.output[0]], name), name)
        nodes.append(node)
        for name in node.output:
            if name in changed:
                new, result = _written(editor, name, steps[name], starts[name], pads.get(name))
                nodes += new
                tensors.append(next(n.input[0] for n in new if n.op_type == "Sign"))
                names |= {(order[reader.output[0]], name): result for reader in changed[name]}
    named = {*layers}
    nodes = [n for node in nodes for n in (with_plain_weights(editor, node) if _label(node) in named else [node])]
    editor.set_nodes(nodes)
    return Signs(editor.finished(), tuple(layers), tuple(tensors), refused)


def _label(node: onnx.NodeProto) -> str:
    return node.name or node.output[0]


def _data_place(editor: Editor, node: onnx.NodeProto) -> int | None:
    """Which input is data, where the other is a constant."""
    constant = [editor.constant(name) is not None for name in node.input[:2]]
    return constant.index(False) if sum(constant) == 1 else None


def _met_zero(model: onnx.ModelProto, zeros: Mapping[str, float], feeds: Iterable[Arrays]) -> dict[str, int]:
    """Tensor to how often it met the number for which the network gives 0."""
    met = dict.fromkeys(zeros, 0)
    known = {o for node in model.graph.node for o in node.output} | {i.name for i in model.graph.input}
    if asked := sorted(zeros.keys() & known):
        runner = OnnxRunner(model, asked)
        for feed in feeds:
            for name, value in runner(feed).items():
                met[name] += int((value == zeros[name]).sum())
    return met


def _why_not(found: Step | NoStep, met: int) -> str:
    if isinstance(found, NoStep):
        return found.why
    if found.is_zero_there and met:
        return f"its Sign met exactly {found.place:g} {met:,} times, for which it gives 0 and a bit gives 1"
    return ""


def _written(
    editor: Editor, tensor: str, step: Step, source: str, pad: onnx.NodeProto | None
) -> tuple[list[onnx.NodeProto], str]:
    """The nodes of a step, and the name of what they give."""
    nodes: list[onnx.NodeProto] = []

    def add(kind: str, *inputs: str) -> str:
        name = editor.free_name(f"{tensor}/{kind.lower()}")
        nodes.append(helper.make_node(kind, list(inputs), [name], name=f"{name}/node"))
        return name

    def number(value: float) -> str:
        return editor.add_constant(f"{tensor}/number", np.array(value, np.float32))

    moves: list[onnx.NodeProto] = []
    while (move := editor.producer(source)) is not None and move.op_type in _MOVES and pad is None:
        moves.append(move)
        source = move.input[0]
    if step.place != 0:
        source = add("Sub", source, number(step.place))
    if step.is_turned:
        source = add("Neg", source)
    result = add("Sign", add("Add", add("Sign", source), number(BETWEEN_ZERO_AND_ONE)))
    if step.size != 1:
        result = add("Mul", result, number(step.size))
    for move in (*reversed(moves), *([] if pad is None else [pad])):
        result = add(move.op_type, result, *move.input[1:])
        nodes[-1].attribute.extend(move.attribute)
    return nodes, result


def _pad_before(editor: Editor, step: Step) -> onnx.NodeProto | None:
    """A padding with the number for which the network gives 0: it pads the signs with 0, which layers do, too."""
    node = editor.producer(step.source)
    if node is None or node.op_type != "Pad" or not step.is_zero_there or step.place != 0:
        return None
    value = editor.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
    is_constant = attributes(node).get("mode", "constant") == "constant"
    return node if is_constant and value is not None and not value.any() else None
