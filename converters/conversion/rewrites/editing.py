"""What every rewrite needs of the graph it works on: constants, shapes, attributes, and names that are free."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from multigraft.tensors.arrays import Array

Shape = tuple[int, ...]


class Editor:
    """A copy of an ONNX model whose nodes can be replaced one at a time.

    Args:
        model: Stays as it is; its shapes are inferred here.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
        self._read_graph()
        self._constants = {i.name: i for i in self.graph.initializer}
        self._names = {
            *self._constants,
            *(v.name for v in self.graph.input),
            *(n for node in self.graph.node for n in (*node.input, *node.output)),
        }

    @property
    def graph(self) -> onnx.GraphProto:
        """The graph as it is by now."""
        return self.model.graph

    def constant(self, name: str) -> Array | None:
        """The value of an initialiser or of what a Constant node writes; None for anything else."""
        stored = self._constants.get(name)
        return None if stored is None else numpy_helper.to_array(stored)

    def shape(self, name: str) -> Shape | None:
        """The shape of a tensor; None where it is not known in full."""
        return self._shapes.get(name)

    def dtype(self, name: str) -> int:
        """The ONNX element type of a tensor; 0 where it is not known."""
        return self._dtypes.get(name, 0)

    def producer(self, name: str) -> onnx.NodeProto | None:
        """The node that writes a tensor; None for an input or a constant."""
        return self._producers.get(name)

    def free_name(self, wish: str) -> str:
        """``wish``, or with a number behind it if a tensor has that name; it is taken from now on."""
        name, number = wish, 1
        while name in self._names:
            name, number = f"{wish}.{number}", number + 1
        self._names.add(name)
        return name

    def add_constant(self, wish: str, value: Array) -> str:
        """A new initialiser; returns its name."""
        name = self.free_name(wish)
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        self._constants[name] = self.graph.initializer[-1]
        self._shapes[name], self._dtypes[name] = value.shape, self.graph.initializer[-1].data_type
        return name

    def set_nodes(self, nodes: Iterable[onnx.NodeProto]) -> None:
        """Let the graph have these nodes, in an order in which they can run."""
        kept = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
        del self.graph.node[:]
        self.graph.node.extend(kept)
        self._read_graph()

    def store(self, values: Mapping[str, Array]) -> None:
        """Make constants of tensors, and take away the nodes that write them."""
        kept = [
            onnx.NodeProto.FromString(n.SerializeToString())
            for n in self.graph.node
            if not all(o in values or not o for o in n.output)
        ]
        del self.graph.node[:]
        self.graph.node.extend(kept)
        written = {o for n in kept for o in n.output}
        outputs = {o.name for o in self.graph.output}
        for name, value in values.items():
            if name in outputs:
                self.graph.node.append(helper.make_node("Identity", [self.add_constant(name, value)], [name]))
            elif name not in written:
                self.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
                self._constants[name] = self.graph.initializer[-1]
        self._read_graph()

    def infos(self) -> list[onnx.ValueInfoProto]:
        """Type, and shape as far as known, of every tensor."""
        stored = [helper.make_tensor_value_info(i.name, i.data_type, i.dims) for i in self.graph.initializer]
        return [*self._infos, *stored]

    def finished(self) -> onnx.ModelProto:
        """The model with inferred shapes, without nodes and initialisers that nothing reads."""
        self._leave_out_unread()
        read = {n for node in self.graph.node for n in node.input} | {o.name for o in self.graph.output}
        used = [i for i in self.graph.initializer if i.name in read]
        del self.graph.initializer[:]
        self.graph.initializer.extend(used)
        return onnx.shape_inference.infer_shapes(self.model)

    def _leave_out_unread(self) -> None:
        if any(a.HasField("g") for n in self.graph.node for a in n.attribute):
            return
        needed, kept = {o.name for o in self.graph.output}, []
        for node in reversed(self.graph.node):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
        del self.graph.node[:]
        self.graph.node.extend(reversed(kept))

    def _read_graph(self) -> None:
        self._producers: dict[str, onnx.NodeProto] = {
            name: node for node in self.graph.node for name in node.output if name
        }
        del self.graph.value_info[:]
        inferred = onnx.shape_inference.infer_shapes(self.model, data_prop=True).graph
        self._shapes: dict[str, Shape] = {i.name: tuple(i.dims) for i in inferred.initializer}
        self._dtypes: dict[str, int] = {i.name: i.data_type for i in inferred.initializer}
        self._infos = [*inferred.value_info, *inferred.input, *inferred.output]
        for info in self._infos:
            kind = info.type.tensor_type
            self._dtypes[info.name] = kind.elem_type
            if kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim):
                self._shapes[info.name] = tuple(d.dim_value for d in kind.shape.dim)


class Writer:
    """Collects the nodes that replace one node; calling it adds a node and gives the name of what that writes."""

    def __init__(self, editor: Editor, node: onnx.NodeProto) -> None:
        self.editor, self.node = editor, node
        self.nodes: list[onnx.NodeProto] = []
        self._stem = node.output[0]

    def __call__(self, kind: str, *inputs: str, to: str = "", outputs: int = 1, **attributes: Any) -> str:
        """Add a node of one output, called ``to`` or a free name."""
        return self.several(kind, *inputs, to=[to] * outputs, **attributes)[0]

    def several(self, kind: str, *inputs: str, to: Iterable[str], **attributes: Any) -> list[str]:
        """Add a node whose outputs are called ``to``, or free names where that is empty."""
        names = [name or self.editor.free_name(f"{self._stem}/{kind}") for name in to]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"{names[0]}/node", **attributes))
        return names

    def cast(self, x: str, dtype: int, to: str = "") -> str:
        """Add a Cast to an ONNX element type."""
        name = to or self.editor.free_name(f"{self._stem}/Cast")
        self.nodes.append(helper.make_node("Cast", [x], [name], name=f"{name}/node", to=dtype))
        return name

    def constant(self, wish: str, value: Any, dtype: Any = np.float32) -> str:
        """A constant for these nodes."""
        return self.editor.add_constant(f"{self._stem}/{wish}", np.asarray(value, dtype))

    def ints(self, wish: str, values: Iterable[int]) -> str:
        """A vector of int64, such as a shape or axes."""
        return self.constant(wish, list(values), np.int64)


Rule = Callable[[Writer], bool]
"""Writes what replaces ``writer.node``, ending in nodes that write its outputs; False if that node may stay."""


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Its attributes by name; text as str."""
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()}
