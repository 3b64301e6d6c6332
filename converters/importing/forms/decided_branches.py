"""``If`` whose condition no frame changes (sizes, a constant input): the branch that is taken stands in its place."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from multigraft.converters.importing.forms.ordering import reads, sort_nodes
from multigraft.converters.network.network import session_of
from multigraft.errors import InputError

MOST = 1000
"""Branches; each may hold further ones."""

_SIZES = frozenset(("Shape", "Size"))
_UNKNOWN = frozenset(("If", "Loop", "Scan", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike"))


def take_decided_branches(model: onnx.ModelProto, where: str) -> None:
    """Replace every ``If`` that is decided before any frame is seen, in place; others stay.

    Args:
        model: Its inputs have fixed sizes.
        where: File name, for messages.

    Raises:
        InputError: Nodes read each other in a circle.
    """
    for number in range(MOST):
        for place, node in enumerate(model.graph.node):
            taken = _decision(model, node.input[0]) if node.op_type == "If" else None
            if taken is not None:
                _inline(model.graph, place, "then_branch" if taken else "else_branch", f"taken{number}")
                sort_nodes(model.graph, where)
                break
        else:
            return


def _decision(model: onnx.ModelProto, condition: str) -> bool | None:
    """The condition's value; None where it may depend on the frame, or cannot be computed."""
    writers = {output: place for place, node in enumerate(model.graph.node) for output in node.output}
    stored = {i.name for i in model.graph.initializer}
    places: set[int] = set()
    # What is computed of values, and what is read for its size alone, which may depend on the frame.
    pending, seen = [(condition, True)], set()
    while pending:
        name, is_value = pending.pop()
        if (name, is_value) in seen or not name or name in stored:
            continue
        seen.add((name, is_value))
        if name not in writers:
            if is_value:
                return None
            continue
        node = model.graph.node[writers[name]]
        if node.op_type in _UNKNOWN:
            return None
        places.add(writers[name])
        pending += [(read, is_value and node.op_type not in _SIZES) for read in reads(node)]
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.output[:], part.graph.value_info[:]
    part.graph.node.extend(model.graph.node[place] for place in sorted(places))
    part.graph.output.append(helper.make_tensor_value_info(condition, onnx.TensorProto.BOOL, None))
    try:
        feeds = {
            i.name: np.zeros(
                [d.dim_value or 1 for d in i.type.tensor_type.shape.dim],
                helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type),
            )
            for i in part.graph.input
            if i.name not in stored
        }
        (value,) = session_of(part, condition).run(None, feeds)
    except InputError:
        return None
    except Exception:  # onnxruntime's own exceptions have no common base that is typed
        return None
    return bool(np.asarray(value).all()) if np.asarray(value).size == 1 else None


def _inline(graph: onnx.GraphProto, place: int, branch: str, prefix: str) -> None:
    """Put a branch in the place of its node, under names of its own."""
    node = graph.node[place]
    body = next(a.g for a in node.attribute if a.name == branch)
    own = [i.name for i in body.initializer] + [name for n in body.node for name in n.output if name]
    names = {name: f"{prefix}/{name}" for name in own}
    for written, result in zip(body.output, node.output, strict=True):
        if written.name in names and names[written.name] == f"{prefix}/{written.name}":
            names[written.name] = result
        else:  # from outside the branch, or given twice
            inner = names.get(written.name, written.name)
            body.node.append(helper.make_node("Identity", [inner], [result], f"{prefix}/{result}"))
    inlined = []
    for inner in body.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(inner)
        _rename(copy, names)
        copy.name = f"{prefix}/{copy.name}" if copy.name else ""
        inlined.append(copy)
    for initializer in body.initializer:
        tensor = graph.initializer.add()
        tensor.CopyFrom(initializer)
        tensor.name = names[initializer.name]
    nodes = list(graph.node)
    ordered = [
        onnx.NodeProto.FromString(n.SerializeToString()) for n in (*nodes[:place], *inlined, *nodes[place + 1 :])
    ]
    del graph.node[:]
    graph.node.extend(ordered)


def _rename(node: onnx.NodeProto, names: dict[str, str]) -> None:
    """In its branches, too, as far as they write no such name themselves."""
    node.input[:] = [names.get(n, n) for n in node.input]
    node.output[:] = [names.get(n, n) for n in node.output]
    for attribute in node.attribute:
        for body in [*attribute.graphs, *([attribute.g] * attribute.HasField("g"))]:
            own = {i.name for i in body.initializer} | {name for n in body.node for name in n.output}
            outer = {old: new for old, new in names.items() if old not in own}
            for inner in body.node:
                _rename(inner, outer)
            for output in body.output:
                output.name = outer.get(output.name, output.name)
