"""What remains of a grafted target behind the donor's tensor, as nodes that can be run and put into a larger graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.converters.network.network import Array, Network, model_of, session_of


@dataclass(frozen=True)
class Tail:
    """What remains of the target behind the donor's tensor: adapter nodes, then its own layers.

    Attributes:
        source: The donor's tensor (in the donor's naming).
        nodes: In order.
        constants: Weights by name; those the refit made and those kept from the original.
        outputs: The target's output tensors.
        opset: The nodes' version of the operator set.
        batch: Frames it runs at once.
    """

    source: str
    nodes: tuple[onnx.NodeProto, ...]
    constants: dict[str, npt.NDArray[Any]]
    outputs: tuple[str, ...]
    opset: int
    batch: int = 1

    def run(self, features: Array) -> list[npt.NDArray[Any]]:
        """The target's outputs from the donor's features (frames, *shape)."""
        graph = onnx.helper.make_graph(
            list(self.nodes),
            "tail",
            [onnx.helper.make_tensor_value_info(self.source, onnx.TensorProto.FLOAT, [None] * features.ndim)],
            [onnx.ValueInfoProto(name=o) for o in self.outputs],
            [onnx.numpy_helper.from_array(v, k) for k, v in self.constants.items()],
        )
        session = session_of(model_of(graph, self.opset), "graft")
        parts = [
            session.run(list(self.outputs), {self.source: features[i : i + self.batch]})
            for i in range(0, len(features), self.batch)
        ]
        return [np.concatenate([p[k] for p in parts]) for k in range(len(self.outputs))]


def tail_of(
    nodes: tuple[onnx.NodeProto, ...] | list[onnx.NodeProto],
    constants: dict[str, npt.NDArray[Any]],
    source: str,
    target: Network,
    outputs: tuple[str, ...] | None = None,
) -> Tail:
    """The tail of these nodes, with those of the constants that it reads."""
    used = {i for n in nodes for i in n.input}
    return Tail(
        source,
        tuple(nodes),
        {k: v for k, v in constants.items() if k in used},
        target.outputs if outputs is None else outputs,
        target.opset,
        target.batch,
    )


def renamed_input(
    nodes: tuple[onnx.NodeProto, ...] | list[onnx.NodeProto], old: str, new: str
) -> tuple[onnx.NodeProto, ...]:
    """Copies of ``nodes`` that read ``new`` where they read ``old``."""
    renamed = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [new if i == old else i for i in node.input]
        renamed.append(copy)
    return tuple(renamed)
