"""Equalisation and bias correction are taken where frames held out gain by them, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.converters.conversion.interpreters import available, tapped
from multigraft.converters.quantising.channels import measure_channels
from multigraft.converters.quantising.correct_bias import correctable, corrected
from multigraft.converters.quantising.improve import Quantised, Quantising, output_sqnr_db, quantise_well
from multigraft.converters.quantising.layer_error import real, stored
from multigraft.converters.quantising.precisions import Precision
from multigraft.tflite.graph import Graph
from tests.converters.graph_builder import feeds, run
from tests.converters.quantising.mobile_network import mobile_network

FRAMES = 64


def quantised(graph: Graph, precision: Precision = "int8", frames: int = FRAMES) -> tuple[Graph, Quantised]:
    """Plain, and with whatever helps."""
    chosen = feeds(graph, frames)
    how = Quantising(precision, lambda count: chosen[:count], {})
    return how.on(graph).graph, quantise_well(graph, how, ())


def agreement(floating: Graph, graph: Graph, backend: str = "ai-edge-litert") -> float:
    """Share of frames that no choice has seen with the same class."""
    same = []
    for feed in feeds(floating, 48, seed=99):
        value = real(run(graph, stored(feed, graph), backend)["y"], graph.tensors["y"])
        same.append(value.argmax() == run(floating, feed)["y"].argmax())
    return float(np.mean(same))


@pytest.mark.parametrize("backend", available())
def test_an_unbalanced_network_of_inverted_residuals_is_as_good_as_a_balanced_one(backend: str) -> None:
    floating = mobile_network(3.0)
    plain, well = quantised(floating)
    assert agreement(floating, plain, backend) < 0.6
    assert agreement(floating, well.graph, backend) > 0.9
    improvement = well.improvement
    assert len(improvement.equalised) == 10
    assert improvement.equalising_gain_db is not None and improvement.equalising_gain_db > 10
    assert improvement.to_json()["equalised"]["gain_db"] == improvement.equalising_gain_db
    assert "10 tensors" in improvement.sentences()[0]


def test_a_network_of_rectifiers_that_end_is_equalised_too() -> None:
    floating = mobile_network(3.0, activation="RELU6")
    plain, well = quantised(floating)
    assert len(well.improvement.equalised) == 10
    assert agreement(floating, well.graph) > 0.9 > agreement(floating, plain) + 0.1


def content(graph: Graph) -> bytes:
    return tapped(graph, graph.outputs)


def test_without_a_clear_gain_a_network_is_quantised_as_ever() -> None:
    floating, chosen = mobile_network(3.0), feeds(mobile_network(), FRAMES)
    how = Quantising("int8", lambda count: chosen[:count], {}, least_gain_db=60.0)
    plain, well = how.on(floating).graph, quantise_well(floating, how, ())
    assert well.improvement.equalising_gain_db is not None and well.improvement.correcting_gain_db is not None
    assert well.improvement.to_json() == {} and not well.improvement.sentences()
    assert content(plain) == content(well.graph)


def test_without_frames_to_hold_out_nothing_is_tried() -> None:
    plain, well = quantised(mobile_network(3.0), frames=8)
    assert content(plain) == content(well.graph) and well.improvement.equalising_gain_db is None


def test_ranges_that_are_given_hold_equalisation_off() -> None:
    floating = mobile_network(3.0)
    chosen = feeds(floating, FRAMES)
    how = Quantising("int8", lambda count: chosen[:count], {"0/expand": (0.0, 4.0)})
    well = quantise_well(floating, how, ("1/depth",))
    assert well.improvement.equalised and not {"0/expand", "1/depth"} & set(well.improvement.equalised)
    quant = well.graph.tensors["0/expand"].quant
    assert quant is not None and quant.scales[0] == pytest.approx(4 / 255)


def test_corrected_biases_take_the_mean_error_of_coarse_weights() -> None:
    floating = mobile_network(seed=1)
    seen, fresh = feeds(floating, 48), feeds(floating, 32, seed=5)
    plain = Quantising("int4", lambda _: seen, {}).on(floating).graph
    better = corrected(plain, floating, measure_channels(floating, correctable(floating), seen))
    truth = [run(floating, f) for f in fresh]
    shifts = []
    for graph in (plain, better):
        values = [real(run(graph, stored(f, graph))["y"], graph.tensors["y"]) for f in fresh]
        shifts.append(np.abs(np.mean([v - t["y"] for v, t in zip(values, truth, strict=True)], axis=0)).mean())
    assert shifts[1] < shifts[0] / 2
    assert output_sqnr_db(truth, better, fresh)["y"] > output_sqnr_db(truth, plain, fresh)["y"] + 3


def test_four_bit_weights_gain_by_corrected_biases() -> None:
    floating = mobile_network(seed=1)
    plain, well = quantised(floating, "int4")
    assert well.improvement.are_biases_corrected and "Corrected biases" in well.improvement.sentences()[-1]
    assert agreement(floating, well.graph) > agreement(floating, plain) + 0.2


def test_layers_can_be_kept_float_afterwards() -> None:
    floating = mobile_network(3.0)
    _, well = quantised(floating)
    again = well.again({"stem"}, ())
    assert again.tensors["stem"].dtype == "float32" and well.graph.tensors["stem"].dtype == "int8"
    assert agreement(floating, again) > 0.9
