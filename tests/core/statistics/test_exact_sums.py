"""Exact sums at the ends of their range, as they are stored, and many at once."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.errors import InputError, MultigraftError, UsageError
from multigraft.statistics.exact_sums import BITS, LIMIT, ExactSums, add_all

pytestmark = pytest.mark.filterwarnings("error")
LARGE = 4096
"""Numbers from which on an array is added by itself."""


def of(*terms: Any) -> ExactSums:
    sums = ExactSums(np.shape(terms[0]))
    for term in terms:
        sums.add(term)
    return sums


def sentence(error: type[MultigraftError], call: Any, *arguments: Any) -> str:
    with pytest.raises(error) as caught:
        call(*arguments)
    return str(caught.value)


def test_a_sum_is_stored_as_a_whole_part_and_a_part_below_one() -> None:
    for value, high, low in (
        (0.75, 0, 3 << 60),
        (-0.25, -1, 3 << 60),
        (-3.0, -3, 0),
        (5.5, 5, 1 << 61),
        (2.0**-62, 0, 1),
        (-(2.0**-62), -1, (1 << 62) - 1),
        (2.0**-63, 0, 0),
        (3 * 2.0**-63, 0, 2),
        (0.0, 0, 0),
    ):
        stored = of(value).to_array()
        assert stored.dtype == np.int64 and stored.shape == (2,)
        assert stored.tolist() == [high, low], value
    assert (BITS, LIMIT) == (62, 2.0**61)


def test_small_parts_carry_into_the_whole() -> None:
    assert of(0.75, 0.75, 0.5).to_array().tolist() == [2, 0]
    assert of(-0.75, -0.75).to_array().tolist() == [-2, 1 << 61]
    assert of(0.75).merge(of(0.75)).to_array().tolist() == [1, 1 << 61]


@pytest.mark.parametrize("value", [2.0**61, -(2.0**61), np.nan, np.inf, -np.inf])
def test_a_term_beyond_the_range_is_refused_and_nothing_is_added(value: float) -> None:
    sums = of([1.0, 2.0])
    said = sentence(InputError, sums.add, [1.0, value])
    assert said == "a sum would be infinite, NaN or above 2**61; check the network and its input."
    assert sums.values().tolist() == [1.0, 2.0]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_beyond_the_range_is_refused_however_it_comes_about(sign: int) -> None:
    most = np.nextafter(2.0**61, 0) * sign
    sums = of([most, 0.0])
    assert sums.values().tolist() == [most, 0.0]
    for call in (lambda: sums.add([most, 0.0]), lambda: sums.merge(of([most, 0.0]))):
        said = sentence(InputError, call)
        assert said == "a sum would be above 2**61; check the network and its input."
    assert sums.values().tolist() == [most, 0.0]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_of_exactly_the_limit_is_beyond_it(sign: int) -> None:
    sums = of(sign * 2.0**60)
    assert "above 2**61" in sentence(InputError, sums.add, sign * 2.0**60)
    assert sums.values() == sign * 2.0**60


def test_another_shape_is_refused() -> None:
    sums = ExactSums((2, 3))
    assert sums.shape == (2, 3)
    assert sentence(UsageError, sums.add, [1.0]) == (
        "terms of shape (1,) for sums of shape (2, 3); give one term per sum."
    )
    assert sentence(UsageError, sums.merge, ExactSums((3, 2))) == (
        "sums of shapes (2, 3) and (3, 2) cannot be merged; merge equal ones."
    )


def test_sums_are_equal_in_both_parts_only() -> None:
    assert of(0.5) != of(1.5) and of(0.5) != of(0.25) and of(0.5) == of(0.25, 0.25)
    assert of([0.5]) != of([0.5, 0.5])
    assert of(0.5) != 0.5


@pytest.mark.parametrize(
    "value", [2.0**-62, -(2.0**-62), 2.0**-40 + 1e-18, -(2.0**-40), 0.5, -0.5, 1 / 3, -1 / 3, 1e15 + 0.5]
)
def test_a_value_keeps_its_digits(value: float) -> None:
    sums = of(value, 7.0, -7.0)
    found = sums.values()
    assert found.dtype == np.float64 and found.shape == ()
    assert float(found) == float(Fraction(round(Fraction(value) * 2**62), 2**62))


@pytest.mark.parametrize(
    ("array", "is_range"),
    [
        (np.zeros((2, 3), np.float64), False),
        (np.zeros((2, 3), np.uint64), False),
        (np.zeros((3, 3), np.int64), False),
        (np.zeros((), np.int64), False),
        (np.array([[1 << 61], [0]]), True),
        (np.array([[-(1 << 61)], [0]]), True),
        (np.array([[0], [-1]]), True),
        (np.array([[0], [1 << 62]]), True),
    ],
)
def test_arrays_of_another_form_are_refused(array: npt.NDArray[Any], is_range: bool) -> None:
    said = sentence(InputError, ExactSums.from_array, array)
    form = "hold parts out of range" if is_range else f"are stored as {array.dtype} {array.shape}"
    assert said == f"exact sums {form}; collect them again."


def test_the_ends_of_the_range_are_read_and_are_no_view() -> None:
    array = np.array([[(1 << 61) - 1, -(1 << 61) + 1, 3], [(1 << 62) - 1, 0, 1 << 61]])
    sums = ExactSums.from_array(array)
    assert sums.shape == (3,)
    np.testing.assert_array_equal(sums.to_array(), array)
    array[:] = 0
    assert sums.values().tolist() == [2.0**61, -(2.0**61) + 1, 3.5]
    assert ExactSums.from_array(of(0.5).to_array()) == of(0.5)


SIZES = (1, 3, LARGE - 1, LARGE, LARGE + 1)


@pytest.mark.parametrize("names", [(3,), (LARGE,), (1, 3), (LARGE, LARGE + 1), SIZES])
def test_many_arrays_are_added_as_each_alone(names: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    terms = [{f"n{n}": random.normal(size=(n, 1)) for n in names} for _ in range(2)]
    once = add_all({"other": of(3.0)}, terms[0])
    twice = add_all(once, terms[1])
    for sums, count in ((once, 1), (twice, 2)):
        assert sums.keys() == {"other", *terms[0]}
        assert sums["other"] == of(3.0)
        for name in terms[0]:
            expected = of(*(t[name] for t in terms[:count]))
            assert sums[name] == expected and sums[name].shape == expected.shape
            assert sums[name].merge(expected).to_array().dtype == np.int64


def test_names_of_different_sizes_do_not_run_into_each_other() -> None:
    terms: dict[str, npt.NDArray[Any]] = {
        "a": np.array([[1, 2], [3, 4]], np.float32),
        "b": np.array(5.0, np.float64),
        "c": np.arange(6.0, 9.0),
    }
    sums = add_all(add_all({}, terms), terms)
    assert {name: s.values().tolist() for name, s in sums.items()} == {
        "a": [[2, 4], [6, 8]],
        "b": 10,
        "c": [12, 14, 16],
    }


@pytest.mark.parametrize("size", [3, LARGE])
def test_terms_of_another_shape_are_refused_by_name(size: int) -> None:
    sums = add_all({}, {"a": np.zeros(size), "b": np.zeros(2)})
    said = sentence(UsageError, add_all, sums, {"b": np.zeros(2), "a": np.zeros((1, size))})
    assert said == "a has two shapes; merge runs of the same networks."


@pytest.mark.parametrize("size", [3, LARGE])
def test_one_term_out_of_range_adds_nothing(size: int) -> None:
    sums = add_all({}, {"a": np.ones(size), "b": np.ones(2)})
    before = {name: s.to_array() for name, s in sums.items()}
    broken = np.ones(size)
    broken[1] = np.nan
    assert "infinite, NaN" in sentence(InputError, add_all, sums, {"b": np.ones(2), "a": broken})
    for name, array in before.items():
        np.testing.assert_array_equal(sums[name].to_array(), array)
