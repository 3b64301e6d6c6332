"""Padding that a layer takes over from a PAD: it may lie on one side alone, or where the kernel has one pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import M3
from tests.firmware_gen.batch import wrong_cases
from tests.firmware_gen.boards.test_boards import needs_tools
from tests.firmware_gen.host import SANITIZERS, compile_host, reference, run_host, stimuli
from tests.firmware_gen.models import Builder, activation, ints


def padded(
    shape: tuple[int, ...], rows: tuple[int, int], columns: tuple[int, int], kernel: tuple[int, int], depthwise: bool
) -> bytes:
    """A convolution of what a PAD gives; ``rows`` and ``columns`` are added before and behind."""
    b = Builder(1)
    b.add(activation("in", shape, 0.03, -7))
    b.add(ints("amounts", [[0, 0], list(rows), list(columns), [0, 0]]))
    result = (1, shape[1] + sum(rows), shape[2] + sum(columns), shape[3])
    x = b.plain("PAD", "padded", ["in", "amounts"], activation("", result, 0.03, -7))
    return b.model(["in"], [b.conv("conv", x, 8, kernel, padding="VALID", depthwise=depthwise)])


@pytest.mark.parametrize(("rows", "columns"), [((0, 1), (0, 0)), ((0, 0), (0, 1)), ((1, 0), (0, 2))])
def test_a_pointwise_layer_sees_padding_behind_the_image(
    rows: tuple[int, int], columns: tuple[int, int], tmp_path: Path
) -> None:
    model = padded((1, 5, 4, 8), rows, columns, (1, 1), False)
    project = generate(model, core=M3)
    inputs = stimuli(project.inputs[0].shape, 20)
    answers = run_host(compile_host(project, tmp_path, *SANITIZERS), project, [inputs])
    np.testing.assert_array_equal(next(iter(answers.values())), reference(model, [inputs])[0])


@needs_tools
@pytest.mark.parametrize("board", ["mps2-an386", "mps3-an547"])
def test_a_column_of_pixels_that_is_padded_to_an_image_stays_in_order(board: str, tmp_path: Path) -> None:
    model = padded((1, 5, 1, 8), (0, 0), (1, 1), (3, 1), True)
    assert wrong_cases(model, board, 20, tmp_path) == []
