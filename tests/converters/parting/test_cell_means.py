"""Averages over cells stay what they are in float, and lose less in int8."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.converters.conversion.interpreters import Taps
from multigraft.converters.parting.cell_means import with_cell_means
from multigraft.converters.quantising.layer_error import real, sqnr_db, stored
from multigraft.converters.quantising.quantise import quantise
from multigraft.converters.quantising.ranges import measure
from multigraft.tflite.graph import Graph
from tests.converters.graph_builder import GraphBuilder, feeds, run


def pooled(
    cell: tuple[int, int], stride: tuple[int, int] | None = None, size: tuple[int, int] = (12, 8), channels: int = 3
) -> Graph:
    """A pool of a picture and a linear layer behind it, as an exit's head comes out of the converter."""
    b = GraphBuilder()
    x = b.input("x", 1, *size, channels)
    step = stride or cell
    out = tuple((s - c) // t + 1 for s, c, t in zip(size, cell, step, strict=True))
    window = {"filter_height": cell[0], "filter_width": cell[1], "stride_h": step[0], "stride_w": step[1]}
    y = b.op("AVERAGE_POOL_2D", "pool", [x], (1, *out, channels), padding="VALID", **window)
    y = b.reshape("flat", b.transpose("turned", y, 0, 3, 1, 2), 1, channels * out[0] * out[1])
    return b.graph(b.dense("answer", y, 4))


@pytest.mark.parametrize("cell", [(6, 4), (3, 4), (12, 8), (1, 4), (3, 1), (12, 2)])
def test_cells_are_averaged_as_before(cell: tuple[int, int]) -> None:
    graph = pooled(cell)
    means = with_cell_means(graph, ["answer"])
    assert "MEAN" in [op.name for op in means.ops]
    assert "AVERAGE_POOL_2D" not in [op.name for op in means.ops]
    for feed in feeds(graph, 3):
        np.testing.assert_allclose(run(means, feed)["answer"], run(graph, feed)["answer"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("cell", "stride"), [((5, 4), None), ((6, 4), (3, 2)), ((1, 1), None)])
def test_what_does_not_tile_stays(cell: tuple[int, int], stride: tuple[int, int] | None) -> None:
    graph = pooled(cell, stride)
    assert with_cell_means(graph, ["answer"]) is graph


def test_pools_that_no_answer_hangs_on_stay() -> None:
    graph = pooled((6, 4))
    assert with_cell_means(graph, []) is graph


def test_a_head_in_int8_hears_small_averages() -> None:
    graph = pooled((14, 14), size=(28, 28), channels=16)
    shown = feeds(graph, 24)
    truth = [run(graph, feed)["answer"] for feed in shown]

    def noise_db(floating: Graph) -> float:
        made = quantise(floating, "int8", measure(floating, shown))
        taps = Taps(made, made.outputs)
        values = [real(taps(stored(feed, made))["answer"], made.tensors["answer"]) for feed in shown]
        return sqnr_db(truth, values)

    assert noise_db(with_cell_means(graph, ["answer"])) > noise_db(graph) + 6
