"""Networks that suppress by themselves: rows come back as boxes, sorted, none suppressed."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.errors import ConfigurationError
from tests.core.answers.families.scenes import decoded, evidence, format_of


def test_rows_come_back_by_falling_score_and_none_is_suppressed() -> None:
    rows = np.zeros((300, 6), np.float32)
    rows[3] = [10, 20, 50, 60, 0.5, 2]
    rows[7] = [10, 20, 50, 60, 0.9, 2]
    rows[9] = [10, 20, 50, 60, 0.1, 2]
    found = decoded("yolov10", [rows])
    assert found.boxes.tolist() == [[10, 20, 50, 60]] * 2
    assert found.scores.tolist() == pytest.approx([0.9, 0.5])
    assert found.classes.tolist() == [2, 2]
    assert len(decoded("yolov10", [rows], most=1)) == 1


def test_what_was_kept_is_a_copy_of_the_network_s_memory() -> None:
    rows = np.zeros((300, 6), np.float32)
    rows[0] = [10, 20, 50, 60, 0.5, 2]
    found = decoded("yolov10", [rows])
    rows[:] = 7
    assert found.boxes.tolist() == [[10, 20, 50, 60]]
    assert found.scores.tolist() == [0.5]


def test_shares_of_the_input_become_pixels() -> None:
    rows = np.zeros((300, 6), np.float32)
    rows[0] = [0.5, 0.25, 1, 0.5, 0.5, 0]
    assert decoded("yolov10", [rows], (320, 640), normalised=True).boxes.tolist() == [[320, 80, 640, 160]]


def test_rows_of_seven_of_yolov7() -> None:
    rows = np.full((100, 7), -1, np.float32)
    rows[0] = [0, 10, 20, 50, 60, 3, 0.75]
    rows[1] = [1, 10, 20, 50, 60, 3, 0.75]
    found = decoded("yolov7-end2end", [rows])
    assert found.boxes.tolist() == [[10, 20, 50, 60]]
    assert found.classes.tolist() == [3]


def test_a_class_that_is_no_number_is_no_answer() -> None:
    rows = np.zeros((300, 6), np.float32)
    rows[:4] = [10, 20, 50, 60, 0.5, 0]
    rows[:4, 5] = [np.nan, np.inf, 1e30, -3]
    assert len(decoded("yolov10", [rows])) == 0


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"output 0 is 300 x 5 in place of rows of 6"):
        format_of("yolov10", evidence([(300, 5)]))
    with pytest.raises(ConfigurationError, match=r"output 0 is 300 x 6 in place of rows of 7"):
        format_of("yolov7-end2end", evidence([(300, 6)]))
