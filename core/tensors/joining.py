"""How an output of a network is put together again from tensors that have a scale each.

A detector joins boxes of 0 to 640 and scores of 0 to 1 in one tensor; in 8 bits with one scale the scores are gone. So
the network ends before the join, and whoever wants its output joins real numbers. What is to be done is a list of
steps for a stack: a part is put on it, and each other step puts what it makes in the place of what it takes. A list
has no depth, so that nothing that comes from a stranger is ever walked into.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from multigraft.tensors.arrays import Array, Float32Array
from multigraft.tensors.quantisation import dequantise
from multigraft.tensors.specs import TensorSpec

MOST_STEPS = 512
"""A YOLO of three sizes has 16."""

MOST_ELEMENTS = 1 << 27
"""Of what a step makes; a hostile list that joins one part again and again would grow without it."""

_MOST_AXES = 8

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """Puts the real numbers of a tensor on the stack."""

    tensor: str
    kind: Literal["part"] = "part"


@dataclass(frozen=True)
class Concatenate:
    """Takes the last ``count`` arrays and joins them along ``axis``, the one put there first in front."""

    axis: int
    count: int
    kind: Literal["concatenate"] = "concatenate"


@dataclass(frozen=True)
class Reshape:
    """Takes the last array; the same elements in the same order have another shape."""

    shape: tuple[int, ...]
    kind: Literal["reshape"] = "reshape"


@dataclass(frozen=True)
class Transpose:
    """Takes the last array; axis ``i`` of the result is its axis ``order[i]``."""

    order: tuple[int, ...]
    kind: Literal["transpose"] = "transpose"


Step = Part | Concatenate | Reshape | Transpose


@dataclass(frozen=True)
class Joined:
    """One output of the original network, made of tensors that segments write.

    Attributes:
        name: As the original network calls it.
        steps: What makes it, in the layout of the bundle; a single part is the tensor as it is.
    """

    name: str
    steps: tuple[Step, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """The tensors it is made of, each once, in the order in which they are put together."""
        return tuple(dict.fromkeys(step.tensor for step in self.steps if isinstance(step, Part)))

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """The shape of the output, batch axis first.

        Args:
            shapes: Of the parts.

        Raises:
            ValueError: The steps do not fit each other or the shapes; the message says which.
        """
        if len(self.steps) > MOST_STEPS:
            raise ValueError(f"{self.name} is joined in {len(self.steps)} steps and {MOST_STEPS} are the most")
        stack: list[Shape] = []
        for number, step in enumerate(self.steps):
            made = _shape_of(step, stack, shapes)
            if made is None or math.prod(made) > MOST_ELEMENTS:
                raise ValueError(f"step {number} of joining {self.name} does not fit what is to be joined")
            stack.append(made)
        if len(stack) != 1 or stack[0][:1] != (1,):
            raise ValueError(f"the steps of joining {self.name} do not end in one output with a batch of 1")
        return stack[0]

    def __call__(self, values: Mapping[str, Float32Array]) -> Float32Array:
        """The output as real numbers, batch axis first.

        Args:
            values: Part to its real numbers; checked before by :meth:`shape`.
        """
        stack: list[Float32Array] = []
        for step in self.steps:
            if isinstance(step, Part):
                stack.append(values[step.tensor])
            elif isinstance(step, Concatenate):
                made = np.concatenate(stack[-step.count :], axis=step.axis)
                del stack[-step.count :]
                stack.append(made)
            elif isinstance(step, Reshape):
                stack.append(stack.pop().reshape(step.shape))
            else:
                stack.append(stack.pop().transpose(step.order))
        return stack.pop()

    def __str__(self) -> str:
        return self.formula()

    def formula(self, names: Mapping[str, str] | None = None) -> str:
        """For people: ``concatenate(boxes, scores; axis 1)``.

        Args:
            names: Part to what it is called instead.
        """
        stack: list[str] = []
        for step in self.steps:
            if isinstance(step, Part):
                stack.append((names or {}).get(step.tensor, step.tensor))
            elif isinstance(step, Concatenate):
                made = f"concatenate({', '.join(stack[-step.count :])}; axis {step.axis})"
                del stack[-step.count :]
                stack.append(made)
            elif isinstance(step, Reshape):
                stack.append(f"reshape({stack.pop()}; {' x '.join(map(str, step.shape))})")
            else:
                stack.append(f"transpose({stack.pop()}; {', '.join(map(str, step.order))})")
        return stack.pop()


def joined_outputs(
    joined: Sequence[Joined], tensors: Sequence[TensorSpec], arrays: Sequence[Array]
) -> list[Float32Array]:
    """The outputs of the original network as real numbers, batch axis first, in its order.

    Args:
        joined: How each is made; empty where the tensors are the outputs.
        tensors: What the arrays are.
        arrays: Stored values, in the same order.
    """
    real = [dequantise(array, spec) for spec, array in zip(tensors, arrays, strict=True)]
    if not joined:
        return real
    by_name = {spec.name: value for spec, value in zip(tensors, real, strict=True)}
    return [output(by_name) for output in joined]


def _shape_of(step: Step, stack: list[Shape], shapes: Mapping[str, Shape]) -> Shape | None:
    """The shape of what a step makes, taken off the stack what it takes; None where it does not fit."""
    if isinstance(step, Part):
        shape = shapes.get(step.tensor)
        return shape if shape is not None and 0 < len(shape) <= _MOST_AXES and min(shape) > 0 else None
    if isinstance(step, Concatenate):
        if not 0 < step.count <= len(stack):
            return None
        taken = stack[-step.count :]
        del stack[-step.count :]
        axis, first = step.axis, taken[0]
        rests = {(*shape[:axis], *shape[axis + 1 :]) for shape in taken}
        if not 0 <= axis < len(first) or len(rests) != 1 or any(len(shape) != len(first) for shape in taken):
            return None
        return (*first[:axis], sum(shape[axis] for shape in taken), *first[axis + 1 :])
    if not stack:
        return None
    source = stack.pop()
    if isinstance(step, Reshape):
        is_sound = 0 < len(step.shape) <= _MOST_AXES and min(step.shape) > 0
        return step.shape if is_sound and math.prod(step.shape) == math.prod(source) else None
    return tuple(source[i] for i in step.order) if sorted(step.order) == list(range(len(source))) else None
