"""Masks as COCO's run lengths: read back by the definition of the format, they are the masks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from multigraft.answers.masks import Mask
from multigraft.runtime.formats.run_lengths import compressed, run_lengths


def runs_of(text: str) -> list[int]:
    """The characters as the format defines them: 5 bits each, lowest first, the sixth for more, bit 5 for the sign."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def mask_of(runs: list[int], height: int, width: int) -> Mask:
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    assert len(flat) == height * width
    return flat.reshape(width, height).T


@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 12), st.integers(-4, 14), st.integers(-4, 14))
def test_a_mask_comes_back(seed: int, height: int, width: int, top: int, left: int) -> None:
    random = np.random.default_rng(seed)
    block = random.random(random.integers(0, 13, 2)) < random.choice([0.2, 0.8, 1.0])
    whole = np.zeros((height, width), np.bool_)
    for row, column in np.argwhere(block) + np.array([top, left]):
        if 0 <= row < height and 0 <= column < width:
            whole[row, column] = True
    runs = run_lengths(block, top, left, height, width)
    assert (mask_of(runs, height, width) == whole).all()
    assert all(run > 0 for run in runs[1:]), "neighbouring runs are one"
    assert runs_of(compressed(runs)) == runs


@given(st.lists(st.integers(0, 2**40), max_size=20))
def test_any_runs_come_back(runs: list[int]) -> None:
    assert runs_of(compressed(runs)) == runs


def test_the_text_is_the_one_that_cocos_own_tools_write() -> None:
    mask = np.zeros((4, 5), np.bool_)
    mask[1:3, 1:4] = True
    assert run_lengths(mask, 0, 0, 4, 5) == [5, 2, 2, 2, 2, 2, 5]
    assert compressed([5, 2, 2, 2, 2, 2, 5]) == "5220003"
