"""A bundle's golden values as real numbers, and how they lie in the network that the bundle was made of."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.runtime.self_test import read_golden
from multigraft.tensors.arrays import Float32Array
from multigraft.tensors.preprocessing import Preprocessing
from multigraft.tensors.quantisation import dequantise

Axes = tuple[int, ...]
"""Axes of a bundle's tensor in the order in which a network holds them."""
PICTURE: Axes = (0, 3, 1, 2)


def golden_values(bundle: Bundle) -> dict[str, Float32Array]:
    """Tensor to real values, (cases, *shape), of inputs, boundaries and answers.

    Raises:
        BundleError: They are missing or damaged.
    """
    inputs, outputs = read_golden(bundle)
    return {name: dequantise(values, bundle.manifest.tensor(name)) for name, values in (inputs | outputs).items()}


def input_axes(bundle: Bundle, tensor: str) -> Iterator[Axes]:
    """How a network may hold an input: pictures channels first, rows as their shape says."""
    shape = bundle.manifest.tensor(tensor).shape
    source = next(i for i in bundle.manifest.inputs if i.tensor == tensor)
    if isinstance(source.preprocessing, Preprocessing):
        yield PICTURE
        return
    yield from every_axes(shape)


def every_axes(shape: tuple[int, ...]) -> Iterator[Axes]:
    """Every order of axes behind that of the frames, the plain one first."""
    for rest in itertools.permutations(range(1, len(shape))):
        yield (0, *rest)


def likeness(mine: Float32Array, other: Float32Array) -> float:
    """Concordance over all values, -1 to 1; 1 where both are constant.

    Lin (Biometrics 45(1), 1989): a correlation that values of another size or mean lower, too. A network whose pictures
    are prepared otherwise gives values that correlate and mean something else.
    """
    left, right = (np.asarray(a, np.float64).reshape(-1) for a in (mine, other))
    apart = (left.mean() - right.mean()) ** 2 * left.size
    left, right = left - left.mean(), right - right.mean()
    if not left.any() and not right.any():
        return 1.0
    return float(2 * (left @ right) / (left @ left + right @ right + apart))


def best_axes(ours: Float32Array, theirs: Float32Array) -> tuple[Axes, float]:
    """How a network holds what a bundle holds, and how alike both are then.

    Args:
        ours: The bundle's, (cases, 1, ...).
        theirs: The network's, likewise.

    Returns:
        Axes, and the concordance; -1 where no order of axes gives the network's shape.
    """
    shape = ours.shape[1:]
    fitting: Mapping[Axes, float] = {
        axes: likeness(ours.transpose(0, *(a + 1 for a in axes)), theirs)
        for axes in every_axes(shape)
        if tuple(shape[a] for a in axes) == theirs.shape[1:]
    }
    if not fitting:
        return tuple(range(len(shape))), -1.0
    return max(fitting.items(), key=lambda item: item[1])
