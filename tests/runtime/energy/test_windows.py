"""Bounds hold the truth, on a board whose time and power are made up; what can't be measured is refused."""

from __future__ import annotations

import random

import pytest

from multigraft.devices.power.rails import Accuracy
from multigraft.errors import InputError
from multigraft.runtime.energy.figure import Figure, joules, student_quantile
from multigraft.runtime.energy.windows import Bench, Round, figure_of, rounds_needed
from tests.runtime.energy.simulated_board import SimulatedBoard

SYSFS = Accuracy(0.02, gain=0.015, offset_w=0.08, step_w=0.04, is_random=True)
"""The pace is a tenth of the real one, and so is the time that a run takes here."""

JTOP = Accuracy(0.1, gain=0.015, offset_w=0.08, step_w=0.04)
RUNS = 100


def measured(board: SimulatedBoard, chance: random.Random, error: float, seconds: float) -> Figure:
    return Bench(board, board.clock, board.sleep, chance.random).measure(board.frame, error, seconds)


@pytest.mark.parametrize(
    ("accuracy", "periods"),
    [(SYSFS, 1.0), (SYSFS, 1.001), (SYSFS, 7.0), (JTOP, 0.5), (JTOP, 1.0), (JTOP, 1.001), (JTOP, 1.37), (JTOP, 2.003)],
)
def test_the_bound_holds_the_truth_where_frames_beat_against_the_sampling(accuracy: Accuracy, periods: float) -> None:
    held = 0
    for seed in range(RUNS):
        chance = random.Random(seed)
        board = SimulatedBoard(periods * accuracy.interval_s, accuracy, chance)
        figure = measured(board, chance, 0.08, 60)
        held += abs(figure.value_j - board.truth_j) <= figure.bound_j
    assert held >= 95


def test_rounds_go_on_until_the_error_asked_for_is_reached() -> None:
    board = SimulatedBoard(0.05, SYSFS, random.Random(3))
    wide = measured(board, random.Random(3), 0.10, 1000)
    narrow = measured(board, random.Random(3), 0.03, 1000)
    assert wide.windows < narrow.windows
    assert wide.relative <= 0.10 and narrow.relative <= 0.033
    assert narrow.value_j == pytest.approx(board.truth_j, rel=0.04)


def test_time_that_is_up_gives_a_wider_bound_and_no_false_one() -> None:
    board = SimulatedBoard(0.02, SYSFS, random.Random(5))
    before_s = board.now_s
    figure = measured(board, random.Random(5), 0.001, 30)
    assert board.now_s - before_s < 36
    assert figure.relative > 0.001
    assert abs(figure.value_j - board.truth_j) <= figure.bound_j


def test_a_sensor_that_is_too_coarse_bounds_the_figure_whatever_the_number_of_windows() -> None:
    poor = Accuracy(0.02, gain=0.10, is_random=True)
    figure = measured(SimulatedBoard(0.05, poor, random.Random(1)), random.Random(1), 0.03, 200)
    assert figure.sensor_j == pytest.approx(0.10 * figure.value_j)
    assert figure.relative > 0.10


def test_rounding_counts_where_the_power_stands_still() -> None:
    def steady(step_w: float) -> Figure:
        accuracy = Accuracy(0.02, gain=0.0, step_w=step_w, is_random=True)
        board = SimulatedBoard(0.05, accuracy, random.Random(2), noise_w=0.001)
        # Both halves of each frame alike, so that nothing but the rounding of 4.1 W is wrong.
        board.power_w = lambda moment_s: 4.1 if _works(board, moment_s) else 1.0  # type: ignore[method-assign]
        return measured(board, random.Random(2), 0.03, 60)

    truth_j = 3.1 * 0.05
    fine, coarse = steady(0.001), steady(0.5)
    assert abs(fine.value_j - truth_j) <= fine.bound_j < 0.01 * truth_j
    assert abs(coarse.value_j - truth_j) > fine.bound_j
    assert abs(coarse.value_j - truth_j) <= coarse.bound_j


def _works(board: SimulatedBoard, moment_s: float) -> bool:
    return SimulatedBoard.power_w(board, moment_s) != 1.0


def test_one_inference_below_the_sensors_resolution_is_refused_with_the_reason() -> None:
    board = SimulatedBoard(0.03, JTOP, random.Random(0))
    bench = Bench(board, board.clock, board.sleep)
    with pytest.raises(InputError, match=r"takes 30 ms, and simulated gives a value every 100 ms.*667 Hz"):
        bench.measure(board.frame, 0.05, 60, once=True)
    long = SimulatedBoard(2.5, JTOP, random.Random(0))
    figure = Bench(long, long.clock, long.sleep).measure(long.frame, 0.05, 600, once=True)
    assert figure.repetitions == figure.windows
    assert abs(figure.value_j - long.truth_j) <= figure.bound_j


def test_a_figure_is_told_as_people_write_it() -> None:
    assert str(Figure(2.314, 0.04, 0.025, 30, 900)) == "2.31 J ± 2.9 % (95 %)"
    assert str(Figure(0.0123, 0.01, 0.0025, 8, 900)) == "12.3 mJ ± 12.5 mJ (95 %)"
    assert [joules(v) for v in (123.4, 0.5, 2e-5, 0.0)] == ["123 J", "500 mJ", "20.0 µJ", "0 µJ"]


def test_students_quantiles_are_those_of_tables() -> None:
    found = [student_quantile(degrees, 0.95) for degrees in (1, 2, 7, 10, 30, 499)]
    assert found == pytest.approx([12.706, 4.303, 2.365, 2.228, 2.042, 1.965], abs=5e-4)


def rounds(*energies: float) -> list[Round]:
    return [Round(0.0, energy, 1.0, 1, False) for energy in energies]


def test_how_many_rounds_are_needed_follows_the_spread_of_the_first() -> None:
    pilot = rounds(1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 1.02, 0.98)
    assert rounds_needed(pilot, 0.0, 0.5) == len(pilot)
    few, many = rounds_needed(pilot, 0.0, 0.03), rounds_needed(pilot, 0.0, 0.015)
    assert many == pytest.approx(4 * few, abs=4)
    assert rounds_needed(pilot, 0.01, 0.03) > few
    # First rounds that happen to agree do not hide the spread of all.
    lucky = [*rounds(*[1.0] * 8), *rounds(*[0.8, 1.2] * 8)]
    assert figure_of(lucky, 0.0).bound_j > 0.05
