"""Similarity of networks on unlabeled frames: every cut point's representation, streamed into CKA sums.

All networks see the same frames, each through its own preprocessing. Frames are shuffled once with a fixed seed: the
minibatch estimator compares frames within a minibatch, so each has to be a sample of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.frames import Frame, Frames
from multigraft.converters.network.network import Network
from multigraft.errors import UsageError
from multigraft.files import sha256_of
from multigraft.statistics import similarity
from multigraft.statistics.similarity import SimilaritySums, minibatches

MINIBATCH = 128
"""Frames per minibatch where memory allows; the cost of a Gram matrix grows with its square."""

MEMORY_BYTES = 2**30
"""Default bound for representations and Gram matrices together."""

OVERHEAD = 1.5
"""Memory while a minibatch runs over that of its representations: onnxruntime's tensors between them."""

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SimilarityTable:
    """CKA between all cut points of all networks.

    Calling it with two cut point names gives their unbiased CKA.

    Attributes:
        networks: Names, in order.
        cut_points: Names (``network/tensor``), network by network from input to output.
        unbiased: cut points x cut points, -1..1; 0 in the mean for independent representations.
        biased: The same with the biased estimator for this minibatch size, 0..1.
        frames: Number of frames.
        minibatch: Frames per minibatch (the largest).
        is_pooled: Whether representations were averaged over space before comparing.
    """

    networks: tuple[str, ...]
    cut_points: tuple[str, ...]
    unbiased: Matrix
    biased: Matrix
    frames: int
    minibatch: int
    is_pooled: bool = False

    @classmethod
    def from_sums(cls, networks: Sequence[str], sums: SimilaritySums, minibatch: int, is_pooled: bool = False) -> Self:
        """The table of sums whose taps are ``network/tensor``."""
        return cls(
            tuple(networks),
            sums.taps,
            sums.unbiased_cka(),
            sums.biased_cka(),
            sums.frames,
            minibatch,
            is_pooled,
        )

    @classmethod
    def empty(cls, networks: Sequence[str], frames: int) -> Self:
        """The table of networks of which none has a cut point."""
        return cls(tuple(networks), (), np.zeros((0, 0)), np.zeros((0, 0)), frames, 0)

    def __call__(self, a: str, b: str) -> float:
        """Unbiased CKA of two cut points; 0 for a name that is none."""
        return self._value(self.unbiased, a, b)

    def biased_between(self, a: str, b: str) -> float:
        """Biased CKA of two cut points; 0 for a name that is none."""
        return self._value(self.biased, a, b)

    def points_of(self, network: str) -> tuple[str, ...]:
        """The cut points of one network."""
        return tuple(p for p in self.cut_points if p.startswith(f"{network}/"))

    def between(self, a: str, b: str) -> Matrix:
        """Unbiased CKA, cut points of network ``a`` x cut points of network ``b``."""
        return self._block(self.unbiased, a, b)

    def to_json(self) -> dict[str, Any]:
        """Plain data; matrices as lists of rows, rounded to 6 digits."""
        return {
            "networks": list(self.networks),
            "cut_points": list(self.cut_points),
            "frames": self.frames,
            "minibatch": self.minibatch,
            "pooled": self.is_pooled,
            "unbiased_cka": np.round(self.unbiased, 6).tolist(),
            "biased_cka": np.round(self.biased, 6).tolist(),
        }

    def _value(self, matrix: Matrix, a: str, b: str) -> float:
        if a not in self.cut_points or b not in self.cut_points:
            return 0.0
        return float(matrix[self.cut_points.index(a), self.cut_points.index(b)])

    def _block(self, matrix: Matrix, a: str, b: str) -> Matrix:
        rows, columns = ([self.cut_points.index(p) for p in self.points_of(n)] for n in (a, b))
        block: Matrix = matrix[np.ix_(rows, columns)]
        return block


def union_of(frames: Mapping[str, Frames], most: int | None = None) -> list[Frame]:
    """The frames of all tasks, each once, taken from the tasks in turn.

    Args:
        frames: Task to its frames; tasks may share frames.
        most: Stop at this number.
    """
    seen: set[str] = set()
    union: list[Frame] = []
    for position in range(max((len(f) for f in frames.values()), default=0)):
        for of_task in frames.values():
            if position >= len(of_task) or (most is not None and len(union) >= most):
                continue
            frame = of_task[position]
            digest = sha256_of(repr(frame.shape).encode() + np.ascontiguousarray(frame).tobytes())
            if digest not in seen:
                seen.add(digest)
                union.append(frame)
    return union


def by_frames(networks: Sequence[Network]) -> list[list[Network]]:
    """The networks in groups that one frame can serve: pictures, and rows of each shape."""
    groups: list[list[Network]] = []
    for network in networks:
        group = next((g for g in groups if g[0].sees_frames_of(network)), None)
        if group is None:
            groups.append([network])
        else:
            group.append(network)
    return groups


