"""Parts of any output, joined again, are the output; steps that do not fit are refused with what is wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multigraft.tensors.arrays import Float32Array
from multigraft.tensors.joining import (
    MOST_STEPS,
    Concatenate,
    Joined,
    Part,
    Reshape,
    Step,
    Transpose,
    joined_outputs,
)
from multigraft.tensors.quantisation import quantise
from multigraft.tensors.specs import TensorSpec

Parted = tuple[list[Step], dict[str, Float32Array]]


def parted(draw: Any, value: Float32Array, depth: int, parts: dict[str, Float32Array]) -> list[Step]:
    """Steps that make ``value`` of parts, by taking apart what each kind of step would have made."""
    kind = draw(st.sampled_from(["part", "concatenate", "reshape", "transpose"])) if depth else "part"
    if kind == "concatenate":
        axis = draw(st.integers(0, value.ndim - 1))
        at = sorted(draw(st.sets(st.integers(1, value.shape[axis] - 1), max_size=3))) if value.shape[axis] > 1 else []
        pieces = np.split(value, at, axis)
        return [s for p in pieces for s in parted(draw, p, depth - 1, parts)] + [Concatenate(axis, len(pieces))]
    if kind == "reshape":
        split = [d for d in range(1, value.size + 1) if value.size % d == 0]
        first = draw(st.sampled_from(split))
        before = value.reshape(first, value.size // first)
        return [*parted(draw, before, depth - 1, parts), Reshape(value.shape)]
    if kind == "transpose":
        order = tuple(draw(st.permutations(range(value.ndim))))
        before = value.transpose(np.argsort(order))
        return [*parted(draw, before, depth - 1, parts), Transpose(order)]
    name = next((n for n, v in parts.items() if np.array_equal(v, value)), f"part{len(parts)}")
    parts[name] = value
    return [Part(name)]


@st.composite
def outputs(draw: st.DrawFn) -> tuple[Float32Array, Joined, dict[str, Float32Array]]:
    shape = (1, *draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    value = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    parts: dict[str, Float32Array] = {}
    return value, Joined("out", tuple(parted(draw, value, draw(st.integers(1, 5)), parts))), parts


@given(outputs())
def test_what_is_taken_apart_is_joined_again(case: tuple[Float32Array, Joined, dict[str, Float32Array]]) -> None:
    value, joined, parts = case
    assert joined.shape({name: part.shape for name, part in parts.items()}) == value.shape
    assert np.array_equal(joined(parts), value)
    assert set(joined.parts) == set(parts) and all(name in str(joined) for name in parts)


def test_every_part_has_a_scale_of_its_own() -> None:
    boxes = np.linspace(0, 640, 24, dtype=np.float32).reshape(1, 4, 6)
    scores = np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 2, 6)
    specs = [
        TensorSpec("boxes", (1, 4, 6), "int8", 640 / 255, -128),
        TensorSpec("scores", (1, 2, 6), "int8", 1 / 256, -128),
    ]
    joined = Joined("out", (Part("boxes"), Part("scores"), Concatenate(1, 2)))
    arrays = [quantise(boxes, specs[0]), quantise(scores, specs[1])]
    (output,) = joined_outputs([joined], specs, arrays)
    assert output.shape == (1, 6, 6) and output.dtype == np.float32
    assert np.abs(output[:, :4] - boxes).max() <= 640 / 255 and np.abs(output[:, 4:] - scores).max() <= 1 / 256
    apart = joined_outputs([], specs, arrays)
    assert [a.shape for a in apart] == [(1, 4, 6), (1, 2, 6)] and np.array_equal(apart[1], output[:, 4:])


def test_it_reads_as_a_formula() -> None:
    steps = (Part("a"), Reshape((1, 6)), Part("b"), Transpose((1, 0)), Concatenate(1, 2))
    assert str(Joined("out", steps)) == "concatenate(reshape(a; 1 x 6), transpose(b; 1, 0); axis 1)"


A = Part("a")
HUGE = 10**40


@pytest.mark.parametrize(
    ("steps", "place"),
    [
        ((Part("nowhere"),), 0),
        ((Concatenate(0, 1),), 0),
        ((A, Concatenate(0, 2)), 1),
        ((A, Concatenate(0, 0)), 1),
        ((A, A, Concatenate(-1, 2)), 2),
        ((A, A, Concatenate(HUGE, 2)), 2),
        ((A, A, Concatenate(1, HUGE)), 2),
        ((A, Part("b"), Concatenate(1, 2)), 2),
        ((A, Part("c"), Concatenate(1, 2)), 2),
        ((Reshape((1, 6)),), 0),
        ((A, Reshape((1, 7))), 1),
        ((A, Reshape((1, -1, 6))), 1),
        ((A, Reshape((-1, -6))), 1),
        ((A, Reshape(())), 1),
        ((A, Reshape((1,) * 63 + (6,))), 1),
        ((A, Transpose((0, 0))), 1),
        ((A, Transpose((0, 1, 2))), 1),
        ((A, Transpose(())), 1),
        ((Part("large"), Part("large"), Concatenate(1, 2)), 2),
        ((Part("empty"),), 0),
        ((Part("scalar"),), 0),
    ],
)
def test_a_step_that_does_not_fit_is_named(steps: tuple[Step, ...], place: int) -> None:
    shapes = {"a": (1, 6), "b": (2, 6), "c": (1, 2, 3), "large": (1, 1 << 27), "empty": (1, 0), "scalar": ()}
    with pytest.raises(ValueError, match=f"^step {place} of joining out does not fit what is to be joined$"):
        Joined("out", steps).shape(shapes)


@pytest.mark.parametrize("steps", [(), (A, A), (A, A, Concatenate(0, 2)), (Part("b"),)])
def test_steps_that_leave_no_output_are_refused(steps: tuple[Step, ...]) -> None:
    with pytest.raises(ValueError, match="do not end in one output with a batch of 1"):
        Joined("out", steps).shape({"a": (1, 6), "b": (2, 6)})


def test_there_are_not_too_many_steps() -> None:
    joined = Joined("out", (A, *[Transpose((0, 1))] * MOST_STEPS))
    with pytest.raises(ValueError, match=f"joined in {MOST_STEPS + 1} steps and {MOST_STEPS} are the most"):
        joined.shape({"a": (1, 6)})
