"""Where the trunk of networks of many branches ends: a set of tensors, in place of the one of a cut point."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from multigraft.converters.network.network import CutPoint

NAMED = 4
"""A label names so many tensors; of more it names all but the last of these, and says how many are left."""


@dataclass(frozen=True)
class Frontier(CutPoint):
    """Tensors that all that a network does not share reads, and nothing else of what it shares.

    ``shape`` is that of the first tensor, ``node_index`` that of the last node that is shared; ``weights`` and ``macs``
    are those of every node that leads to the tensors.

    Attributes:
        tensors: ONNX tensor names, which start with the network's.
        shapes: Of each, without the batch.
    """

    tensors: tuple[str, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()

    @property
    def label(self) -> str:
        """The tensors' names in the file they came from."""
        names = [name.split("/", 1)[1] for name in self.tensors]
        if len(names) > NAMED:
            names[NAMED - 1 :] = [f"{len(names) - NAMED + 1} more"]
        return " + ".join(names)


def tensors_of(point: CutPoint) -> tuple[str, ...]:
    """The tensors at a point where networks are joined: one, or those of a frontier."""
    return point.tensors if isinstance(point, Frontier) else (point.name,)


def shapes_of(point: CutPoint) -> dict[str, tuple[int, ...]]:
    """The shape of each of :func:`tensors_of`."""
    return (
        dict(zip(point.tensors, point.shapes, strict=True))
        if isinstance(point, Frontier)
        else {point.name: point.shape}
    )


def with_shapes(point: CutPoint, shapes: Mapping[str, tuple[int, ...]]) -> CutPoint:
    """The point with its tensors' shapes looked up anew, of a network with other channels."""
    if isinstance(point, Frontier):
        found = tuple(shapes[name] for name in point.tensors)
        return dataclasses.replace(point, shape=found[0], shapes=found)
    return dataclasses.replace(point, shape=shapes[point.name])
