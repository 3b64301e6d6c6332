"""A detector's decoder as C data: where its numbers lie, and tables of all that is no sum or product of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.selection import sigmoid
from multigraft.answers.families.mediapipe import MOST_RAW
from multigraft.answers.families.table import decoder_of
from multigraft.answers.family import channels_first
from multigraft.answers.geometry.suppression import CANDIDATES
from multigraft.bundle.manifest import Task
from multigraft.errors import ConfigurationError
from multigraft.firmware_gen.cascades.candidates import (
    PART,
    READERS,
    Block,
    Candidates,
    Change,
    Places,
    least_score,
    same,
)
from multigraft.firmware_gen.kernels.c_text import digest
from multigraft.tensors.arrays import Float32Array
from multigraft.tensors.quantisation import dequantise
from multigraft.tensors.specs import TensorSpec

CANDIDATE_BYTES = 8
_MOST_LEVELS = 64
_FORMS = {"corners": "MG_CORNERS", "sizes": "MG_SIZES", "centres": "MG_CENTRES", "points": "MG_POINTS",
          "distances": "MG_DISTANCES"}  # fmt: skip
_OVERLAPS = {"all": "MG_ALL", "best": "MG_BEST", "mean": "MG_MEAN"}
_NOWHERE = "{-1, 0, 0, 0, 0, 0.0f, {-1, -1}}"
_STORED = np.arange(-128, 128).astype(np.int8)


@dataclass(frozen=True)
class Finder:
    """Finds boxes in the outputs of one detector.

    Attributes:
        task: Of the detector.
        most: Boxes that it finds at most.
        classes: Numbers of classes end before this one.
        capacity: Candidates that are compared at most.
        name: Of the ``mg_finder`` that :attr:`text` defines.
        text: C.
        constant: Tables.
    """

    task: Task
    most: int
    classes: int
    capacity: int
    name: str
    text: str
    constant: bytes


def finder_of(task: Task, specs: Sequence[TensorSpec]) -> Finder:
    """What finds the boxes of a task.

    Args:
        task: A detector with a format of answers.
        specs: Of the tensors that it answers with, in their order.

    Raises:
        ConfigurationError: Firmware does not decode answers of that family, or the format does not fit the outputs.
    """
    answer = task.answer
    covered = ", ".join(READERS)
    if answer is None:
        raise ConfigurationError(
            f"firmware decodes no answers of task {task.name!r}, whose boxes another task looks at",
            f"name its format under [task.answer]: {covered}",
        )
    if answer.family not in READERS:
        raise ConfigurationError(
            f"firmware does not decode {answer.family}, the format of task {task.name!r}, whose boxes another looks at",
            f"firmware decodes: {covered}",
        )
    decoder_of(answer, task.labels)
    outputs = _places(task, specs)
    if [o.shape for o in outputs] != list(answer.shapes):
        raise ConfigurationError(f"the outputs of task {task.name!r} are not of its format", "build the bundle again")
    real = [dequantise(_STORED, spec) for spec in specs]
    read = READERS[answer.family](answer, outputs, real)
    if isinstance(read, str):
        raise ConfigurationError(
            f"firmware does not decode {read}, the format of task {task.name!r}", f"firmware decodes: {covered}"
        )
    return _printed(task, answer, read, specs, real)


def _places(task: Task, specs: Sequence[TensorSpec]) -> list[Places]:
    """The outputs of the original network, each element being the place of what is stored there."""
    for spec in specs:
        if spec.dtype != "int8" or spec.scale is None:
            raise ConfigurationError(
                f"{spec.name!r} of task {task.name!r} is {spec.dtype}, and firmware finds boxes in int8",
                'build the bundle with precision = "int8"',
            )
    # What joins outputs is written for real numbers and only moves them, so that it moves places as well.
    parts: dict[str, Any] = {
        s.name: k * PART + np.arange(int(np.prod(s.shape))).reshape(s.shape) for k, s in enumerate(specs)
    }
    whole = [output(parts) for output in task.joined] or [parts[spec.name] for spec in specs]
    return [np.asarray(channels_first(output[0]), np.int64) for output in whole]


class _Constants:
    """Words of the constants, each table once."""

    def __init__(self) -> None:
        self.data = b""
        self._known: dict[bytes, int] = {}

    def add(self, values: Float32Array) -> int:
        """The place of a table of float32."""
        stored = np.ascontiguousarray(values, np.float32).tobytes()
        if stored not in self._known:
            self._known[stored] = len(self.data) // 4
            self.data += stored
        return self._known[stored]


def _printed(
    task: Task, answer: AnswerFormat, read: Candidates, specs: Sequence[TensorSpec], real: Sequence[Float32Array]
) -> Finder:
    constants = _Constants()
    levels = [level for block in read.blocks for level in _levels(task, answer, read, block, real, specs, constants)]
    classes = read.blocks[0].scores.shape[1]
    cells = sum(len(block.second) for block in read.blocks)
    if len(levels) > (1 if read.peaks else _MOST_LEVELS) or cells * classes >= 1 << 31:
        raise ConfigurationError(f"the outputs of task {task.name!r} are in too many pieces", "build the bundle again")
    count = cells * (classes if read.peaks else 1)
    most, capacity = min(answer.most, count), min(count, CANDIDATES)
    whole = (answer.size[1], answer.size[0])
    sides, edges = whole if read.shares else (1, 1), whole if read.ends else (0, 0)
    body = (
        f"{len(levels)}, {_FORMS[read.form]}, {classes}, {cells}, {capacity}, {int(read.scores == 'logits')}, "
        f"{int(read.peaks)}, {_OVERLAPS[read.overlaps]}, {most}, {_real(answer.score_threshold)}, "
        f"{_real(answer.iou_threshold)}, {_real(sides[0])}, {_real(sides[1])}, "
        f"{_real(edges[0])}, {_real(edges[1])}"
    )
    rows = ",\n".join(levels)
    name = f"finder_{digest(rows + body)}"
    text = (
        f"static const mg_level {name}_levels[] = {{\n{rows},\n}};\n"
        f"static const mg_finder {name} = {{{name}_levels, {body}}};\n"
    )
    return Finder(task, most, classes, capacity, name, text, constants.data)


def _levels(
    task: Task, answer: AnswerFormat, read: Candidates, block: Block, real: Sequence[Float32Array],
    specs: Sequence[TensorSpec], constants: _Constants,
) -> list[str]:  # fmt: skip
    """The ``mg_level`` of each run of candidates of a block that lie evenly in memory."""
    grid = _grid(block, constants)
    if grid is None:
        raise ConfigurationError(f"the cells of task {task.name!r} are on no grid", "build the bundle again")
    told = [block.scores, block.second, *([] if block.first is None else [block.first])]
    told += [] if block.object is None else [block.object[:, None]]
    levels = []
    for start, stop in _runs(np.concatenate(told, axis=1)):
        some = slice(start, stop)
        raw = block.raw_changes or block.changes
        squash: tuple[Change, Change] = (same, _capped if read.overlaps == "mean" else sigmoid)
        first = None if block.first is None else block.first[some]
        fields = [
            _field(block.scores[some], squash, real, specs, constants),
            _NOWHERE if block.object is None else _field(block.object[some, None], squash, real, specs, constants),
            _NOWHERE if first is None else _field(first, (block.changes[0], raw[0]), real, specs, constants),
            _field(block.second[some], (block.changes[1], raw[1]), real, specs, constants),
        ]
        if None in fields:
            raise ConfigurationError(f"boxes of task {task.name!r} lie unevenly in memory", "build the bundle again")
        counted = real[int((block.scores if block.object is None else block.object[:, None])[start, 0]) // PART]
        least = [_least(answer, counted, read.by_share, is_raw) for is_raw in (False, True)]
        below = [-128, -128]
        if not read.scores:
            if not read.object_tells:
                below[0] = _below(real[int(block.scores[start, 0]) // PART])
            if block.object is not None:
                below[1] = _below(real[int(block.object[start]) // PART])
        numbers = ", ".join(map(str, (stop - start, start, *grid[:2])))
        pairs = ", ".join(f"{{{a}, {b}}}" for a, b in (least, below))
        levels.append(
            f"    {{{numbers},\n     " + ",\n     ".join(map(str, fields))
            + f",\n     {pairs}, {', '.join(map(str, grid[2:]))}, {_real(block.stride)}}}"
        )  # fmt: skip
    return levels


def _runs(places: Places) -> list[tuple[int, int]]:
    """Rows from and up to which all places grow evenly, one row after the other."""
    steps = np.diff(places, axis=0)
    runs, start = [], 0
    while start < len(places):
        same_step = (steps[start:] == steps[start : start + 1]).all(axis=1)
        stop = start + 1 + (int(same_step.argmin()) if not same_step.all() else len(same_step))
        runs.append((start, stop))
        start = stop
    return runs


def _field(
    places: Places, changes: tuple[Change, Change], real: Sequence[Float32Array], specs: Sequence[TensorSpec],
    constants: _Constants,
) -> str | None:  # fmt: skip
    """The ``mg_field`` of (n, k) places; None where they do not lie evenly in one tensor."""
    tensor, base = divmod(int(places[0, 0]), PART)
    step = int(places[1, 0] - places[0, 0]) if len(places) > 1 else 0
    onwards = int(places[0, 1] - places[0, 0]) if places.shape[1] > 1 else 0
    rows, columns = np.arange(len(places))[:, None], np.arange(places.shape[1])
    if not np.array_equal(places, tensor * PART + base + rows * step + columns * onwards):
        return None
    tables = [-1 if change is same else constants.add(_quiet(change, real[tensor])) for change in changes]
    spec = specs[tensor]
    scale = np.float32(spec.scale or 0.0)
    return (
        f"{{{tensor}, {base}, {step}, {onwards}, {spec.zero_point}, {_real(float(scale))}, "
        f"{{{tables[0]}, {tables[1]}}}}}"
    )


def _capped(values: Float32Array) -> Float32Array:
    return sigmoid(np.minimum(values, np.float32(MOST_RAW)))


def _quiet(change: Change, values: Float32Array) -> Float32Array:
    with np.errstate(all="ignore"):
        return change(values)


def _least(answer: AnswerFormat, real: Float32Array, by_share: bool, is_raw: bool) -> int:
    """The smallest stored score that reaches the threshold; 128 where none does."""
    if by_share:
        values, least = _quiet(sigmoid, real) if is_raw else real, np.float32(answer.score_threshold)
    else:
        values, least = real, least_score(answer.score_threshold, is_raw)
    return int((values < least).sum()) - 128


def _below(real: Float32Array) -> int:
    """The stored score of which those below say that scores are raw."""
    return int((real < -0.5).sum()) - 128


def _grid(block: Block, constants: _Constants) -> tuple[int, int, int, int, int] | None:
    """Columns, candidates per cell, and places of xs, ys and sides; None where the points are no grid."""
    if block.points is None or block.sides is None:
        return len(block.second), 1, 0, 0, 0
    points, sides = block.points, block.sides
    moves = np.flatnonzero((points != points[0]).any(axis=1))
    each = int(moves[0]) if len(moves) else len(points)
    cells = points[::each]
    falls = np.flatnonzero(cells[:, 1] != cells[0, 1])
    columns = int(falls[0]) if len(falls) else len(cells)
    xs, ys = cells[:columns, 0], cells[::columns, 1]
    made = np.stack(np.broadcast_arrays(xs[None, :], ys[:, None]), axis=-1).reshape(-1, 2).repeat(each, axis=0)
    if not np.array_equal(made, points) or not np.array_equal(np.tile(sides[:each], (len(cells), 1)), sides):
        return None
    return columns, each, constants.add(xs), constants.add(ys), constants.add(sides[:each].reshape(-1))


def _real(value: float) -> str:
    return f"{float(np.float32(value)).hex()}f"
