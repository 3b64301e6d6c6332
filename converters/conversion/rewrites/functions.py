"""Operators that ONNX itself defines by others are written in those: attention, RMS norm, rotary embedding.

Their definitions compute with shapes; since all shapes are known here, those parts are folded into constants.
"""

from __future__ import annotations

from typing import Any

import onnx
import onnx.inliner
from onnx import helper

from multigraft.converters.conversion.rewrites.control_flow import rename_inputs
from multigraft.converters.conversion.rewrites.editing import Rule, Writer

EXPANDED = ("Attention", "RMSNormalization", "RotaryEmbedding", "CausalConvWithState", "SwiGLU", "LinearAttention")

_DOMAIN = "multigraft.definition"


def expand(writer: Writer) -> bool:
    """Put the definition in the operator's place."""
    node, editor = writer.node, writer.editor
    for attribute in node.attribute:
        if attribute.name == "softmax_precision" and attribute.i == onnx.TensorProto.DOUBLE:
            attribute.i = onnx.TensorProto.FLOAT  # TFLite has no Softmax of double precision
    function = _definition(writer)
    if function is None:
        return False
    function.domain, function.name = _DOMAIN, "definition"
    call = onnx.NodeProto()
    call.CopyFrom(node)
    call.domain, call.op_type = _DOMAIN, "definition"
    # A function has as many outputs as its definition; those that nobody wants still need a name.
    names = [*node.output, *[""] * (len(function.output) - len(node.output))]
    del call.output[:]
    call.output.extend(n or editor.free_name(f"{node.output[0]}/unused") for n in names)
    types = {i.name: i for i in editor.infos()}
    inputs = [types[n] for n in dict.fromkeys(node.input) if n]
    outputs = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in call.output]
    small = helper.make_model(
        helper.make_graph([call], "expanded", inputs, outputs),
        functions=[function],
        opset_imports=[*editor.model.opset_import, helper.make_opsetid(_DOMAIN, 1)],
        ir_version=editor.model.ir_version,
    )
    inlined = onnx.inliner.inline_local_functions(small)
    fixed = {*node.input, *node.output}
    written = (n for m in inlined.graph.node for n in m.output if n not in fixed)
    new_names = {n: editor.free_name(f"{node.output[0]}/{n}") for n in written}
    for inner in inlined.graph.node:
        kept = onnx.NodeProto()
        kept.CopyFrom(inner)
        rename_inputs(kept, new_names)
        for i, name in enumerate(kept.output):
            kept.output[i] = new_names.get(name, name)
        kept.name = f"{kept.output[0]}/node"
        writer.nodes.append(kept)
    return True


def _definition(writer: Writer) -> onnx.FunctionProto | None:
    node, editor = writer.node, writer.editor
    schema: Any = onnx.defs.get_schema(node.op_type, editor.opset, "")
    types = {i.name: i.type for i in editor.infos()}
    function = onnx.FunctionProto()
    if schema.has_context_dependent_function:
        versions = [v for v in schema.context_dependent_function_opset_versions if v <= editor.opset]
        given = [types[n].SerializeToString() if n else b"" for n in node.input]
        content = versions and schema.get_context_dependent_function_with_opset_version(
            max(versions), node.SerializeToString(), given
        )
        if not content:
            return None
        function.ParseFromString(content)
    elif schema.has_function:
        versions = [v for v in schema.function_opset_versions if v <= editor.opset]
        if not versions:
            return None
        function.ParseFromString(schema.get_function_with_opset_version(max(versions)))
    else:
        return None
    return function


RULES: dict[str, tuple[Rule, ...]] = dict.fromkeys(EXPANDED, (expand,))
