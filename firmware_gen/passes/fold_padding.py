"""A PAD before a convolution becomes the convolution's own padding: the padded copy is never made."""

from __future__ import annotations

from dataclasses import replace

from multigraft.firmware_gen.program.program import Node, Program

EXPLICIT = "EXPLICIT"
"""Value of a convolution's ``padding`` whose rows above and columns before are ``pad_h`` and ``pad_w``."""


def fold_padding(program: Program) -> Program:
    """The same program without the PADs of height and width that only convolutions without padding read.

    Both pad with the input's zero point, so every sum stays the same.
    """
    readers: dict[str, list[Node]] = {}
    for step in program.steps:
        for tensor in step.node.inputs:
            if tensor is not None:
                readers.setdefault(tensor.name, []).append(step.node)
    answers = {t.name for t in program.outputs}
    pads = {
        s.node.outputs[0].name: s.node
        for s in program.steps
        if s.node.name == "PAD" and s.node.outputs[0].name not in answers and _foldable(s.node, readers)
    }
    steps = []
    for step in program.steps:
        node = step.node
        if node.outputs[0].name in pads:
            continue
        source = node.inputs[0]
        if source is not None and source.name in pads:
            node = _folded(node, pads[source.name])
        steps.append(replace(step, node=node))
    return replace(program, steps=tuple(steps))


def _foldable(pad: Node, readers: dict[str, list[Node]]) -> bool:
    amounts = pad.input(1).data
    source = pad.input(0)
    if amounts is None or len(source.shape) != 4 or source.data is not None or amounts[[0, 3]].any():
        return False
    name = pad.outputs[0].name
    return all(
        node.name in ("CONV_2D", "DEPTHWISE_CONV_2D")
        and node.op.options.get("padding") == "VALID"
        and [t is not None and t.name == name for t in node.inputs].count(True) == 1
        for node in readers.get(name, [])
    )


def _folded(node: Node, pad: Node) -> Node:
    amounts = pad.input(1).data
    assert amounts is not None
    op = node.op.with_options(padding=EXPLICIT, pad_h=int(amounts[1, 0]), pad_w=int(amounts[2, 0]))
    return replace(node, op=op, inputs=(pad.inputs[0], *node.inputs[1:]))
