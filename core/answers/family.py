"""What a family of networks has to offer: recognition by shapes and names, and a decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.kind import Kind
from multigraft.answers.placement import Placement
from multigraft.tensors.arrays import Float32Array

Shape = tuple[int, ...]


@runtime_checkable
class Decoded(Protocol):
    """An answer in pixels of the network input."""

    def placed(self, placement: Placement) -> Self:
        """The same in pixels of the frame; what has no place on it returns itself."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Plain data, short enough for a line."""
        ...


Decoder = Callable[[Sequence[Float32Array]], Decoded]
"""From all outputs of one frame, in the shapes and order of the format, to the answer in input pixels.

It copies what it keeps: the outputs are the interpreter's own memory.
"""


def channels_first(output: Float32Array) -> Float32Array:
    """An output of a bundle without its batch axis as its network gave it: maps of a bundle are channels last."""
    return output.transpose(2, 0, 1) if output.ndim == 3 else output


@dataclass(frozen=True)
class Evidence:
    """What is known of a network before it has run.

    Attributes:
        shapes: Of its outputs without the batch axis, channels first as in the original network.
        names: Of its outputs, in the same order.
        size: Height and width of its input, pixels.
        kind: What its task is.
        labels: Names of its classes; empty where none were given.
        metadata: What its file says of itself (exporters write strides, names, keypoint shapes).
        named: Whether the user named the family: it then refuses only what can't be, and otherwise everything that
            may as well be of another family.
    """

    shapes: tuple[Shape, ...]
    names: tuple[str, ...]
    size: tuple[int, int]
    kind: Kind
    labels: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    named: bool = False


@dataclass(frozen=True)
class Family:
    """A row of :data:`multigraft.answers.families.table.FAMILIES`.

    Attributes:
        name: As written in the settings.
        meaning: One sentence for people: which networks, which outputs.
        kinds: Kinds of tasks for which it is looked for when nothing is said.
        recognise: The format, or why the outputs are not of this family (a clause: "output 0 has 5 axes"). Where the
            user names the family it decides what the outputs are; so it refuses only what can't be.
        decoder: Built once per task; raises ConfigurationError where labels or fields of the format do not fit.
        certain: Whether its shapes belong to it alone. A family that is not certain is taken when it is named, and
            else only if no certain one fits.
    """

    name: str
    meaning: str
    kinds: tuple[Kind, ...]
    recognise: Callable[[Evidence], AnswerFormat | str]
    decoder: Callable[[AnswerFormat, tuple[str, ...]], Decoder]
    certain: bool = True
