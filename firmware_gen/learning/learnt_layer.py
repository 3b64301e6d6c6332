"""The layer that a board solves anew, in numpy: what ``learn.h`` computes, bit for bit.

The layer's weights are w, a row a class; x are its inputs less their zero point, a 1 behind them for the bias. For a
frame of class c the sum of row r is to be a number that wins where r is c, and one that loses elsewhere; what it lacks
is the frame's residue. The change of the weights that makes the squares of all residues least, and is small itself,
solves ``(sum of x x' + ridge) change = sum of x residue'``. Both sums are whole numbers, so that no order of frames
changes them. Frames without a label, of classes that were known before, have no residue: they are in the first sum
alone, and hold the answers on what is like them where they were.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np

from multigraft.errors import InputError, UsageError
from multigraft.firmware_gen.arithmetic.accumulators import Layer, dense_layer, exact_rows
from multigraft.firmware_gen.arithmetic.fixed_point import quantize_multiplier, rescale
from multigraft.firmware_gen.arithmetic.requantise import Rescaling
from multigraft.firmware_gen.learning.last_layer import Known, Learning, chain_of, reals_of, targets_of
from multigraft.firmware_gen.program.program import Program
from multigraft.firmware_gen.project.project import ProjectLearning
from multigraft.serial_protocol import KEEP
from multigraft.tensors.arrays import Array

MOST_FRAMES = (2**31 - 1) // 255**2
"""33,025: no sum of products of int8 values less their zero point goes beyond 32 bits."""
RIDGE = 2.0**-12
"""Of the mean square of a feature, added to each."""
_SMALLEST, _LARGEST = 2.0**-60, 2.0**60
_LARGEST_PIVOT = 2.0**1000


@dataclass(frozen=True)
class Learner:
    """The layer as it is generated, and what it is to learn.

    Attributes:
        task: Number of the task.
        output: The tensor that the layer writes.
        layer: Its weights, biases (for raw inputs) and scales, with rows for the classes to come.
        before: Classes that the network knows.
        targets: int64, classes x 2: what a class's sum is to be where it is the frame's, and where it is not.
        reals: float64, per class: by which its sum is scaled.
        known: Sums over frames of known classes; None for none.
    """

    task: int
    output: str
    layer: Layer
    before: int
    targets: Array
    reals: Array
    known: Known | None

    @property
    def classes(self) -> int:
        return len(self.layer.weights)

    @property
    def features(self) -> int:
        return int(self.layer.weights.shape[1])

    @property
    def sums_bytes(self) -> int:
        """Bytes of the sums: residues of 64 bits, then products and frames of each class, of 32."""
        n = self.features + 1
        return 8 * self.classes * n + 4 * triangle(n) + 4 * self.classes

    @property
    def layer_bytes(self) -> int:
        """Bytes of the layer that answers: per class bias, multiplier and shift, int32 each, then the weights."""
        return self.classes * (12 + self.features)

    @property
    def ram_bytes(self) -> int:
        """RAM beside the arena: sums, the layer, a frame's features, and what tells where they are."""
        return self.sums_bytes + self.layer_bytes + self.features + 100

    @property
    def solving_bytes(self) -> int:
        """Of the arena, while it is solved: the triangle and a column, as doubles, aligned to 8."""
        n = self.features + 1
        return 8 * (triangle(n) + n) + 8

    @property
    def known_bytes(self) -> int:
        """Flash of the sums over known frames."""
        return 0 if self.known is None else int(self.known.products.size) * 4

    @property
    def identity(self) -> int:
        """CRC-32 of the layer as generated and what it knows: sums belong to firmware of the same."""
        layer, known = self.layer, self.known
        numbers = (self.task, self.before, layer.input_zero_point, layer.low, layer.high, known.frames if known else 0)
        parts = [np.array(numbers, "<i8"), layer.weights.astype(np.int8), exact_rows(layer), self.targets.astype("<i8")]
        parts += [] if known is None else [known.products.astype("<i4")]
        return zlib.crc32(b"".join(part.tobytes() for part in parts))

    @property
    def told(self) -> ProjectLearning:
        """What the project says of it."""
        frames = 0 if self.known is None else self.known.frames
        return ProjectLearning(
            self.task, self.classes, self.features, self.ram_bytes, self.solving_bytes, frames
        )  # fmt: skip


