"""Layers stay float, the noisiest first, until the agreement that a budget needs is there; what it costs is told."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multigraft.agreement.agreement import Agreement
from multigraft.agreement.binomial import lower_bound
from multigraft.converters.quantising.improve import Quantised, Quantising
from multigraft.converters.quantising.lacking_agreement import lacking_agreement
from multigraft.converters.quantising.layer_error import SILENT_DB, LayerError, LayerErrorReport, real, sqnr_db, stored
from multigraft.converters.quantising.rescue import LEAST_PART, MOST_TRIES, PATIENCE, POOR_TRIES, Rescue, rescue
from multigraft.converters.quantising.safeguards import Safeguards, Safety
from multigraft.tflite.graph import Graph
from multigraft.tflite.macs import op_macs
from tests.converters.graph_builder import feeds, run, two_tasks, with_constant


def spoilt() -> tuple[Graph, Quantised]:
    """A network whose layer ``a`` has an outlier in every row, which leaves its other weights no bits."""
    floating = two_tasks()
    weights = floating.constant("a/weights")
    assert weights is not None
    outlier = weights.copy()
    outlier[:, 0] = 300
    floating = with_constant(floating, "a/weights", outlier)
    chosen = feeds(floating, 32)
    return floating, Quantising("int8", lambda count: chosen[:count], {}).on(floating)


def coarse() -> tuple[Graph, Quantised]:
    """A network with convolutions of 4-bit weights, of which task ``a`` has one."""
    floating = two_tasks()
    chosen = feeds(floating, 32)
    return floating, Quantising("int4", lambda count: chosen[:count], {}).on(floating)


def nearness(floating: Graph, graph: Graph, tolerance: float) -> dict[str, float]:
    """Output to the share of frames on which it is as the float one within ``tolerance``."""
    near: dict[str, list[bool]] = {"a": [], "b": []}
    for feed in feeds(floating, 24, seed=3):
        truth, values = run(floating, feed), run(graph, stored(feed, graph))
        for name, one in near.items():
            one.append(bool(np.abs(real(values[name], graph.tensors[name]) - truth[name]).max() <= tolerance))
    return {name: float(np.mean(one)) for name, one in near.items()}


def agreements(floating: Graph, graph: Graph) -> dict[str, float]:
    same: dict[str, list[bool]] = {"a": [], "b": []}
    for feed in feeds(floating, 48, seed=3):
        truth, values = run(floating, feed), run(graph, stored(feed, graph))
        for name, answers in same.items():
            answers.append(bool(real(values[name], graph.tensors[name]).argmax() == truth[name].argmax()))
    return {name: float(np.mean(answers)) for name, answers in same.items()}


def test_the_noisiest_layer_stays_float_and_its_cost_is_told() -> None:
    floating, quantised = spoilt()
    result, done = rescue(quantised, (), lambda g: agreements(floating, g), {"a": 0.1}, feeds(floating, 8))
    assert done is not None and done.is_enough
    assert [layer.tensor for layer in done.layers] == ["a"] and done.tried == 1
    assert done.before["a"] + 0.1 == done.needed["a"] <= done.after["a"] == agreements(floating, result.graph)["a"]
    assert result.graph.tensors["a"].dtype == "float32" and result.graph.tensors["b"].dtype == "int8"
    op = result.graph.producer("a")
    assert op is not None and done.float_macs == op_macs(result.graph, op)
    assert done.weights_bytes == result.graph.weights_bytes() - quantised.graph.weights_bytes() > 0
    assert done.latency_us_before > 0 and done.latency_us_after > 0
    said = " ".join(done.sentences())
    assert "stay float32: a (" in said and f"{done.weights_bytes} bytes" in said and "firmware" in said
    assert done.to_json()["layers"][0]["tensor"] == "a"


def test_frames_for_fitting_on_which_all_answers_stay_equal_cannot_choose_layers_and_that_is_said() -> None:
    floating, quantised = spoilt()
    few, tail = feeds(floating, 8), ("a",)
    result, done = rescue(
        quantised, (), lambda g: {"a": 1.0, "b": 1.0}, {"a": 0.1}, few, tail=tail, measured={"a": 0.8}
    )
    assert done is not None and done.tried == 0 and result.graph is quantised.graph
    said = " ".join(done.sentences())
    assert "()" not in said
    assert "too few answers of a stay equal on held-out frames" in said and "fit_frames" in said


def test_weights_of_4_bits_get_8_before_anything_stays_float() -> None:
    floating, quantised = coarse()
    result, done = rescue(quantised, (), lambda g: nearness(floating, g, 0.1), {"a": 0.7}, feeds(floating, 8))
    assert done is not None and done.is_enough and not done.layers and done.float_macs == 0
    assert done.before["a"] < 0.3 and done.after["a"] == 1
    assert [layer.tensor for layer in done.raised] == ["a/conv"]
    dtypes = {name: result.graph.tensors[f"{name}/conv/weights"].dtype for name in ("a", "b")}
    assert dtypes == {"a": "int8", "b": "int4"}
    assert done.weights_bytes == result.graph.weights_bytes() - quantised.graph.weights_bytes() > 0
    assert all(result.graph.tensors[op.outputs[0]].dtype == "int8" for op in result.graph.ops)
    said = " ".join(done.sentences())
    assert "So these get 8-bit weights: a/conv (" in said and "float32" not in said and "firmware" not in said
    assert done.to_json()["raised"][0]["tensor"] == "a/conv" and done.to_json()["layers"] == []


def test_what_8_bits_do_not_give_float_does() -> None:
    floating, quantised = coarse()
    result, done = rescue(quantised, (), lambda g: nearness(floating, g, 0.02), {"a": 1.0}, feeds(floating, 8))
    assert done is not None and done.is_enough and done.layers
    assert "a/conv" in [layer.tensor for layer in (*done.raised, *done.layers)]
    assert all(result.graph.tensors[layer.tensor].dtype == "float32" for layer in done.layers)


def test_nothing_is_done_where_nothing_is_lacking() -> None:
    floating, quantised = spoilt()
    result, done = rescue(quantised, (), lambda g: agreements(floating, g), {}, feeds(floating, 2))
    assert done is None and result.graph is quantised.graph


def test_it_ends_where_nothing_helps_and_says_so() -> None:
    floating, quantised = spoilt()
    result, done = rescue(quantised, (), lambda _: {"a": 0.5, "b": 1.0}, {"a": 0.4}, feeds(floating, 4))
    assert done is not None and not done.is_enough and not done.layers
    assert result.graph is quantised.graph and (done.weights_bytes, done.float_macs) == (0, 0)
    assert PATIENCE <= done.tried <= MOST_TRIES
    assert "did not help" in done.sentences()[0]


def test_frames_of_which_more_differs_need_as_large_a_share() -> None:
    """Half of what differs has to go on frames held out: so it has to on those for fitting, where more differs."""
    floating, quantised = spoilt()

    def judge(graph: Graph) -> dict[str, float]:
        return {"a": 0.8 if graph.tensors["a"].dtype == "float32" else 0.4}

    _, done = rescue(quantised, (), judge, {"a": 0.1}, feeds(floating, 4), measured={"a": 0.8})
    assert done is not None and done.needed == {"a": pytest.approx(0.7)} and done.is_enough
    _, easy = rescue(quantised, (), judge, {"a": 0.3}, feeds(floating, 4), measured={"a": 0.1})
    assert easy is not None and easy.needed == {"a": pytest.approx(0.7)}


def test_what_gains_next_to_nothing_is_given_up_early_and_told() -> None:
    """A tenth of what is lacking has to be made up: less is not worth the time that layers take in float."""
    floating, quantised = spoilt()

    def judge(graph: Graph) -> dict[str, float]:
        return {"a": 0.5 + 0.005 * sum(graph.tensors[op.outputs[0]].dtype == "float32" for op in graph.ops)}

    result, done = rescue(quantised, (), judge, {"a": 0.45}, feeds(floating, 4))
    assert done is not None and not done.is_enough and not done.layers and not done.groups
    assert result.graph is quantised.graph and done.after == done.before and done.tried <= POOR_TRIES
    assert 0 < done.not_worth < LEAST_PART * 0.45 and done.to_json()["not_worth"] == done.not_worth
    assert "which is not worth its time" in done.sentences()[0]


def test_what_helps_a_little_is_kept_and_called_too_little() -> None:
    floating, quantised = spoilt()

    def judge(graph: Graph) -> dict[str, float]:
        return {"a": 0.7 if graph.tensors["a"].dtype == "float32" else 0.5}

    result, done = rescue(quantised, (), judge, {"a": 0.4}, feeds(floating, 4))
    assert done is not None and not done.is_enough and "a" in [layer.tensor for layer in done.layers]
    assert result.graph.tensors["a"].dtype == "float32"
    assert "still too little" in " ".join(done.sentences())


@given(st.integers(20, 3000), st.floats(0.5, 0.99), st.floats(0.6, 0.99), st.floats(0, 1))
def test_what_is_lacking_is_just_enough(frames: int, minimum: float, confidence: float, share: float) -> None:
    right = int(share * frames)
    bound = lower_bound(right, frames, confidence)
    measured = Agreement(right / frames, bound, confidence, frames, "classification", None, "")
    lack = lacking_agreement(minimum, measured)
    reached = right + round(lack * frames)
    assert lower_bound(reached, frames, confidence) >= minimum or reached == frames
    assert (lack == 0) == (bound >= minimum or right == frames)
    assert lack == 0 or lower_bound(reached - 1, frames, confidence) < minimum


def test_graded_scores_need_more() -> None:
    exact = Agreement(0.9, 0.88, 0.95, 1000, "classification", None, "")
    graded = dataclasses.replace(exact, kind="segmentation", is_graded=True)
    assert lacking_agreement(0.95, graded) > lacking_agreement(0.95, exact) > 0.05


def test_layers_below_the_limit_are_named_with_their_noise() -> None:
    layers = [LayerError(f"layer{n}", "CONV_2D", 5.0, float(n)) for n in range(20, 0, -1)]
    report = LayerErrorReport(tuple(layers), 4)
    noisy = report.below(8.0)
    assert [layer.own_sqnr_db for layer in noisy] == [1, 2, 3, 4, 5, 6, 7]
    _, quantised = spoilt()
    safety = Safety(quantised.improvement, None, noisy, Safeguards(8.0))
    (sentence,) = safety.sentences()
    assert "below 8 dB" in sentence and "layer1 (CONV_2D, 1.0 dB)" in sentence and "and 2 more" in sentence
    assert len(safety.to_json()["noisy_layers"]) == 7
    assert Safety(quantised.improvement, None, (), Safeguards()).to_json() == {}


def test_a_rescue_without_layers_costs_nothing() -> None:
    done = Rescue((), 4, {"a": 0.9}, {"a": 0.5}, {"a": 0.5}, 0, 0, 10.0, 0.0)
    assert len(done.sentences()) == 1 and "a: 0.500 on frames for fitting, 0.900 needed" in done.sentences()[0]


@pytest.mark.parametrize(("spared", "warns"), [(0, False), (1, True), (49_999, True), (50_000, False), (-1, False)])
def test_a_plan_that_saves_less_than_int8_then_needs_in_float_is_called_so(spared: int, warns: bool) -> None:
    layers = (LayerError("layer", "CONV_2D", 5.0, 5.0),)
    done = Rescue(layers, 4, {"a": 0.9}, {"a": 0.5}, {"a": 0.9}, 50_000, 9, 10.0, 20.0)
    said = Safety(spoilt()[1].improvement, done, (), Safeguards(spared_bytes=spared)).sentences()
    told = [sentence for sentence in said if f"more than the {spared:,} bytes" in sentence]
    assert len(told) == warns and all("--share TASK=none" in sentence for sentence in told)


def test_noise_without_a_signal_is_no_silence() -> None:
    zeros, ones = [np.zeros(4, np.float32)], [np.ones(4, np.float32)]
    assert sqnr_db(zeros, zeros) == sqnr_db(ones, ones) == SILENT_DB
    assert sqnr_db(zeros, ones) == -SILENT_DB
    assert sqnr_db(ones, zeros) == 0
