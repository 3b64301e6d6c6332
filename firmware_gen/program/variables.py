"""The variables of streaming networks, and the states of LSTM and SVDF: they become tensors that outlive an inference.

A .tflite names a variable by VAR_HANDLE; READ_VARIABLE and ASSIGN_VARIABLE refer to the handle, and CALL_ONCE runs a
subgraph that assigns initial values. Here a variable becomes one tensor that is the input of what reads it and the
output of what assigns it, in every subgraph that uses it; its initial value is a constant. A state is a tensor that
the file marks as variable; it begins as 0, of whatever is quantised its zero point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from multigraft.errors import InputError
from multigraft.firmware_gen.program.options import integer
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Graph, Model, Op, Tensor


def initial_subgraphs(model: Model) -> set[int]:
    """Numbers of the subgraphs that CALL_ONCE runs."""
    return {_initial_subgraph(op) for graph in model.subgraphs for op in graph.ops if op.name == "CALL_ONCE"}


def with_variables(model: Model, graph: Graph) -> tuple[Graph, dict[str, Array]]:
    """``graph`` with variables as tensors, and the initial value of each that CALL_ONCE assigns a constant.

    Raises:
        InputError: CALL_ONCE calls a subgraph that is not there.
    """
    graph, states = _with_states(graph)
    handles = _handles(graph)
    if not handles:
        return graph, states
    values: dict[str, Tensor] = {}
    constants_only = True
    for op in graph.ops:
        if op.name == "CALL_ONCE":
            assigned, plain = _assigned(model, _initial_subgraph(op))
            values |= assigned
            constants_only = constants_only and plain
    known = {name: tensor for name, tensor in values.items() if name in handles.values()}
    ops = tuple(_rewritten(op, handles, tuple(known), constants_only) for op in graph.ops)
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name not in handles}
    for op in ops:
        if op.name in ("READ_VARIABLE", "ASSIGN_VARIABLE") and op.inputs[0] in handles.values():
            value = tensors[op.outputs[0] if op.name == "READ_VARIABLE" else op.inputs[1]]
            known.setdefault(op.inputs[0], value)
    for name in handles.values():
        # One that is never used has no shape.
        tensors[name] = replace(known[name], name=name, data=None) if name in known else Tensor(name, (1,), "int8")
    initial = {name: np.asarray(t.data) for name, t in known.items() if t.data is not None and name in values}
    return replace(graph, ops=ops, tensors=tensors), {**initial, **states}


def _with_states(graph: Graph) -> tuple[Graph, dict[str, Array]]:
    """Operators with states write them, too; what they hold at first, as the interpreters reset them."""
    names = {t.name: f"state {graph.name}/{t.name}" for t in graph.tensors.values() if t.is_variable}
    if not names:
        return graph, {}
    tensors = {names.get(t.name, t.name): replace(t, name=names.get(t.name, t.name)) for t in graph.tensors.values()}
    ops = []
    for op in graph.ops:
        states = tuple(names[n] for n in op.inputs if n in names)
        inputs = tuple(names.get(n, n) for n in op.inputs)
        ops.append(replace(op, inputs=inputs, outputs=(*op.outputs, *states)))
    initial = {}
    for name in names.values():
        tensor = tensors[name]
        zero = tensor.quant.zero_points[0] if tensor.dtype == "int8" and tensor.quant is not None else 0
        initial[name] = np.full(tensor.shape, zero, tensor.dtype)
    return replace(graph, ops=tuple(ops), tensors=tensors), initial


def _initial_subgraph(op: Op) -> int:
    return integer(op.options.get("init_subgraph_index"))


def _handles(graph: Graph) -> dict[str, str]:
    """Tensor that holds a handle to the variable's name."""
    return {
        op.outputs[0]: f"variable {op.options.get('container') or ''}/{op.options.get('shared_name') or ''}"
        for op in graph.ops
        if op.name == "VAR_HANDLE"
    }


def _assigned(model: Model, number: int) -> tuple[dict[str, Tensor], bool]:
    """What a subgraph assigns to which variable, and whether it does nothing but assign constants."""
    if not 0 <= number < len(model.subgraphs):
        raise InputError(f"CALL_ONCE calls subgraph {number}, which is not there", "convert the model again")
    graph = model.subgraphs[number]
    handles = _handles(graph)
    assigned = {}
    plain = True
    for op in graph.ops:
        if op.name == "ASSIGN_VARIABLE" and op.inputs[0] in handles and graph.constant(op.inputs[1]) is not None:
            assigned[handles[op.inputs[0]]] = graph.tensors[op.inputs[1]]
        elif op.name != "VAR_HANDLE":
            plain = False
    return assigned, plain


def _rewritten(op: Op, handles: Mapping[str, str], initialised: tuple[str, ...], constants_only: bool) -> Op:
    inputs = tuple(handles.get(name, name) for name in op.inputs)
    if op.name == "VAR_HANDLE":
        return replace(op, inputs=(handles[op.outputs[0]],), outputs=(handles[op.outputs[0]],))
    if op.name == "CALL_ONCE":
        return replace(op, inputs=initialised, outputs=initialised).with_options(constants_only=constants_only)
    if op.name == "READ_VARIABLE":
        return replace(op, inputs=inputs).with_options(initialised=inputs[0] in initialised)
    if op.name == "ASSIGN_VARIABLE":
        return replace(op, inputs=inputs, outputs=inputs[:1])
    return replace(op, inputs=inputs)
