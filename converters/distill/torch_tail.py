"""A tail of ONNX nodes as a differentiable PyTorch function, so that its weights can be trained and put back."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.converters.distill.torch_operators import OPERATORS, Call, Tensor
from multigraft.converters.graft.tail import Tail
from multigraft.errors import MissingDependencyError, UnsupportedOperatorError
from multigraft.installing import how_missing, install_extra, repair

TRAINED_INPUTS = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (0, 1),
    "BatchNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "PRelu": (1,),
}
"""Which constant inputs are weights; others (box anchors, scales, normalisation) stay as they are."""


def import_torch() -> Any:
    """The torch module.

    Raises:
        MissingDependencyError: PyTorch is not installed.
    """
    try:
        return importlib.import_module("torch")
    except Exception as error:
        raise MissingDependencyError(
            f"distillation needs torch, which is {how_missing(error)}",
            repair(error, f"leave refine off, or {install_extra('torch')}"),
        ) from error


class TorchTail:
    """Runs a tail's nodes in PyTorch on the CPU.

    Attributes:
        parameters: Trainable weights by constant name: float32 leaf tensors that require gradients.

    Args:
        tail: The target's own part of a graft.

    Raises:
        UnsupportedOperatorError: A node has no PyTorch function here; the message names it.
        MissingDependencyError: PyTorch is not installed.
    """

    def __init__(self, tail: Tail) -> None:
        self._torch = import_torch()
        self._tail = tail
        for node in tail.nodes:
            if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
                raise UnsupportedOperatorError(
                    f"{node.op_type} {node.name or node.output[0]!r} cannot be trained",
                    "leave refine off for this task",
                )
        names = _trained_names(tail)
        tensors = {k: self._torch.from_numpy(np.array(v)) for k, v in tail.constants.items()}
        self.parameters: dict[str, Tensor] = {k: tensors[k].requires_grad_() for k in names}
        self._constants = tensors
        self._caches: list[dict[Any, Tensor]] = [{} for _ in tail.nodes]
        self._last_use = {name: i for i, node in enumerate(tail.nodes) for name in node.input}

    def __call__(self, features: Tensor) -> list[Tensor]:
        """The target's outputs for the donor's features (frames, *shape).

        Raises:
            UnsupportedOperatorError: A node uses an attribute that has no PyTorch counterpart here.
        """
        if self._tail.batch > 1:
            return self._run(features)
        parts = [self._run(features[i : i + 1]) for i in range(len(features))]
        return [self._torch.cat(output) for output in zip(*parts, strict=True)]

    def _run(self, features: Tensor) -> list[Tensor]:
        live: dict[str, Tensor] = {self._tail.source: features}
        for index, node in enumerate(self._tail.nodes):
            inputs = [(live[i] if i in live else self._constants[i]) if i else None for i in node.input]
            call = Call(self._torch, node, inputs, self._tail.constants, self._tail.opset, self._caches[index])
            made = OPERATORS[node.op_type](call)
            outputs: Sequence[Tensor] = made if isinstance(made, list) else [made]
            live.update((name, y) for name, y in zip(node.output, outputs, strict=False) if name)
            for name in [n for n in node.input if n in live and n not in self._tail.outputs]:
                if self._last_use[name] == index:
                    live.pop(name, None)
        return [live[o] for o in self._tail.outputs]

    def values(self) -> dict[str, npt.NDArray[np.float32]]:
        """Copies of the trainable weights."""
        return {k: v.detach().numpy().copy() for k, v in self.parameters.items()}


def with_weights(tail: Tail, weights: dict[str, npt.NDArray[np.float32]]) -> Tail:
    """The tail with some of its constants replaced."""
    return dataclasses.replace(tail, constants={**tail.constants, **weights})


def _trained_names(tail: Tail) -> list[str]:
    trainable: dict[str, None] = {}
    products: set[str] = set()
    for node in tail.nodes:
        positions: tuple[int, ...] = TRAINED_INPUTS.get(node.op_type, ())
        if node.op_type == "MatMul":
            products.add(node.output[0])
        if node.op_type == "Add" and products & set(node.input):
            positions = (0, 1)  # The bias of a fully connected layer that was exported as MatMul and Add.
        for position in positions:
            name = node.input[position] if position < len(node.input) else ""
            if name in tail.constants and tail.constants[name].dtype == np.float32:
                trainable[name] = None
    return list(trainable)
