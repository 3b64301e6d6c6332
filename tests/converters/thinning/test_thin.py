"""A thinned network has fewer multiply-accumulates and answers as nearly as its channels allow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from multigraft.converters.network.network import Network
from multigraft.converters.thinning.hidden import hidden_channels
from multigraft.converters.thinning.pivots import pivots
from multigraft.converters.thinning.thin import thin
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


@pytest.fixture(scope="module")
def network() -> Network:
    return residual_network("wide", 3, width=16)


def test_less_is_left_the_less_is_asked_for_and_the_given_network_stays_as_it_was(network: Network) -> None:
    before = network.model.SerializeToString(deterministic=True)
    thinned = [thin(network, FRAMES, share) for share in (0.8, 0.5)]
    assert network.model.SerializeToString(deterministic=True) == before
    costs = [(t.network.macs, t.network.weights) for t in thinned]
    assert all(t.network.macs <= share * network.macs for t, share in zip(thinned, (0.8, 0.5), strict=True))
    assert costs[1] < costs[0] < (network.macs, network.weights)
    assert error(thinned[0].network, network) <= error(thinned[1].network, network) < 0.5


def test_at_full_width_nothing_changes(network: Network) -> None:
    same = thin(network, FRAMES, 1.0)
    assert same.network is network and not same.layers


def test_every_layer_that_is_thinned_or_left_is_named(network: Network) -> None:
    thinned = thin(network, FRAMES, 0.5)
    assert [layer.name for layer in thinned.layers] == ["c1", "c3"]
    assert thinned.left == ("c0", "c2")
    shapes = thinned.network.shapes
    assert {layer.name: shapes[f"wide/{layer.name}"][0] for layer in thinned.layers} == {
        layer.name: layer.kept for layer in thinned.layers
    }


def test_channels_that_are_there_twice_go_without_loss_through_depthwise_layers_and_gates() -> None:
    doubled = inverted_bottleneck(doubled=True)
    (hidden,) = hidden_channels(doubled)
    assert hidden.channels == 24 and len(hidden.between) == 1 and hidden.skip == "bottle/stem"
    share = inverted_bottleneck(doubled=False).macs / doubled.macs
    thinned = thin(doubled, FRAMES, share)
    assert [(layer.channels, layer.kept) for layer in thinned.layers] == [(24, 12)]
    assert thinned.network.macs == inverted_bottleneck(doubled=False).macs
    assert error(thinned.network, doubled) < 1e-3


def test_what_others_read_too_is_not_hidden() -> None:
    plain = residual_network("plain", 0)
    nodes = {plain.nodes[h.maker].output[0] for h in hidden_channels(plain)}
    assert nodes == {"plain/c1", "plain/c3"}, "the stem is read by a block and by its skip path"


def test_pivots_take_what_is_not_explained_yet() -> None:
    """The second of two equal channels comes last, however large it is."""
    values = np.random.default_rng(0).normal(size=(500, 3)) * np.array([3.0, 1.0, 0.5])
    covariance = np.cov(np.concatenate([values, values[:, :1]], axis=1).T)
    assert pivots(covariance, np.ones(4)).tolist() == [0, 1, 2, 3]
    assert pivots(covariance, np.array([1, 9.0, 1, 1])).tolist()[0] == 1
