"""Pairs of convolutions with a ring of rows between them: less memory, the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multigraft.firmware_gen import generate
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.boards.cores import M3
from multigraft.firmware_gen.passes import streaming
from tests.firmware_gen.host import SANITIZERS, compile_host, reference, run_host, stimuli
from tests.firmware_gen.models import streamed


def test_a_residual_pair_is_streamed_and_stays_bit_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = streamed()
    project = generate(model, core=M3)
    assert "CONV_2D+CONV_2D+ADD" in [s.operator for s in project.steps]
    monkeypatch.setattr(streaming, "LEAST_SAVING", 1.0)
    assert project.arena_bytes < 0.75 * generate(model, core=M3).arena_bytes
    inputs = stimuli(project.inputs[0].shape, 60)
    answers = run_host(compile_host(project, tmp_path, "-O1", *SANITIZERS), project, [inputs])
    np.testing.assert_array_equal(next(iter(answers.values())), reference(model, [inputs])[0])


def test_every_pair_that_can_be_streamed_stays_bit_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "LEAST_SAVING", -1.0)
    model = streamed()
    project = generate(model, core=M3)
    assert [s.operator for s in project.steps] == [
        "CONV_2D",
        "CONV_2D+CONV_2D+ADD",
        "CONV_2D+CONV_2D",
        "CONV_2D+CONV_2D",
    ]
    inputs = stimuli(project.inputs[0].shape, 60)
    answers = run_host(compile_host(project, tmp_path, "-O1", *SANITIZERS), project, [inputs])
    np.testing.assert_array_equal(next(iter(answers.values())), reference(model, [inputs])[0])


def test_overlap_is_the_least_that_reads_before_it_overwrites() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        in_h, in_w, k_h, stride = (int(v) for v in random.integers((3, 2, 1, 1), (9, 6, 4, 3)))
        over = Window(in_h, in_w, 3, -(-in_h // stride), -(-in_w // stride), 4, k_h, k_h, stride, stride)
        least = needed_distance(over)
        assert over.distance(1) >= least


def needed_distance(over: Window) -> int:
    """By walking through every read and write."""
    last_read = {}
    for pixel in range(over.pixels()):
        y, x = divmod(pixel, over.out_w)
        for ky in range(over.k_h):
            for kx in range(over.k_w):
                row, column = y * over.stride_h + ky, x * over.stride_w + kx
                if row < over.in_h and column < over.in_w:
                    for c in range(over.in_c):
                        last_read[(row * over.in_w + column) * over.in_c + c] = pixel
    distance = 0
    for address, pixel in last_read.items():
        distance = max(distance, pixel * over.out_c - address)
    return distance
