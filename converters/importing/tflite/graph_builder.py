"""Collects ONNX nodes for a TFLite graph; every tensor is held in the layout it was computed in, and turned if asked.

So convolutions, pools and what stands between them see channels first, and no transpose is written that no operator
needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from multigraft.converters.importing.tflite.layouts import LEAST_RANK, Form, in_form, keeps_order, to_first, to_last
from multigraft.errors import UnsupportedOperatorError
from multigraft.tflite.graph import Graph, Op

Array = npt.NDArray[Any]

OPSET = 20
"""As :data:`multigraft.converters.importing.simplify.OPSET`."""

_PLAIN = re.compile(r"[^A-Za-z0-9_./-]+")
_CLIPS = {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}


class GraphBuilder:
    """What emitters write to.

    Args:
        graph: The whole TFLite graph: static shapes, float tensors.
        where: File name, for messages.
    """

    def __init__(self, graph: Graph, where: str) -> None:
        self.graph = graph
        self.where = where
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: dict[str, Array] = {}
        self.shapes = {name: t.shape for name, t in graph.tensors.items()}
        self.flat_images: dict[str, str] = {}
        """Flattened image to the image with channels first that it is."""
        self._producers = graph.producers()
        self._forms: dict[str, dict[Form, str]] = {}
        self._later: dict[str, Callable[[], str]] = {}
        self._taken: set[str] = set()
        self._names: dict[str, str] = {}
        for name in (*graph.inputs, *graph.outputs):
            self.named(name)

    def fail(self, op: Op, problem: str) -> NoReturn:
        """Raises:
        UnsupportedOperatorError: Always; the message names the operator.
        """
        raise UnsupportedOperatorError(
            f"{self.where}: {op.label} {op.outputs[0]!r} {problem}", "replace it, or end the network before it"
        )

    # Names.

    def fresh(self, base: str) -> str:
        """A name like ``base`` that nothing has."""
        free, number = base, 1
        while free in self._taken:
            number += 1
            free = f"{base}_{number}"
        self._taken.add(free)
        return free

    def named(self, tensor: str) -> str:
        """The ONNX name of a tensor: the first of those that TensorFlow joins with ``;``, in plain letters."""
        if tensor not in self._names:
            first = tensor.split(";")[0].removeprefix("StatefulPartitionedCall/")
            self._names[tensor] = self.fresh(_PLAIN.sub("_", first).strip("/") or "tensor")
        return self._names[tensor]

    # Values.

    def constant(self, tensor: str) -> Array | None:
        """The value of a constant in TFLite's layout; None if it is absent or computed."""
        return self.graph.constant(tensor) if tensor else None

    def producer(self, tensor: str) -> Op | None:
        """The operator that writes a tensor; None for inputs and constants."""
        return self._producers.get(tensor)

    def parameter(self, op: Op, place: int) -> list[int]:
        """Constant integers that an operator takes as an input."""
        value = self.constant(op.inputs[place]) if place < len(op.inputs) else None
        if value is None:
            self.fail(op, "takes its parameters from what is computed")
        return [int(v) for v in np.asarray(value).reshape(-1)]

    def store(self, base: str, value: Array) -> str:
        """An initialiser of that value."""
        name = self.fresh(base)
        self.initialisers[name] = np.ascontiguousarray(value).reshape(np.shape(value))
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node with one output; returns the name of its output."""
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def several(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Add a node with several outputs."""
        self.nodes.append(helper.make_node(kind, list(inputs), list(outputs), name=outputs[0], **attributes))

    # Layouts.

    def hold(self, tensor: str, form: Form, name: str) -> None:
        """``name`` is the value of a tensor in that layout."""
        self._forms.setdefault(tensor, {})[form] = name

    def hold_later(self, tensor: str, make: Callable[[], str]) -> None:
        """``make`` writes the tensor in TFLite's layout, if anybody asks for it."""
        self._later[tensor] = make

    def held(self, tensor: str) -> set[Form]:
        """Layouts in which a computed tensor is there without a further node."""
        return set(self._forms.get(tensor, ()))

    def is_computed(self, tensor: str) -> bool:
        return self.constant(tensor) is None

    def last(self, tensor: str) -> str:
        """A tensor in TFLite's layout."""
        return self.get(tensor, "last")

    def first(self, tensor: str) -> str:
        """A tensor with channels first."""
        return self.get(tensor, "first")

    def get(self, tensor: str, form: Form) -> str:
        """A tensor in that layout."""
        if len(self.shapes[tensor]) < LEAST_RANK:
            form = "last"
        forms = self._forms.setdefault(tensor, {})
        if form in forms:
            return forms[form]
        value = self.constant(tensor)
        if value is not None:
            turned = value.transpose(to_first(value.ndim)) if form == "first" else value
            forms[form] = self.store(self.named(tensor), turned)
        elif tensor in self._later and not forms:
            forms["last"] = self._later.pop(tensor)()
            return self.get(tensor, form)
        else:
            forms[form] = self._turned(tensor, form)
        return forms[form]

    def _turned(self, tensor: str, form: Form) -> str:
        shape = self.shapes[tensor]
        rank = len(shape)
        output = self.fresh(f"{self.named(tensor)}/channels_{form}")
        have = self._forms[tensor]["first" if form == "last" else "last"]
        permutation = to_first(rank) if form == "first" else to_last(rank)
        if keeps_order(in_form("last" if form == "first" else "first", shape), permutation):
            return self.reshaped(have, in_form(form, shape), output)
        return self.node("Transpose", [have], output, perm=permutation)

    def in_memory_order(self, tensor: str) -> str:
        """A value whose elements, one after the other, are those of TFLite's layout."""
        held = self.held(tensor)
        if "last" not in held and "first" in held and self.keeps_order(tensor):
            return self.first(tensor)
        return self.last(tensor)

    def keeps_order(self, tensor: str) -> bool:
        """Whether both layouts of a tensor have their elements in the same order."""
        shape = self.shapes[tensor]
        return len(shape) < LEAST_RANK or keeps_order(shape, to_first(len(shape)))

    def reshaped(self, value: str, shape: Sequence[int], output: str) -> str:
        """``value`` in another shape."""
        return self.node("Reshape", [value, self.store(f"{output}/shape", np.array(shape, np.int64))], output)

    def common_form(self, tensors: Sequence[str], rank: int) -> Form:
        """The layout in which an operator that takes either costs least."""
        held = [self.held(t) for t in tensors if t and self.is_computed(t) and len(self.shapes[t]) == rank]
        held = [h for h in held if h]
        if rank < LEAST_RANK or not held:
            return "last"
        return "first" if any("last" not in h for h in held) or all("first" in h for h in held) else "last"

    def aligned(self, tensor: str, rank: int, form: Form) -> str:
        """A tensor for arithmetic that broadcasts to ``rank`` dimensions in that layout."""
        value = self.constant(tensor)
        if value is not None:
            wide = value.reshape((1,) * (rank - value.ndim) + value.shape)
            turned = wide.transpose(to_first(rank)) if form == "first" and rank >= LEAST_RANK else wide
            return self.store(self.named(tensor), _without_leading_ones(turned))
        shape = self.shapes[tensor]
        if len(shape) == rank or form == "last":
            return self.get(tensor, form)
        wide_shape = (1,) * (rank - len(shape)) + tuple(shape)
        base = f"{self.named(tensor)}/rank_{rank}"
        if keeps_order(wide_shape, to_first(rank)):
            return self.reshaped(self.last(tensor), in_form("first", wide_shape), self.fresh(base))
        whole = self.reshaped(self.last(tensor), wide_shape, self.fresh(base))
        return self.node("Transpose", [whole], self.fresh(f"{base}/channels_first"), perm=to_first(rank))

    # Results.

    def finish(self, op: Op, form: Form, kind: str, inputs: Sequence[str], **attributes: Any) -> None:
        """Add the node that writes an operator's first output, and its fused activation."""
        output = self.named(op.outputs[0])
        activation = str(op.options.get("fused_activation_function", "NONE"))
        if activation == "NONE":
            self.node(kind, inputs, output, **attributes)
        else:
            before = self.node(kind, inputs, self.fresh(f"{output}/linear"), **attributes)
            self.activate(op, activation, before, output)
        self.hold(op.outputs[0], form, output)

    def activate(self, op: Op, activation: str, value: str, output: str) -> str:
        """``value`` through one of TFLite's activations."""
        if activation in _CLIPS:
            ends = [self.store(f"{output}/limit", np.array(v, np.float32)) for v in _CLIPS[activation]]
            return self.node("Clip", [value, *ends], output)
        if activation != "RELU":
            # Kernels leave the others out without a word.
            self.fail(op, f"has the fused activation {activation}, which the interpreters do not compute")
        return self.node("Relu", [value], output)

    def model(self, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """All of it as a model, without nodes whose values nothing reads."""
        needed = {o.name for o in outputs}
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
        self.nodes = [node for node in self.nodes if needed.intersection(node.output)]
        read = {i for n in self.nodes for i in n.input}
        stored = [numpy_helper.from_array(v, k) for k, v in self.initialisers.items() if k in read]
        graph = helper.make_graph(self.nodes, "tflite", list(inputs), list(outputs), stored)
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=10, producer_name="TFLite")


def _without_leading_ones(value: Array) -> Array:
    """Broadcasting puts them back; a single number has no dimension at all."""
    while value.ndim and value.shape[0] == 1:
        value = value[0]
    return value
