"""Windows over an image, in height and width of their own: against a kernel that is slid pixel by pixel."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from multigraft.firmware_gen.arithmetic.geometry import Window, window
from multigraft.firmware_gen.program.program import Node
from multigraft.tflite.graph import Op, OptionValue, Tensor


def node(
    source: tuple[int, ...], result: tuple[int, ...], options: dict[str, OptionValue]
) -> tuple[Node, Tensor, Tensor]:
    a, b = Tensor("in", (1, *source), "int8"), Tensor("out", (1, *result), "int8")
    return Node(Op("CONV_2D", ("in",), ("out",), options), (a,), (b,)), a, b


def made(source: tuple[int, ...], result: tuple[int, ...], kernel: tuple[int, int], **options: OptionValue) -> Window:
    one, a, b = node(source, result, options)
    return window(one, kernel, a, b)


def test_every_size_comes_from_its_own_place() -> None:
    found = made(
        (11, 13, 3),
        (4, 2, 7),
        (3, 5),
        stride_h=2,
        stride_w=4,
        dilation_h_factor=3,
        dilation_w_factor=2,
        padding="VALID",
    )
    assert found == Window(11, 13, 3, 4, 2, 7, 3, 5, 2, 4, 3, 2, 0, 0)
    assert found.taps == 45 and found.pixels() == 8
    assert found.plane() == ((4 - 1) * 2 + 2 * 3 + 1, (2 - 1) * 4 + 4 * 2 + 1)
    assert made((5, 6, 1), (5, 6, 1), (1, 1)) == Window(5, 6, 1, 5, 6, 1, 1, 1)
    assert Window(1, 2, 3, 4, 5, 6, 7, 8) == Window(1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 1, 1, 0, 0)


@pytest.mark.parametrize("stride", list(itertools.product((1, 2, 3), (1, 2, 3))))
@pytest.mark.parametrize("kernel", [(1, 1), (3, 2), (2, 5), (4, 3)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1), (1, 3)])
def test_same_padding_is_half_of_what_lacks_with_the_odd_pixel_behind(
    stride: tuple[int, int], kernel: tuple[int, int], dilation: tuple[int, int]
) -> None:
    size = (9, 12)
    out = tuple(-(-n // s) for n, s in zip(size, stride, strict=True))
    pads = []
    for n, s, k, d, o in zip(size, stride, kernel, dilation, out, strict=True):
        lacking = max((o - 1) * s + (k - 1) * d + 1 - n, 0)
        pads.append(lacking // 2)
    options: dict[str, OptionValue] = {
        "stride_h": stride[0],
        "stride_w": stride[1],
        "dilation_h_factor": dilation[0],
        "dilation_w_factor": dilation[1],
    }
    for padding in ({"padding": "SAME"}, {}):
        found = made((*size, 2), (*out, 4), kernel, **(options | padding))
        assert (found.pad_h, found.pad_w) == tuple(pads)
        assert (found.stride_h, found.stride_w, found.dilation_h, found.dilation_w) == (*stride, *dilation)


def test_other_paddings_take_what_they_say() -> None:
    explicit = made((8, 8, 1), (8, 8, 1), (3, 3), padding="EXPLICIT", pad_h=2, pad_w=5)
    assert (explicit.pad_h, explicit.pad_w) == (2, 5)
    unsaid = made((8, 8, 1), (8, 8, 1), (3, 3), padding="EXPLICIT")
    assert (unsaid.pad_h, unsaid.pad_w) == (0, 0)
    valid = made((8, 8, 1), (6, 6, 1), (3, 3), padding="VALID", pad_h=2, pad_w=5)
    assert (valid.pad_h, valid.pad_w) == (0, 0)


POINTWISE = Window(5, 6, 3, 5, 6, 2, 1, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"k_h": 2},
        {"k_w": 2},
        {"stride_h": 2},
        {"stride_w": 2},
        {"pad_h": 1},
        {"pad_w": 1},
        {"k_h": 2, "k_w": 2, "stride_h": 2, "stride_w": 2},
    ],
)
def test_a_window_is_pointwise_if_each_pixel_reads_its_own_only(change: dict[str, int]) -> None:
    assert POINTWISE.pointwise
    assert not dataclasses.replace(POINTWISE, **change).pointwise


def overwritten(w: Window, together: int, distance: int) -> bool:
    """Whether a kernel that reads ``together`` pixels, then writes them, overwrites input bytes that are still to come.

    The output starts ``distance`` bytes before the input, so output byte ``b`` lies at input byte ``b - distance``.
    """
    reads = []
    for y in range(w.out_h):
        for x in range(w.out_w):
            seen = set()
            for i in range(w.k_h):
                for j in range(w.k_w):
                    row = y * w.stride_h - w.pad_h + i * w.dilation_h
                    column = x * w.stride_w - w.pad_w + j * w.dilation_w
                    if 0 <= row < w.in_h and 0 <= column < w.in_w:
                        seen |= {(row * w.in_w + column) * w.in_c + c for c in range(w.in_c)}
            reads.append(seen)
    written = -1
    for first in range(0, len(reads), together):
        part = reads[first : first + together]
        if any(byte <= written for seen in part for byte in seen):
            return True
        written = (first + len(part)) * w.out_c - 1 - distance
    return False


WINDOWS = {
    "plain": Window(5, 6, 2, 3, 4, 2, 3, 3),
    "wider": Window(5, 6, 2, 3, 4, 7, 3, 3),
    "narrower": Window(5, 6, 4, 3, 4, 1, 3, 3),
    "same": Window(5, 6, 2, 5, 6, 2, 3, 3, pad_h=1, pad_w=1),
    "same wider": Window(5, 6, 1, 5, 6, 3, 3, 3, pad_h=1, pad_w=1),
    "strided": Window(7, 6, 2, 3, 2, 9, 3, 3, 2, 2),
    "strided unequally": Window(9, 5, 2, 3, 4, 5, 2, 2, 3, 1),
    "strided the other way": Window(5, 9, 2, 4, 3, 5, 2, 2, 1, 3),
    "dilated": Window(7, 7, 2, 3, 3, 4, 3, 3, 1, 1, 2, 2),
    "pointwise": Window(4, 3, 2, 4, 3, 5, 1, 1),
    "one row": Window(1, 8, 2, 1, 6, 5, 1, 3),
    "one column": Window(8, 1, 2, 6, 1, 5, 3, 1),
    "padded far": Window(3, 4, 2, 7, 8, 2, 3, 3, pad_h=3, pad_w=3),
    "whole": Window(4, 4, 3, 1, 1, 50, 4, 4),
    "padded above": Window(3, 8, 4, 3, 4, 1, 5, 5, pad_h=2),
    "one padded row": Window(1, 8, 4, 1, 4, 1, 5, 5, pad_h=2),
    "padded around": Window(8, 8, 4, 8, 8, 1, 5, 5, pad_h=2, pad_w=2),
}


@pytest.mark.parametrize("together", [1, 2, 3, 5, 7, 15, 100])
@pytest.mark.parametrize("name", WINDOWS)
def test_the_distance_keeps_every_pixel_until_it_is_read(name: str, together: int) -> None:
    w = WINDOWS[name]
    distance = w.distance(together)
    assert not overwritten(w, together, distance)
    assert distance >= 0


EXACT = (
    "plain",
    "wider",
    "strided",
    "strided unequally",
    "strided the other way",
    "pointwise",
    "one row",
    "one column",
)


@pytest.mark.parametrize("together", [1, 2, 3])
@pytest.mark.parametrize("name", EXACT)
def test_a_distance_of_a_window_without_padding_and_gaps_is_the_least(name: str, together: int) -> None:
    distance = WINDOWS[name].distance(together)
    if distance:
        assert overwritten(WINDOWS[name], together, distance - 1)


@pytest.mark.parametrize(
    ("name", "together", "distance"),
    [
        ("wider", 1, 47),
        ("wider", 12, 0),
        ("pointwise", 1, 33),
        ("pointwise", 4, 24),
        ("whole", 1, 0),
        ("narrower", 1, 0),
        ("same", 1, 14),
        ("same wider", 1, 65),
        ("padded far", 1, 86),
        ("one row", 1, 15),
        ("padded above", 7, 7),
        ("padded around", 15, 15),
        ("one padded row", 1, 0),
    ],
)
def test_distances_by_hand(name: str, together: int, distance: int) -> None:
    """The wider window, for instance: before output 11 of 7 channels is read, 77 bytes are written, and it reads from
    row 2, column 3 of 6 on, at 2 channels each: byte 30."""
    assert WINDOWS[name].distance(together) == distance