def joined(tables: Sequence[SimilarityTable], networks: Sequence[Network]) -> SimilarityTable:
    """One table of several, whose networks see other frames and so are alike to nothing in another table.

    Args:
        tables: One per group of :func:`by_frames`.
        networks: All, in the order of the result.
    """
    if len(tables) == 1:
        return tables[0]
    points = [p for n in networks for table in tables for p in table.points_of(n.name)]
    unbiased, biased = (np.zeros((len(points), len(points))) for _ in range(2))
    for table in tables:
        places = np.ix_(*([points.index(p) for p in table.cut_points],) * 2)
        unbiased[places], biased[places] = table.unbiased, table.biased
    return SimilarityTable(
        tuple(n.name for n in networks),
        tuple(points),
        unbiased,
        biased,
        max(t.frames for t in tables),
        max(t.minibatch for t in tables),
        tables[0].is_pooled,
    )


def measure_similarity(
    networks: Sequence[Network],
    frames: Frames,
    *,
    memory_bytes: int = MEMORY_BYTES,
    minibatch: int = MINIBATCH,
    is_pooled: bool = False,
    seed: int = 0,
    report: Report = silent,
) -> SimilarityTable:
    """Unbiased and biased CKA between all cut points of all networks.

    Args:
        networks: With distinct names; one without cut points has no part in it.
        frames: At least 4; see :func:`union_of` where tasks have frames of their own.
        memory_bytes: Bound for one network's representations of a minibatch and all Gram matrices; the minibatch is
            made smaller to keep it.
        minibatch: Frames per minibatch at most.
        is_pooled: Average representations over space first: cheaper, and blind to where something is.
        seed: That of the order of the frames.
        report: Takes a line for each minibatch.

    Raises:
        UsageError: Too few frames, or not even 4 frames fit in ``memory_bytes``.
        InputError: A network gives NaN or infinity, or a frame has the wrong shape.
    """
    names = [n.name for n in networks]
    networks = [n for n in networks if n.cut_points]
    if not networks:
        return SimilarityTable.empty(names, len(frames))
    taps = [p.name for n in networks for p in n.cut_points]
    size = min(minibatch, largest_minibatch(networks, memory_bytes, is_pooled))
    order = np.random.default_rng(seed).permutation(len(frames))
    sums = SimilaritySums(taps)
    sessions = [_tapped(n) for n in networks]
    parts = minibatches(len(frames), size)
    for index, part in enumerate(parts, 1):
        report(f"compare representations ({index} of {len(parts)})")
        sums.add(_representations(networks, sessions, [frames[i] for i in order[part]], is_pooled))
    largest = max(p.stop - p.start for p in parts)
    return SimilarityTable.from_sums(names, sums, largest, is_pooled)


def largest_minibatch(networks: Sequence[Network], memory_bytes: int, is_pooled: bool = False) -> int:
    """Most frames whose representations and Gram matrices fit into ``memory_bytes``.

    Raises:
        UsageError: Fewer than 4 do.
    """
    taps = sum(len(n.cut_points) for n in networks)
    per_frame = max(4 * _elements(n) * (OVERHEAD if n.is_batched else 2) for n in networks)
    size = similarity.MIN_BATCH
    while (needed := size * per_frame + similarity.working_bytes(taps, size)) <= memory_bytes:
        size += 1
    if size == similarity.MIN_BATCH:
        remedy = "allow more" if is_pooled else "allow more, or average representations over space"
        raise UsageError(
            f"comparing {taps} representations needs {needed / 2**20:.1f} MiB, more than {memory_bytes / 2**20:.1f}",
            remedy,
        )
    return size - 1


def _elements(network: Network) -> int:
    """How many values one frame has in the input and all representations."""
    return sum(int(np.prod(shape)) for shape in (network.input_shape, *(p.shape for p in network.cut_points)))


def _representations(
    networks: Sequence[Network], sessions: Sequence[ort.InferenceSession], frames: Frames, is_pooled: bool
) -> Iterator[npt.NDArray[Any]]:
    for network, session in zip(networks, sessions, strict=True):
        x = network.prepare(frames)
        if network.is_batched:
            values = session.run(None, {network.input: x})
        else:
            singles = [session.run(None, {network.input: row[None]}) for row in x]
            values = [np.concatenate(rows) for rows in zip(*singles, strict=True)]
            del singles
        del x
        while values:
            value: npt.NDArray[Any] = values.pop(0)
            if is_pooled and value.ndim > 2:
                value = value.mean(axis=tuple(range(2, value.ndim)), dtype=np.float32)
            yield value


def _tapped(network: Network) -> ort.InferenceSession:
    """A session that gives all cut points and returns its memory after each run: the default arena keeps the peak."""
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=p.name) for p in network.cut_points)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