def learner_of(program: Program, learning: Learning, before: int) -> Learner:
    """The learner of a program whose last layer has room.

    Args:
        program: Widened, and pruned.
        learning: What is learnt.
        before: Classes that the network had.
    """
    place = chain_of(program, learning)[0]
    node = program.steps[place].node
    layer = dense_layer(node)
    if learning.known is not None and learning.known.products.size != triangle(layer.weights.shape[1] + 1):
        raise UsageError("the sums over known frames are of another model", "compute them of this one")
    names = [t.name for t in program.tasks]
    task = names.index(learning.task) if learning.task else 0
    return Learner(
        task, node.written, layer, before, targets_of(node, learning), reals_of(node), learning.known
    )  # fmt: skip


def triangle(rows: int) -> int:
    """Numbers in so many rows of a lower triangle."""
    return rows * (rows + 1) // 2


def products_of(features: Array, zero_point: int) -> Array:
    """int32: sums of products over frames, the rows of the lower triangle; ``features``: int8, frames x features."""
    x = _with_one(features, zero_point)
    return np.asarray((x.T @ x)[np.tril_indices(x.shape[1])], np.int32)


def _with_one(features: Array, zero_point: int) -> Array:
    ones = np.ones((len(features), 1), np.int64)
    return np.concatenate([features.astype(np.int64) - zero_point, ones], axis=1)


