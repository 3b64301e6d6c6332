"""Blocks of frames: as long as errors have something in common, and a bound that such errors do not fool."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.agreement.binomial import tail
from multigraft.exits.blocks import LENGTHS, Blocks, Bools, block_length, least_blocks

ALLOWED, RISK, RUNS = 0.1, 0.05, 200


def in_runs(random: np.random.Generator, frames: int, share: float, length: int) -> Bools:
    """Wrong answers in stretches of that mean length, which begin anywhere."""
    lengths = random.integers(length // 2 + 1, length + length // 2 + 1, frames // (length // 2 + 1) + 1)
    return np.repeat(random.random(len(lengths)) < share, lengths)[:frames]


def test_errors_that_come_alone_count_one_by_one() -> None:
    random = np.random.default_rng(1)
    alone = sum(block_length(random.random((3, 2000)) < 0.1) == 1 for _ in range(50))
    assert alone >= 45


@pytest.mark.parametrize("length", [4, 10, 30])
def test_blocks_are_longer_than_the_runs(length: int) -> None:
    wrong = np.stack([in_runs(np.random.default_rng(seed), 20_000, 0.1, length) for seed in range(4)])
    assert LENGTHS * length < block_length(wrong) < 2 * LENGTHS * length


def test_frames_without_errors_are_no_blocks() -> None:
    assert block_length(np.zeros((2, 100), bool)) == 1
    assert block_length(np.zeros((2, 3), bool)) == 1


@pytest.mark.parametrize("length", [10, 30])
def test_of_thresholds_that_break_their_promise_hardly_one_is_accepted(length: int) -> None:
    """As many are wrong as were promised, so that each that is accepted is an error; single frames accept many more."""
    singly = together = 0
    for seed in range(RUNS):
        random = np.random.default_rng(seed)
        block = block_length(np.stack([in_runs(random, 1000, share, length) for share in (ALLOWED, 0.2, 0.4)]))
        wrong = in_runs(random, 4000, ALLOWED, length)
        taken = np.ones(4000, bool)
        singly += tail(4000 - int(wrong.sum()), 4000, 1 - ALLOWED) <= RISK
        together += Blocks(block, ALLOWED).chance(taken, wrong) <= RISK
    assert together <= RISK * RUNS < 3 * RISK * RUNS < singly


def test_what_is_hardly_ever_wrong_is_accepted() -> None:
    wrong = in_runs(np.random.default_rng(5), 8000, 0.01, 10)
    assert Blocks(60, ALLOWED).chance(np.ones(8000, bool), wrong) <= RISK


def test_only_taken_frames_speak_for_a_promise() -> None:
    wrong, taken = np.zeros(4000, bool), np.zeros(4000, bool)
    assert Blocks(20, ALLOWED).chance(taken, wrong) == 1
    taken[::2] = True
    half = Blocks(20, ALLOWED).chance(taken, wrong)
    assert Blocks(20, ALLOWED).chance(np.ones(4000, bool), wrong) < half < RISK


@pytest.mark.parametrize(("allowed", "least"), [(0.01, 381), (0.05, 75), (0.1, 37)])
def test_fewest_blocks_are_those_that_just_show_a_promise(allowed: float, least: int) -> None:
    assert least_blocks(allowed, RISK) == least
    chances = [Blocks(3, allowed).chance(np.ones(3 * n, bool), np.zeros(3 * n, bool)) for n in (least - 1, least)]
    assert chances[1] <= RISK < chances[0]
