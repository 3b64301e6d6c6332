"""Whether a frame is near the last one is decided in whole numbers where logits are such."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.exits.change import Memory, most_squared
from multigraft.tensors.specs import TensorSpec

INT8 = TensorSpec("logits", (1, 4), "int8", 0.25, -3)
FLOAT = TensorSpec("logits", (1, 4), "float32")


def test_a_frame_at_the_distance_is_near_and_one_step_further_is_not() -> None:
    array = np.array([[100, -100, 0, 7]], np.int8)
    memory = Memory(INT8, array, 0.5)
    assert not memory.is_near(), "there is no last frame"
    memory.keep("first")
    array[0, 0] += 2
    assert memory.is_near()
    array[0, 1] += 1
    assert not memory.is_near()
    array[0, :2] = 100, -100
    assert memory.is_near(), "the last frame is the one that was kept"
    assert memory.answer == "first"
    memory.forget()
    assert not memory.is_near()


def test_the_farthest_logits_do_not_overflow() -> None:
    wide = TensorSpec("logits", (1, 20_000), "int8", 1.0, 0)
    array = np.full((1, 20_000), -128, np.int8)
    memory = Memory(wide, array, 255 * np.sqrt(20_000) - 1)
    memory.keep("first")
    array[:] = 127
    assert not memory.is_near()


def test_a_bound_is_exact_where_a_quotient_of_floats_is_not() -> None:
    # 0.3 / 0.1 is 2.9999999999999996 in floats of 64 bits; as the scale is held in 32 bits, 0.1 is a little more.
    spec = TensorSpec("logits", (1, 4), "int8", 0.1, 0)
    scale = float(spec.scale or 0)
    for steps in (1, 3, 7, 10, 33):
        assert most_squared(scale * steps, spec) in (steps * steps, steps * steps - 1)
        assert most_squared(np.nextafter(scale * steps, 2 * scale * steps), spec) == steps * steps
    assert most_squared(-1.0, spec) == -1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_never_near(value: float) -> None:
    array = np.zeros((1, 4), np.float32)
    memory = Memory(FLOAT, array, 1.0)
    memory.keep("first")
    assert memory.is_near()
    array[0, 2] = value
    assert not memory.is_near()
