"""A float TFLite graph operator by operator in ONNX."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from multigraft.converters.importing.tflite.graph_builder import GraphBuilder
from multigraft.converters.importing.tflite.layouts import Form, in_form
from multigraft.converters.importing.tflite.operators import EMITTERS
from multigraft.tflite.graph import Graph, Tensor

_PIXEL_CHANNELS = (1, 3)


@dataclass(frozen=True)
class Translated:
    """A graph in ONNX.

    Attributes:
        model: With the inputs and outputs of the graph, in their order; equal outputs once.
        inputs: Layout of each input.
        outputs: Layout of each output.
    """

    model: onnx.ModelProto
    inputs: tuple[Form, ...]
    outputs: tuple[Form, ...]


def translate(graph: Graph, where: str) -> Translated:
    """``graph`` in ONNX: a picture input and outputs that are computed so have channels first.

    Args:
        graph: Of float tensors, with operators of :data:`multigraft.converters.importing.tflite.operators.KNOWN`.
        where: File name, for messages.

    Raises:
        UnsupportedOperatorError: An operator has options that ONNX cannot express.
    """
    builder = GraphBuilder(graph, where)
    inputs, input_forms = [], []
    for name in graph.inputs:
        tensor = graph.tensors[name]
        form: Form = "first" if _is_picture(tensor) else "last"
        builder.hold(name, form, builder.named(name))
        inputs.append(_value(builder.named(name), tensor, form))
        input_forms.append(form)
    for op in graph.ops:
        EMITTERS[op.name](builder, op)
    outputs, output_forms = [], []
    for name in dict.fromkeys(graph.outputs):
        form = "first" if len(graph.tensors[name].shape) == 4 and builder.held(name) == {"first"} else "last"
        value = builder.get(name, form)
        if value in {i.name for i in inputs} or value in builder.initialisers:
            value = builder.node("Identity", [value], builder.fresh(f"{builder.named(name)}/output"))
        outputs.append(_value(value, graph.tensors[name], form))
        output_forms.append(form)
    return Translated(builder.model(inputs, outputs), tuple(input_forms), tuple(output_forms))


def _is_picture(tensor: Tensor) -> bool:
    shape = tensor.shape
    return len(shape) == 4 and shape[3] in _PIXEL_CHANNELS and shape[1] not in _PIXEL_CHANNELS


def _value(name: str, tensor: Tensor, form: Form) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    return helper.make_tensor_value_info(name, kind, in_form(form, tensor.shape))