class LearntLayer:
    """The layer as it answers now, and the sums that it is solved from.

    Args:
        learner: As generated.
    """

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.forget()

    def forget(self) -> None:
        """Forget all that was learnt: the layer is as it was generated."""
        n = self.learner.features + 1
        self.residues = np.zeros((self.learner.classes, n), np.int64)
        self.products = np.zeros(triangle(n), np.int32)
        self.counts = np.zeros(self.learner.classes, np.int32)
        self.layer = self.learner.layer

    @property
    def task(self) -> int:
        """Number of the task."""
        return self.learner.task

    @property
    def classes(self) -> int:
        return self.learner.classes

    @property
    def features(self) -> int:
        return self.learner.features

    @property
    def most_frames(self) -> int:
        """That the sums can take."""
        return MOST_FRAMES

    @property
    def identity(self) -> int:
        """Of the layer as generated and what it knows."""
        return self.learner.identity

    @property
    def is_solved(self) -> bool:
        """Whether the layer that answers was solved."""
        return self.layer is not self.learner.layer

    @property
    def frames(self) -> int:
        """Frames in the sums, with a label or without."""
        return int(self.products[-1])

    def learn(self, features: Array, label: int) -> None:
        """Add a frame.

        Args:
            features: int8, what the layer receives.
            label: Its class, or :data:`~multigraft.serial_protocol.KEEP`.

        Raises:
            InputError: There is no such class, or the sums can take no more frames.
        """
        learner = self.learner
        if label != KEEP and not 0 <= label < learner.classes:
            raise InputError(f"there is no class {label}", f"choose from 0 to {learner.classes - 1}")
        if self.frames >= MOST_FRAMES:
            raise InputError(f"the sums hold {MOST_FRAMES} frames and can take no more", "solve and begin anew")
        x = _with_one(features.reshape(1, -1), learner.layer.input_zero_point)[0]
        self.products += np.outer(x, x)[np.tril_indices(len(x))].astype(np.int32)
        if label == KEEP:
            return
        given = learner.layer.weights.astype(np.int64) @ features.reshape(-1).astype(np.int64) + learner.layer.bias
        wanted = np.where(np.arange(learner.classes) == label, learner.targets[:, 0], learner.targets[:, 1])
        self.residues += np.outer(wanted - given, x)
        self.counts[label] += 1

    def solve(self) -> None:
        """Solve the layer from the sums.

        Raises:
            InputError: No frame with a label was learnt, or the sums are none of frames; the layer is then as it was
                generated.
        """
        self.layer = self.learner.layer
        rows: list[tuple[Array, int, Rescaling]] = []
        if self.counts.astype(np.int64).sum() > 0 and (factor := self._factor()) is not None:
            for number in range(self.learner.classes):
                change = _substituted(factor, self.residues[number].astype(np.float64))
                row = self._class(number, change)
                if row is None:
                    break
                rows.append(row)
        if len(rows) < self.learner.classes:
            raise InputError("nothing can be solved from the sums", "learn frames with a label first")
        weights = np.stack([row[0] for row in rows])
        bias = np.array([row[1] for row in rows], np.int64)
        bias -= self.learner.layer.input_zero_point * weights.astype(np.int64).sum(axis=1)
        self.layer = replace(self.learner.layer, weights=weights, bias=bias, rescalings=tuple(row[2] for row in rows))

    def answer(self, features: Array) -> Array:
        """int8, frames x classes, of int8 features, frames x features."""
        sums = features.astype(np.int64) @ self.layer.weights.astype(np.int64).T + self.layer.bias
        multipliers = np.array([r.multiplier for r in self.layer.rescalings])
        shifts = np.array([r.shift for r in self.layer.rescalings])
        scaled = rescale(sums, multipliers, shifts) + self.layer.rescalings[0].zero_point
        return np.clip(scaled, self.layer.low, self.layer.high).astype(np.int8)

    def sums(self) -> bytes:
        """The sums as the board holds them."""
        parts = (self.residues.astype("<i8"), self.products.astype("<i4"), self.counts.astype("<i4"))
        return b"".join(part.tobytes() for part in parts)

    def put_back(self, sums: bytes) -> None:
        """Replace the sums by some that :meth:`sums` gave; :meth:`solve` then gives the layer that they give."""
        learner = self.learner
        residues, n = 8 * self.residues.size, learner.features + 1
        self.residues = np.frombuffer(sums[:residues], "<i8").reshape(learner.classes, n).astype(np.int64)
        words = np.frombuffer(sums[residues:], "<i4").astype(np.int32)
        self.products, self.counts = words[: triangle(n)].copy(), words[triangle(n) :].copy()

    def stored_layer(self) -> bytes:
        """The layer as the board holds it."""
        return exact_rows(self.layer).tobytes() + self.layer.weights.astype(np.int8).tobytes()

    def _factor(self) -> Array | None:
        """L and D of L D L', in one square, D on the diagonal; None where there is no such matrix."""
        learner, n = self.learner, self.learner.features + 1
        held = self.products.astype(np.float64)
        if learner.known is not None:
            counts = self.counts.astype(np.int64)
            learnt = int(np.count_nonzero(counts))
            weight = float(int(counts.sum()) * learner.before) / float(learnt * learner.known.frames)
            held = held + weight * learner.known.products.astype(np.float64)
        a = np.zeros((n, n))
        a[np.tril_indices(n)] = held
        mean = 0.0
        for square in np.diag(a)[:-1].tolist():
            mean += square
        ridge = mean / learner.features * RIDGE
        a[np.diag_indices(n)] += np.array([ridge] * learner.features + [RIDGE])
        for k in range(n):
            pivot = a[k, k]
            if not 0.0 < pivot < _LARGEST_PIVOT:
                return None
            column = a[k + 1 :, k].copy()
            ratios = column / pivot
            a[k + 1 :, k + 1 :] -= np.outer(ratios, column)
            a[k + 1 :, k] = ratios
        return a

    def _class(self, number: int, change: Array) -> tuple[Array, int, Rescaling] | None:
        """Weights, bias and scale of a class: those of before, and what is added to them."""
        learner = self.learner
        before = learner.layer.weights[number].astype(np.int64)
        offset = int(learner.layer.bias[number]) + learner.layer.input_zero_point * int(before.sum())
        wanted = before.astype(np.float64) + change[:-1]
        bias = float(offset) + float(change[-1])
        if not (np.all(np.abs(wanted) < _LARGEST) and abs(bias) < _LARGEST):
            return None
        unit = max(float(np.abs(wanted).max()) / 127.0, abs(bias) * 2.0**-30)
        unit = 1.0 if unit < _SMALLEST else unit
        multiplier, shift = quantize_multiplier(float(learner.reals[number]) * unit)
        if shift > 30:
            return None
        weights = np.clip(_rounded(wanted / unit), -127, 127).astype(np.int8)
        return weights, int(_rounded(np.array([bias / unit]))[0]), replace(
            learner.layer.rescalings[number], multiplier=multiplier, shift=shift
        )  # fmt: skip


def _rounded(x: Array) -> Array:
    """To the nearest whole numbers, halves away from zero."""
    return np.asarray(np.trunc(np.where(x < 0, x - 0.5, x + 0.5)), np.int64)


def _substituted(factor: Array, right: Array) -> Array:
    """What solves L D L' x = right; each number is made of the same operations in the same order as on the board."""
    y: Array = right.copy()
    for k in range(len(y)):
        y[k + 1 :] -= factor[k + 1 :, k] * y[k]
    y /= np.diag(factor)
    for k in range(len(y) - 1, 0, -1):
        y[:k] -= factor[k, :k] * y[k]
    return y
