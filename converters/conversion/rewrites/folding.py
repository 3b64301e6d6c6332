"""Computes what depends on constants and shapes alone, once, so that no shape arithmetic reaches the converter."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from multigraft.converters.conversion.rewrites.editing import Editor

_LARGEST = 1 << 24
"""Elements of a result that is still stored; a constant that is expanded beyond stays an operator."""


def fold_constants(editor: Editor) -> None:
    """Replace, in place, nodes that read only constants by what they give in onnxruntime; leave them if that fails."""
    import onnxruntime

    outputs = {o.name for o in editor.graph.output}
    while True:
        _store_shapes(editor)
        nodes, made = [], set[str]()
        for node in editor.graph.node:
            is_known = all(not n or n in made or editor.constant(n) is not None for n in node.input)
            is_end = node.op_type == "Identity" and node.output[0] in outputs
            if is_known and not is_end and not any(a.HasField("g") for a in node.attribute):
                nodes.append(node)
                made.update(node.output)
        wanted = [
            n
            for n in dict.fromkeys(o for node in nodes for o in node.output)
            if n and editor.constant(n) is None and np.prod(editor.shape(n) or (1,)) <= _LARGEST
        ]
        if not wanted:
            return
        results = [helper.make_empty_tensor_value_info(n) for n in wanted]
        read = {n for node in nodes for n in node.input}
        stored = [i for i in editor.graph.initializer if i.name in read]
        graph = helper.make_graph(nodes, "constants", [], results, stored)
        opsets = editor.model.opset_import
        model = helper.make_model(graph, opset_imports=opsets, ir_version=editor.model.ir_version)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
            values = session.run(wanted, {})
        except Exception:
            return
        editor.store(dict(zip(wanted, values, strict=True)))


def _store_shapes(editor: Editor) -> None:
    shapes = {}
    for node in editor.graph.node:
        shape = editor.shape(node.input[0]) if node.op_type in ("Shape", "Size") else None
        if shape is not None and node.op_type == "Size":
            shapes[node.output[0]] = np.array(np.prod(shape), np.int64)
        elif shape is not None:
            given = {a.name: a.i for a in node.attribute}
            end = given.get("end", len(shape))
            shapes[node.output[0]] = np.array(shape[given.get("start", 0) : end], np.int64)
    if shapes:
        editor.store(shapes)


def without_identities(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` without Identity nodes, but for those between an input or a constant or an output and an output.

    onnx2tf gives what such a node reads the name of what it writes, and lets others read what is no longer written.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    outputs = {o.name for o in copy.graph.output}
    written = {o for node in copy.graph.node for o in node.output} - outputs
    # An output that repeats a tensor gives that tensor its own name.
    names = {
        node.input[0]: node.output[0]
        for node in copy.graph.node
        if node.op_type == "Identity" and node.output[0] in outputs and node.input[0] in written
    }
    repeats = {source: result for source, result in names.items() if _writer(copy, source) != "Identity"}
    names = dict(repeats)
    for node in copy.graph.node:
        for i, name in enumerate(node.output):
            node.output[i] = repeats.get(name, name)
    kept = []
    for node in copy.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = names.get(name, name)
        if node.op_type == "Identity" and node.input[0] == node.output[0]:
            continue
        if node.op_type == "Identity" and node.output[0] not in outputs:
            names[node.output[0]] = node.input[0]
        else:
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    return copy


def _writer(model: onnx.ModelProto, tensor: str) -> str:
    return str(next(node.op_type for node in model.graph.node if tensor in node.output))
