"""GridSample in the modes that onnx2tf lacks, as weighted gathers; deformable convolution with groups of offsets.

As onnxruntime computes it: a coordinate outside is reflected first, then each element around it is brought inside. All
of it is arithmetic, so what a constant grid gives is folded into constants.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes

_CUBIC = -0.75
_EXACT = 1 << 24
"""Integers up to here are exact in float32, in which the index of an element is computed."""

_Tap = tuple[str, str | None]
"""An element along one axis, as a float, and its weight (None: 1)."""


def grid_sample(writer: Writer) -> bool:
    """Cubic sampling, reflection at the borders, and nearest elements of a volume."""
    x, grid = writer.node.input
    given = attributes(writer.node)
    shape, result = writer.editor.shape(x), writer.editor.shape(writer.node.output[0])
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(m := given.get("mode", "linear"), m)
    padding, is_aligned = given.get("padding_mode", "zeros"), bool(given.get("align_corners"))
    if shape is None or result is None or (mode == "cubic" and len(shape) != 4):
        return False
    if not (mode == "cubic" or padding == "reflection" or (len(shape) == 5 and mode == "nearest")):
        return False
    batch, channels, *sizes = shape
    elements, positions = math.prod(sizes), math.prod(result[2:])
    if batch * elements > _EXACT:
        return False
    taps = []
    for axis, size in enumerate(sizes):
        number = writer.constant("axis", len(sizes) - 1 - axis, np.int64)
        flat = writer("Reshape", writer("Gather", grid, number, axis=-1), writer.ints("flat", [batch * positions, 1]))
        taps.append(_Axis(writer, size, padding, is_aligned).taps(flat, mode))
    first = np.repeat(np.arange(batch) * elements, positions).reshape(-1, 1)
    offset = writer.constant("first", first)
    moved = writer("Transpose", x, perm=[0, *range(2, len(shape)), 1])
    rows = writer("Reshape", moved, writer.ints("rows", [batch * elements, channels]))
    terms = []
    for chosen in itertools.product(*taps):
        index = offset
        for (place, _), stride in zip(chosen, _strides(sizes), strict=True):
            index = writer("Add", index, writer("Mul", place, writer.constant("stride", stride)))
        whole = writer.cast(writer("Reshape", index, writer.ints("places", [-1])), TensorProto.INT64)
        term = writer("Gather", rows, whole, axis=0)
        for weight in (w for _, w in chosen if w is not None):
            term = writer("Mul", term, weight)
        terms.append(term)
    total = terms[0]
    for term in terms[1:]:
        total = writer("Add", total, term)
    laid_out = writer("Reshape", total, writer.ints("shape", [batch, *result[2:], channels]))
    order = [0, len(shape) - 1, *range(1, len(shape) - 1)]
    writer("Transpose", laid_out, to=writer.node.output[0], perm=order)
    return True


def _strides(sizes: Sequence[int]) -> list[float]:
    return [float(math.prod(sizes[i + 1 :])) for i in range(len(sizes))]


class _Axis:
    """One axis of ``size`` elements."""

    def __init__(self, writer: Writer, size: int, padding: str, is_aligned: bool) -> None:
        self.write, self.size, self.padding = writer, size, padding
        self.low, self.high = (0.0, size - 1.0) if is_aligned else (-0.5, size - 0.5)

    def taps(self, grid: str, mode: str) -> list[_Tap]:
        """What is read, for coordinates of -1 to 1."""
        half = (self.high - self.low) / 2
        at = self._affine(grid, half, half + self.low)
        if mode == "nearest":
            return [self._tap(self._inside(self.write("Round", at)), None)]
        at = self._inside(at)
        low = self.write("Floor", at)
        part = self.write("Sub", at, low)
        if mode == "linear":
            return [self._tap(low, self._affine(part, -1, 1)), self._tap(self._affine(low, 1, 1), part)]
        near = (_CUBIC + 2, -(_CUBIC + 3), 0.0, 1.0)
        far = (_CUBIC, -5 * _CUBIC, 8 * _CUBIC, -4 * _CUBIC)
        taps = []
        for step, curve in ((-1, far), (0, near), (1, near), (2, far)):
            distance = self._affine(part, -1 if step > 0 else 1, abs(step))
            taps.append(self._tap(self._affine(low, 1, step), self._polynomial(distance, curve)))
        return taps

    def _inside(self, at: str) -> str:
        """A coordinate beyond the borders, brought back where they reflect."""
        return self._reflected(at) if self.padding == "reflection" else at

    def _tap(self, place: str, weight: str | None) -> _Tap:
        if self.padding == "reflection":
            place = self.write("Floor", self._affine(self._reflected(place), 1, 0.5))
        kept = self._clipped(place)
        if self.padding == "zeros":
            away = self.write("Abs", self.write("Sub", place, kept))
            is_in = self._affine(self.write("Min", away, self.write.constant("one", 1.0)), -1, 1)
            weight = is_in if weight is None else self.write("Mul", weight, is_in)
        return kept, weight

    def _reflected(self, at: str) -> str:
        """A wave of triangles between the borders."""
        span = self.high - self.low
        if span == 0:
            return self._affine(at, 0, 0)
        periods = self.write("Floor", self._affine(at, 1 / (2 * span), -self.low / (2 * span)))
        along = self.write("Sub", self._affine(at, 1, -self.low), self._affine(periods, 2 * span, 0))
        return self._affine(self.write("Abs", self._affine(along, 1, -span)), -1, self.low + span)

    def _clipped(self, at: str) -> str:
        least, most = self.write.constant("least", 0.0), self.write.constant("most", self.size - 1.0)
        return self.write("Min", self.write("Max", at, least), most)

    def _affine(self, x: str, factor: float, offset: float) -> str:
        scaled = x if factor == 1 else self.write("Mul", x, self.write.constant("factor", float(factor)))
        return scaled if offset == 0 else self.write("Add", scaled, self.write.constant("offset", float(offset)))

    def _polynomial(self, x: str, coefficients: Sequence[float]) -> str:
        value = self.write("Mul", x, self.write.constant("coefficient", coefficients[0]))
        for coefficient in coefficients[1:-1]:
            value = self.write("Mul", self._affine(value, 1, coefficient), x)
        return self._affine(value, 1, coefficients[-1])


def deform_conv(writer: Writer) -> bool:
    """Deformable convolution with several groups of offsets is the sum of one for each."""
    node, given = writer.node, attributes(writer.node)
    count = given.get("offset_group", 1)
    x, weights, offsets, bias, mask = [*node.input, "", ""][:5]
    if count == 1 or given.get("group", 1) != 1 or (shape := writer.editor.shape(x)) is None or shape[1] % count:
        return False

    def split(name: str) -> list[str]:
        size = writer.editor.shape(name)
        if not name or size is None:
            return [name] * count
        return writer.several("Split", name, writer.ints("sizes", [size[1] // count] * count), to=[""] * count, axis=1)

    if any(n and writer.editor.shape(n) is None for n in (weights, offsets, mask)):
        return False
    kept = {k: v for k, v in given.items() if k != "offset_group"}
    parts = zip(*map(split, (x, weights, offsets, mask)), strict=True)
    terms = [
        writer("DeformConv", *_trimmed([one, w, o, bias if number == 0 else "", m]), **kept)
        for number, (one, w, o, m) in enumerate(parts)
    ]
    total = terms[0]
    for number, term in enumerate(terms[1:], 2):
        total = writer("Add", total, term, to=node.output[0] if number == count else "")
    return True


def _trimmed(names: list[str]) -> list[str]:
    while names and not names[-1]:
        names.pop()
    return names


RULES: dict[str, tuple[Rule, ...]] = {"GridSample": (grid_sample,), "DeformConv": (deform_conv,)}
