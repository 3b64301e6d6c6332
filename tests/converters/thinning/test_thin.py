"""A thinned network has fewer weights or multiply-accumulates and answers as nearly as its channels allow."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from multigraft.converters.network.network import Network
from multigraft.converters.thinning.allot import allot_within
from multigraft.converters.thinning.channels import channel_groups
from multigraft.converters.thinning.pivots import pivots
from multigraft.converters.thinning.survey import Read, survey
from multigraft.converters.thinning.thin import thin
from multigraft.refit.ridge import RidgeSums
from tests.converters.graft.networks import GREY, frames, model, residual_network

FRAMES = frames(120, seed=1)
HELD_OUT = frames(100, seed=2)


def answers(network: Network) -> Any:
    return network.run(network.prepare(HELD_OUT))[network.outputs[0]]


def error(network: Network, original: Network) -> float:
    was = answers(original)
    return float(((answers(network) - was) ** 2).sum() / ((was - was.mean(0)) ** 2).sum())


def inverted_bottleneck(doubled: bool) -> Network:
    """Expand, depthwise, project, as MobileNetV2 has it; with ``doubled`` every expanded channel is there twice."""
    rng = np.random.default_rng(4)
    constants: dict[str, Any] = {
        "w0": rng.normal(size=(4, 1, 3, 3)) / 3,
        "b0": rng.normal(size=4) / 4,
        "we": rng.normal(size=(12, 4, 1, 1)) / 2,
        "be": rng.normal(size=12) / 4,
        "wd": rng.normal(size=(12, 1, 3, 3)) / 3,
        "bd": rng.normal(size=12) / 4,
        "wp": rng.normal(size=(4, 12, 1, 1)) / 3,
        "bp": rng.normal(size=4) / 4,
        "wg": rng.normal(size=(4, 3)),
        "bg": np.zeros(3),
    }
    if doubled:
        for name in ("we", "be", "wd", "bd"):
            constants[name] = np.concatenate([constants[name]] * 2)
        constants["wp"] = np.concatenate([constants["wp"], rng.normal(size=(4, 12, 1, 1)) / 3], axis=1)
    count = len(constants["we"])
    constants = {name: value.astype(np.float32) for name, value in constants.items()}
    constants |= {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}
    nodes = [
        helper.make_node("Conv", ["image", "w0", "b0"], ["stem"], pads=[1] * 4),
        helper.make_node("Conv", ["stem", "we", "be"], ["expanded"]),
        helper.make_node("Clip", ["expanded", "low", "high"], ["clipped"]),
        helper.make_node("Conv", ["clipped", "wd", "bd"], ["deep"], pads=[1] * 4, group=count),
        helper.make_node("Sigmoid", ["deep"], ["gate"]),
        helper.make_node("Mul", ["deep", "gate"], ["swish"]),
        helper.make_node("Conv", ["swish", "wp", "bp"], ["projected"]),
        helper.make_node("Add", ["projected", "stem"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "wg", "bg"], ["logits"]),
    ]
    return Network("bottle", model(nodes, constants, (1, 8, 8), {"logits": (3,)}), GREY)


def dense_network(features: int) -> Network:
    """Pooled positions flattened into dense layers, a product and its bias apart, and a gate over channels."""
    rng = np.random.default_rng(5)
    constants: dict[str, Any] = {
        "w0": rng.normal(size=(features, 1, 3, 3)) / 3,
        "b0": rng.normal(size=features) / 4,
        "ws": rng.normal(size=(features, features, 1, 1)) / 3,
        "bs": rng.normal(size=features),
        "w1": rng.normal(size=(features * 16, 12)) / 10,
        "b1": rng.normal(size=12) / 4,
        "w2": rng.normal(size=(12, 3)),
        "b2": np.zeros(3),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w0", "b0"], ["stem"], pads=[1] * 4),
        helper.make_node("Relu", ["stem"], ["seen"]),
        helper.make_node("AveragePool", ["seen"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["pooled"], ["squeezed"]),
        helper.make_node("Conv", ["squeezed", "ws", "bs"], ["excited"]),
        helper.make_node("Sigmoid", ["excited"], ["gate"]),
        helper.make_node("Mul", ["pooled", "gate"], ["gated"]),
        helper.make_node("Flatten", ["gated"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w1"], ["product"]),
        helper.make_node("Add", ["product", "b1"], ["biased"]),
        helper.make_node("Relu", ["biased"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "w2", "b2"], ["logits"]),
    ]
    values = {name: value.astype(np.float32) for name, value in constants.items()}
    return Network("dense", model(nodes, values, (1, 8, 8), {"logits": (3,)}), GREY)


@pytest.fixture(scope="module")
def network() -> Network:
    return residual_network("wide", 3, width=16)


def test_less_is_left_the_less_is_asked_for_and_the_given_network_stays_as_it_was(network: Network) -> None:
    before = network.model.SerializeToString(deterministic=True)
    found = survey(network, FRAMES)
    thinned = [thin(network, FRAMES, share, found=found) for share in (0.8, 0.5)]
    assert network.model.SerializeToString(deterministic=True) == before
    costs = [(t.network.macs, t.network.weights) for t in thinned]
    assert all(t.network.macs <= share * network.macs for t, share in zip(thinned, (0.8, 0.5), strict=True))
    assert costs[1] < costs[0] < (network.macs, network.weights)
    assert error(thinned[0].network, network) <= error(thinned[1].network, network) < 0.5
    light = thin(network, FRAMES, 0.5, macs=0.0, found=found).network
    assert light.weights <= 0.5 * network.weights


def test_at_full_width_nothing_changes(network: Network) -> None:
    same = thin(network, FRAMES, 1.0)
    assert same.network is network and not same.layers


def test_channels_that_are_added_go_together_and_every_layer_is_named(network: Network) -> None:
    stream, inner, last = channel_groups(network)
    made = [network.nodes[i].output[0] for i in stream.makers]
    assert made == ["wide/c0", "wide/c2"], "the stem and the block's end are added"
    assert len(inner.makers) == len(last.makers) == 1
    thinned = thin(network, FRAMES, 0.4)
    shapes = thinned.network.shapes
    assert {layer.name: layer.kept for layer in thinned.layers} == {
        layer.name: shapes[f"wide/{layer.name}"][0] for layer in thinned.layers
    }
    assert shapes["wide/c0"] == shapes["wide/c2"]


def test_channels_that_are_there_twice_go_without_loss_through_depthwise_layers_and_gates() -> None:
    doubled = inverted_bottleneck(doubled=True)
    group = channel_groups(doubled)[-1]
    assert group.count == 24 and len(group.between) == 1
    share = inverted_bottleneck(doubled=False).macs / doubled.macs
    thinned = thin(doubled, FRAMES, share)
    assert [(layer.channels, layer.kept) for layer in thinned.layers] == [(24, 12)]
    assert thinned.network.macs == inverted_bottleneck(doubled=False).macs
    assert error(thinned.network, doubled) < 1e-3


def test_squeezed_gates_flattened_positions_and_biases_apart_lose_the_same_channels() -> None:
    wide = dense_network(10)
    gated, hidden = channel_groups(wide)
    assert (gated.count, hidden.count) == (10, 12)
    assert [wide.nodes[i].op_type for i in gated.readers] == ["Conv", "MatMul"]
    thinned = thin(wide, FRAMES, 0.6)
    assert thinned.network.macs <= 0.6 * wide.macs
    assert answers(thinned.network).shape == answers(wide).shape and error(thinned.network, wide) < 0.3


def test_solving_every_layer_keeps_more_than_narrowing_alone(network: Network) -> None:
    from multigraft.converters.thinning.narrow import narrowed

    found = survey(network, FRAMES)
    thinned = thin(network, FRAMES, 0.5, found=found)
    kept = {layer.name: layer.kept for layer in thinned.layers}
    names = [network.nodes[g.makers[0]].output[0].split("/")[1] for g in found.groups]
    chosen = [np.sort(order[: kept.get(name, len(order))]) for name, order in zip(names, found.orders, strict=True)]
    plain = narrowed(network, found.groups, chosen)
    assert plain.macs == thinned.network.macs
    assert error(thinned.network, network) < 0.5 * error(plain, network)


def test_channels_of_an_answer_stay() -> None:
    tensors = {name for group in channel_groups(residual_network("plain", 0)) for name in group.tensors}
    assert "plain/logits" not in tensors and "plain/image" not in tensors


def test_pivots_take_what_is_not_explained_yet() -> None:
    """The second of two equal channels comes last, however large it is."""
    values = np.random.default_rng(0).normal(size=(500, 3)) * np.array([3.0, 1.0, 0.5])
    covariance = np.cov(np.concatenate([values, values[:, :1]], axis=1).T)
    assert pivots(covariance).tolist() == [0, 1, 2, 3]
    norms = np.array([1, 9.0, 1, 1])
    assert pivots(covariance * norms * norms[:, None]).tolist()[0] == 1


def test_few_frames_do_not_make_channels_look_needless() -> None:
    """A classifier of 80 inputs and 40 rows is fitted without error by half of them, which says nothing."""
    rng = np.random.default_rng(0)
    sums = RidgeSums.empty(1, 80, 3)
    inputs = rng.normal(size=(1, 40, 80))
    weight = rng.normal(size=(80, 3))
    sums.add(inputs, inputs @ weight)
    variance = float(np.sum(sums.yy - sums.y**2 / sums.rows))
    curve = Read(sums, weight, variance).curve(np.arange(80), np.arange(80)[:, None])
    assert curve[40] > 0.2 and curve[79] > 0 and curve[-1] == pytest.approx(0)
    assert curve[40] > curve[60] > curve[79]


def two_tasks() -> Network:
    """A stem that two answers read, each through hidden channels of its own."""
    wide = residual_network("wide", 3, width=16)
    constants = {name.removeprefix("wide/"): value for name, value in wide.constants.items()}
    rng = np.random.default_rng(0)
    constants |= {
        "w5": rng.normal(size=(16, 16, 3, 3)).astype(np.float32) / 8,
        "w6": rng.normal(size=(2, 16)).astype(np.float32),
    }
    nodes = [helper.make_node("Conv", ["block", "w5"], ["c5"], strides=[2, 2])]
    nodes.append(helper.make_node("Relu", ["c5"], ["r5"]))
    nodes.append(helper.make_node("GlobalAveragePool", ["r5"], ["p5"]))
    nodes.append(helper.make_node("Flatten", ["p5"], ["f5"]))
    nodes.append(helper.make_node("Gemm", ["f5", "w6"], ["other"], transB=1))
    own = []
    for one in wide.nodes:
        copied = onnx.NodeProto()
        copied.CopyFrom(one)
        copied.input[:] = [name.removeprefix("wide/") for name in one.input]
        copied.output[:] = [name.removeprefix("wide/") for name in one.output]
        own.append(copied)
    return Network("two", model([*own, *nodes], constants, (1, 8, 8), {"logits": (3,), "other": (2,)}), GREY)


def test_no_task_loses_more_than_it_may_and_what_one_may_lose_is_not_spent_on_another() -> None:
    network = two_tasks()
    found = survey(network, FRAMES, outputs=[1, 1])
    named = [network.nodes[g.makers[-1]].output[0] for g in found.groups]
    of_first, of_second = named.index("two/c3"), named.index("two/c5")
    tight, loose = 0.02, 0.3
    widths: dict[tuple[float, float], list[int]] = {}
    for first, second in ((tight, tight), (loose, tight), (tight, loose)):
        allowed = np.array([first, second])
        widths[first, second] = allot_within(found, allowed)
        assert np.all(found.lost(widths[first, second]) <= allowed)
    even, for_first, for_second = widths.values()
    assert for_first[of_first] < even[of_first] and for_first[of_second] >= even[of_second]
    assert for_second[of_second] < even[of_second] and for_second[of_first] >= even[of_first]
