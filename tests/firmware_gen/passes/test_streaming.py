"""Pairs of convolutions with a ring of rows between them: less memory, the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from multigraft.firmware_gen import generate
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.boards.cores import M0PLUS, M3, M4, CoreFeatures
from multigraft.firmware_gen.passes import streaming
from tests.firmware_gen.host import SANITIZERS, compile_host, reference, run_host, stimuli
from tests.firmware_gen.mlperf_shapes import visual_wake_words
from tests.firmware_gen.models import Builder, activation, ints, narrow, separable, streamed


def test_a_residual_pair_is_streamed_and_stays_bit_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = streamed()
    project = generate(model, core=M3)
    assert "CONV_2D+CONV_2D+ADD" in [s.operator for s in project.steps]
    monkeypatch.setattr(streaming, "LEAST_SAVING", 1.0)
    assert project.arena_bytes < 0.75 * generate(model, core=M3).arena_bytes
    inputs = stimuli(project.inputs[0].shape, 60)
    answers = run_host(compile_host(project, tmp_path, *SANITIZERS), project, [inputs])
    np.testing.assert_array_equal(next(iter(answers.values())), reference(model, [inputs])[0])


def test_every_pair_that_can_be_streamed_stays_bit_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "LEAST_SAVING", -1.0)
    model = streamed()
    project = generate(model, core=M3)
    assert [s.operator for s in project.steps] == [
        "CONV_2D",
        "CONV_2D+CONV_2D+ADD",
        "CONV_2D+CONV_2D+CONV_2D+CONV_2D",
    ]
    inputs = stimuli(project.inputs[0].shape, 60)
    answers = run_host(compile_host(project, tmp_path, *SANITIZERS), project, [inputs])
    np.testing.assert_array_equal(next(iter(answers.values())), reference(model, [inputs])[0])


@pytest.mark.parametrize("make", [separable, narrow])
@pytest.mark.parametrize("core", [M3, M0PLUS])
def test_depthwise_and_pointwise_layers_are_streamed_bit_exactly(
    core: CoreFeatures, make: Callable[[], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "LEAST_SAVING", -1.0)
    model = make()
    project = generate(model, core=core)
    assert len(project.steps) == 1
    inputs = stimuli(project.inputs[0].shape, 60)
    answers = run_host(compile_host(project, tmp_path, *SANITIZERS), project, [inputs])
    np.testing.assert_array_equal(next(iter(answers.values())), reference(model, [inputs])[0])


def reshaped_between() -> bytes:
    """A convolution whose answer the next one sees as an image of another shape."""
    b = Builder(11)
    b.add(activation("in", (1, 8, 8, 4), 0.03, -7))
    x = b.conv("a", "in", 4)
    b.add(ints("shape", [1, 4, 16, 4]))
    x = b.plain("RESHAPE", "wide", [x, "shape"], activation("", (1, 4, 16, 4)))
    return b.model(["in"], [b.conv("b", x, 4)])


def dense_before() -> bytes:
    """A dense layer of 64 rows that are then the pixels of an image."""
    b = Builder(12)
    b.add(activation("in", (64, 5), 0.03, -7))
    x = b.dense("a", "in", 4)
    b.add(ints("shape", [1, 8, 8, 4]))
    x = b.plain("RESHAPE", "image", [x, "shape"], activation("", (1, 8, 8, 4), 0.1, 3))
    return b.model(["in"], [b.conv("b", x, 4)])


@pytest.mark.parametrize("make", [reshaped_between, dense_before])
def test_layers_are_not_streamed_through_a_change_of_shape(
    make: Callable[[], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "LEAST_SAVING", -1.0)
    model = make()
    project = generate(model, core=M3)
    inputs = stimuli(project.inputs[0].shape, 20)
    answers = run_host(compile_host(project, tmp_path, *SANITIZERS), project, [inputs])
    np.testing.assert_array_equal(next(iter(answers.values())), reference(model, [inputs])[0])


def test_what_is_expanded_and_thinned_at_once_is_never_held(monkeypatch: pytest.MonkeyPatch) -> None:
    model = visual_wake_words()
    project = generate(model, core=M4)
    assert "CONV_2D+DEPTHWISE_CONV_2D" in [s.operator for s in project.steps]
    assert project.arena_bytes < 28 * 1024
    monkeypatch.setattr(streaming, "LEAST_SAVING", 1.0)
    assert project.arena_bytes < 0.75 * generate(model, core=M4).arena_bytes


def windows(dilated: bool, count: int = 300) -> Iterator[Window]:
    """Windows whose height and width, and all that belongs to them, differ."""
    random = np.random.default_rng(dilated)
    for _ in range(count):
        in_h, in_w, k_h, k_w, stride_h, stride_w = (int(v) for v in random.integers(1, (9, 8, 5, 5, 4, 4)))
        dilation_h, dilation_w = (int(v) for v in random.integers(1, 4, 2)) if dilated else (1, 1)
        pad_h, pad_w = (int(random.integers(0, k)) for k in (k_h, k_w))
        out_h, out_w = -(-in_h // stride_h), -(-in_w // stride_w)
        yield Window(
            in_h, in_w, 3, out_h, out_w, 4, k_h, k_w, stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w
        )  # fmt: skip


@pytest.mark.parametrize("together", [1, 2])
def test_overlap_is_the_least_that_reads_before_it_overwrites(together: int) -> None:
    for over in windows(dilated=False):
        assert over.distance(together) == needed_distance(over, together), over


@pytest.mark.parametrize("together", [1, 2])
def test_a_dilated_window_overwrites_nothing_before_it_is_read(together: int) -> None:
    for over in windows(dilated=True):
        assert over.distance(together) >= needed_distance(over, together), over


def needed_distance(over: Window, together: int) -> int:
    """By walking through every read and write: how far a byte that is still to be read lies before one written."""
    last_read: dict[int, int] = {}
    for pixel in range(over.pixels()):
        y, x = divmod(pixel, over.out_w)
        for ky in range(over.k_h):
            for kx in range(over.k_w):
                row = y * over.stride_h - over.pad_h + ky * over.dilation_h
                column = x * over.stride_w - over.pad_w + kx * over.dilation_w
                if 0 <= row < over.in_h and 0 <= column < over.in_w:
                    last_read[row * over.in_w + column] = pixel
    distance = 0
    for place, pixel in last_read.items():
        # Pixels of one turn are all read before the first of them is written.
        written_before = pixel // together * together * over.out_c
        distance = max(distance, written_before - place * over.in_c)
    return distance
