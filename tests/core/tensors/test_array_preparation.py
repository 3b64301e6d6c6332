"""Rows become what the manifest says, in float32 and to the last bit, and what is no row is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.errors import ConfigurationError, InputError
from multigraft.tensors.array_preparation import ArrayPreparation, ArrayPreparer, prepare_rows, same_shape
from multigraft.tensors.arrays import Array
from multigraft.tensors.preparation import (
    Preparation,
    prepare_frames,
    preparer_for,
    shared_row_shape,
    take_same_frames,
)
from multigraft.tensors.preprocessing import Preprocessing
from multigraft.tensors.quantisation import quantise
from multigraft.tensors.specs import TensorSpec

PICTURES = Preprocessing(8, 6, "grey", (0.0,), (1.0,))
FINITE = st.floats(-1e4, 1e4, width=32)
SCALES = st.floats(-8, 8, width=32).filter(lambda s: abs(s) > 1e-3)


def filled(row: Array, preparation: ArrayPreparation, spec: TensorSpec) -> Array:
    out = np.full(spec.shape, 77, spec.dtype)
    preparer_for(preparation, spec).fill(row, out)
    return out


@settings(max_examples=100, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    axis=st.integers(0, 3),
    dtype=st.sampled_from(["float32", "float64", "int16", "uint8", "int64"]),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
def test_a_row_is_shifted_and_scaled_in_float32_with_a_rounding_after_each(
    shape: list[int], axis: int, dtype: str, seed: int, data: st.DataObject
) -> None:
    axis %= len(shape)
    size = shape[axis]
    mean = tuple(data.draw(st.lists(FINITE, min_size=size, max_size=size)))
    scale = tuple(data.draw(st.lists(SCALES, min_size=size, max_size=size)))
    order = tuple(data.draw(st.permutations(range(len(shape)))))
    preparation = ArrayPreparation(tuple(shape), mean, scale, axis, order)
    row = (np.random.default_rng(seed).normal(size=shape) * 100).astype(dtype)
    expected = np.empty(shape, np.float32)
    for index in np.ndindex(*shape):
        shifted = np.float32(np.float32(row[index]) - np.float32(mean[index[axis]]))
        expected[index] = np.float32(shifted * np.float32(scale[index[axis]]))
    tensor = TensorSpec("x", preparation.tensor_shape, "float32")
    np.testing.assert_array_equal(filled(row, preparation, tensor)[0], expected.transpose(order))
    np.testing.assert_array_equal(prepare_rows([row], preparation)[0], expected)
    stored = TensorSpec("x", preparation.tensor_shape, "int8", 0.37, -5)
    np.testing.assert_array_equal(filled(row, preparation, stored)[0], quantise(expected, stored).transpose(order))


def test_axes_of_length_one_may_be_left_out_or_added() -> None:
    preparation = ArrayPreparation((1, 4, 3))
    row = np.arange(12, dtype=np.float32).reshape(4, 3)
    for given_row in (row, row[None], row[:, None, :, None]):
        np.testing.assert_array_equal(prepare_rows([given_row], preparation)[0], row[None])
    assert same_shape((1, 4), (4,)) and not same_shape((4, 3), (3, 4)) and same_shape((1,), ())


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (np.zeros((3, 5), np.float32), "shape (3, 5) and its task takes (3, 4)"),
        (np.array([[np.nan] * 4] * 3), "NaN"),
        (np.full((3, 4), np.inf, np.float32), "infinity"),
        (np.full((3, 4), 1e300), "too large"),
        (np.zeros((3, 4), complex), "complex128"),
        ([[0.0] * 4] * 3, "list"),
    ],
)
def test_what_is_no_such_row_is_refused_with_its_number(row: Array, words: str) -> None:
    good = np.zeros((3, 4), np.float32)
    with pytest.raises(InputError) as caught:
        prepare_frames([good, row], ArrayPreparation((3, 4)))
    assert words in str(caught.value) and caught.value.problem.startswith("frame 1: ")


def test_whole_numbers_are_taken_as_they_are() -> None:
    preparation = ArrayPreparation((4,), values="int32")
    spec = TensorSpec("x", (1, 4), "int32")
    row = np.array([0, 7, 256, 2**31 - 1], np.int64)
    np.testing.assert_array_equal(filled(row, preparation, spec)[0], row)
    np.testing.assert_array_equal(filled(row.astype(np.float64), preparation, spec)[0], row)
    for bad in (np.array([0, 0.5, 1, 2]), np.array([0, 0, 0, 2**31]), np.array([0, 0, 0, np.nan])):
        with pytest.raises(InputError, match="whole numbers"):
            filled(bad, preparation, spec)
    with pytest.raises(ConfigurationError):
        ArrayPreparer(preparation, TensorSpec("x", (1, 4), "float32"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ArrayPreparation(()),
        lambda: ArrayPreparation((3, 0)),
        lambda: ArrayPreparation((3, 4), mean=(1.0, 2.0)),
        lambda: ArrayPreparation((3, 4), scale=(0.0,)),
        lambda: ArrayPreparation((3, 4), scale=(float("nan"),)),
        lambda: ArrayPreparation((3, 4), axis=2),
        lambda: ArrayPreparation((3, 4), order=(0, 0)),
        lambda: ArrayPreparation((3,), scale=(2.0,), values="int32"),
        lambda: ArrayPreparer(ArrayPreparation((3, 4)), TensorSpec("x", (1, 4, 3), "float32")),
        lambda: ArrayPreparer(ArrayPreparation((3, 4)), TensorSpec("x", (1, 3, 4), "float16")),
    ],
)
def test_what_contradicts_itself_is_refused(make: object) -> None:
    with pytest.raises(ConfigurationError):
        make()  # type: ignore[operator]


def test_one_source_serves_tasks_of_one_kind_only() -> None:
    signal, image = ArrayPreparation((3, 8)), ArrayPreparation((1, 3, 8))
    kinds: list[Preparation] = [signal, image]
    assert take_same_frames(signal, image) and shared_row_shape(kinds) == (3, 8)
    assert take_same_frames(PICTURES, Preprocessing(9, 9)) and shared_row_shape([PICTURES]) is None
    for other in (PICTURES, ArrayPreparation((8, 3))):
        with pytest.raises(InputError, match="one source cannot serve"):
            shared_row_shape([signal, other])
