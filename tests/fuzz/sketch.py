"""A random graph while it is drawn: every node runs in onnxruntime at once, so that what is kept is finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from multigraft.tensors.arrays import Array

LARGEST_VALUE = 1e3
LARGEST_TENSOR = 4096
"""Elements; larger results are not kept."""

_SLOPE = 1e3
"""How much faster than its inputs a result may change: beyond, rounding before the node decides what it gives."""


class Sketch:
    """Nodes, constants, and the values of all tensors on a probe.

    Args:
        draw: Hypothesis's, of a composite strategy.
        opset: Of the default domain.
        ir_version: Below 4, initialisers are inputs, too.
    """

    def __init__(self, draw: Any, opset: int, ir_version: int, probe: Array) -> None:
        self._draw, self.opset, self.ir_version = draw, opset, ir_version
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        self.values: dict[str, Array] = {"x": probe}
        self.depth = {"x": 0}
        self.domains: dict[str, int] = {}
        self._shaken = {"x": probe * np.float32(1 + 1e-5)}
        self._made = 0
        self._numbers = np.random.default_rng(self.whole(0, 1 << 16))

    # Choices

    def whole(self, low: int, high: int) -> int:
        """A whole number, both ends possible."""
        number: int = self._draw(st.integers(low, high))
        return number

    def yes(self, one_in: int = 2) -> bool:
        """True once in so many times."""
        return self.whole(1, one_in) == one_in

    def pick(self, choices: Sequence[Any]) -> Any:
        """One of them."""
        return choices[self.whole(0, len(choices) - 1)]

    def some(self, choices: Sequence[int], least: int = 1) -> list[int]:
        """Several of them, in any order."""
        kept = [c for c in choices if self.yes()]
        kept += [c for c in choices if c not in kept][: max(0, least - len(kept))]
        return list(reversed(kept)) if self.yes(4) else kept

    def axis(self, rank: int) -> int:
        """An axis, counted from either end."""
        return self.whole(-rank, rank - 1)

    def optional(self, **attributes: Any) -> dict[str, Any]:
        """Each attribute, or its default by leaving it out."""
        return {name: value for name, value in attributes.items() if self.yes()}

    def floats(self, shape: Sequence[int], low: float = -1.0, high: float = 1.0) -> Array:
        """Random float32 values, uniform."""
        return self._numbers.uniform(low, high, tuple(shape)).astype(np.float32)

    def tensor(self, ranks: Sequence[int] = (), kind: str = "f") -> str:
        """A tensor so far, rather a late one; empty if none is of those ranks."""
        fits = [n for n, v in self.values.items() if v.dtype.kind == kind and (not ranks or v.ndim in ranks)]
        return fits[-1 - min(self.whole(0, len(fits) - 1), self.whole(0, len(fits) - 1))] if fits else ""

    # What is made

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor or constant."""
        return (self.values if name in self.values else self.constants)[name].shape

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """A new constant: an initialiser, or what a Constant node writes."""
        self._made += 1
        name = f"c{self._made}"
        self.constants[name] = np.asarray(value, dtype)
        return name

    def ints(self, values: Sequence[int], dtype: Any = np.int64) -> str:
        """A vector of whole numbers."""
        return self.constant(list(values), dtype)

    def has(self, operator: str, domain: str = "") -> bool:
        """Whether the drawn operator set has it."""
        return domain != "" or onnx.defs.has(operator, self.opset)

    def version(self, operator: str) -> int:
        """Since which operator set its drawn form is valid."""
        return int(onnx.defs.get_schema(operator, self.opset, "").since_version)

    def add(self, operator: str, *inputs: str, **options: Any) -> list[str]:
        """Append a node; the names of its outputs, or nothing if onnxruntime refuses it or a value is unfit.

        ``outputs`` is their number, 1 unless given, and ``domain`` that of the operator; all else is an attribute.
        """
        outputs, domain = options.pop("outputs", 1), options.pop("domain", "")
        if not self.has(operator, domain):
            return []
        names = [f"t{self._made + i + 1}" for i in range(outputs)]
        self._made += outputs
        try:
            node = helper.make_node(operator, inputs, names, name=f"n{len(self.nodes)}", domain=domain, **options)
            made = self._run(node, [self.values, self._shaken])
        except Exception:
            return []
        values, shaken = made
        if not any(n in self.values for n in inputs) or not all(map(_is_fit, values, shaken)):
            return []
        self.nodes.append(node)
        if domain:
            self.domains[domain] = 1
        self.values.update(zip(names, values, strict=True))
        self._shaken.update(zip(names, shaken, strict=True))
        return names

    def _run(self, node: onnx.NodeProto, feeds: Sequence[dict[str, Array]]) -> list[list[Array]]:
        read = [n for n in dict.fromkeys(node.input) if n]
        given = [n for n in read if n in self.values]
        infos = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(self.values[n].dtype), self.shape(n))
            for n in given
        ]
        stored = [numpy_helper.from_array(self.constants[n], n) for n in read if n in self.constants]
        results = [helper.make_empty_tensor_value_info(n) for n in node.output]
        graph = helper.make_graph([node], "node", infos, results, stored)
        session = session_of(helper.make_model(graph, opset_imports=self._opsets(node.domain), ir_version=8))
        return [session.run(list(node.output), {n: feed[n] for n in given}) for feed in feeds]

    def _opsets(self, *domains: str) -> list[onnx.OperatorSetIdProto]:
        return [helper.make_opsetid("", self.opset), *(helper.make_opsetid(d, 1) for d in domains if d)]

    def model(self, outputs: Sequence[str], as_nodes: Sequence[str] = ()) -> onnx.ModelProto:
        """The ONNX model; the constants ``as_nodes`` are written by Constant nodes, the others are initialisers."""
        nodes = [
            helper.make_node("Constant", [], [n], name=f"{n}/node", value=numpy_helper.from_array(self.constants[n]))
            for n in as_nodes
        ]
        stored = [numpy_helper.from_array(v, n) for n, v in self.constants.items() if n not in as_nodes]
        infos = [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape("x"))]
        if self.ir_version < 4:
            infos += [helper.make_tensor_value_info(i.name, i.data_type, i.dims) for i in stored]
        results = [
            helper.make_tensor_value_info(
                n, helper.np_dtype_to_tensor_dtype(self.values[n].dtype), self.values[n].shape
            )
            for n in outputs
        ]
        graph = helper.make_graph([*nodes, *self.nodes], "fuzz", infos, results, stored)
        return helper.make_model(graph, opset_imports=self._opsets(*self.domains), ir_version=self.ir_version)


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A silent session of one thread."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _is_fit(value: Array, shaken: Array) -> bool:
    if not isinstance(value, np.ndarray) or not 0 < value.size <= LARGEST_TENSOR or value.shape != shaken.shape:
        return False
    if value.dtype.kind != "f":
        return bool((value == shaken).all())
    if not np.isfinite(value).all() or np.abs(value).max() > LARGEST_VALUE:
        return False
    return bool(np.abs(value - shaken).max() <= 1e-5 * _SLOPE * max(1.0, float(np.abs(value).max())))
