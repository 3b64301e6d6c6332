"""Channels go through joins, flattened positions and reshapes, and those that stay are what they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from multigraft.converters.network.network import Network
from multigraft.converters.thinning.allot import Cost
from multigraft.converters.thinning.channels import channel_groups
from multigraft.converters.thinning.narrow import narrowed
from multigraft.converters.thinning.survey import survey
from multigraft.converters.thinning.thin import thin, thinned_to
from tests.converters.graft.networks import GREY, frames, model
from tests.converters.thinning.random_networks import Drawn, unread

FRAMES = frames(60, seed=1)
node = helper.make_node


def network_of(nodes: list[onnx.NodeProto], constants: dict[str, Any]) -> Network:
    """A network of a picture of 8 x 8, with three classes; numbers that are not whole become float32."""
    typed = {name: v if v.dtype == np.int64 else v.astype(np.float32) for name, v in constants.items()}
    return Network("odd", model(nodes, typed, (1, 8, 8), {"y": (3,)}), GREY)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 1_000_000))
def test_what_no_layer_reads_goes_without_a_trace_and_costs_are_those_foretold(seed: int) -> None:
    network, rng = Drawn(seed).network(), np.random.default_rng(seed)
    groups = channel_groups(network)
    assert groups, "each of these networks has channels that can go"
    widths = [int(rng.integers(1, group.count + 1)) for group in groups]
    kept = [np.sort(rng.permutation(group.count)[:width]) for group, width in zip(groups, widths, strict=True)]
    whole = unread(network, groups, kept)
    before = whole.model.SerializeToString(deterministic=True)
    narrow = narrowed(whole, groups, kept)
    was, now = (n.run(n.prepare(FRAMES[:8]))["odd/y"] for n in (whole, narrow))
    assert np.allclose(now, was, rtol=1e-4, atol=1e-5 * np.abs(was).max())
    assert whole.model.SerializeToString(deterministic=True) == before
    left = np.array([len(some) / group.count for group, some in zip(groups, kept, strict=True)])
    assert Cost(network, groups).tables().total(left) == pytest.approx(narrow.macs / network.macs)


@pytest.mark.parametrize("seed", [0, 2, 3, 4, 5])
def test_a_network_of_joins_is_thinned_to_what_was_asked_and_answers_nearly_the_same(seed: int) -> None:
    network = Drawn(seed).network()
    thinned = thin(network, FRAMES, 0.7).network
    assert thinned.macs <= 0.7 * network.macs
    was, now = (n.run(n.prepare(FRAMES))["odd/y"] for n in (network, thinned))
    assert ((now - was) ** 2).sum() < 0.5 * ((was - was.mean(0)) ** 2).sum()


def joining(doubled: bool) -> Network:
    """Two branches that are joined, one of which has every channel twice where ``doubled``."""
    rng = np.random.default_rng(3)
    times = 2 if doubled else 1
    # Of mean 0, so that no ReLU hides a channel on all frames.
    left, right = (w - w.mean((2, 3), keepdims=True) for w in (rng.normal(size=(n, 1, 3, 3)) for n in (4, 5)))
    of_left, of_right = rng.normal(size=(3, 4 * 4)), rng.normal(size=(3, 5 * 4))
    weights = {
        "left": np.concatenate([left] * times),
        "right": right,
        "row": np.array([1, (4 * times + 5) * 4], np.int64),
        "read": np.concatenate([*[of_left / times] * times, of_right], 1),
    }
    nodes = [
        node("Conv", ["image", "left"], ["l"], strides=[4, 4]),
        node("Conv", ["image", "right"], ["r"], strides=[4, 4]),
        node("Concat", ["l", "r"], ["joined"], axis=1),
        node("Relu", ["joined"], ["seen"]),
        node("Reshape", ["seen", "row"], ["flat"]),
        node("Gemm", ["flat", "read"], ["y"], transB=1),
    ]
    return network_of(nodes, weights)


def test_channels_of_a_branch_that_are_there_twice_go_without_loss_and_the_other_branch_keeps_its_own() -> None:
    doubled, many = joining(True), frames(400, seed=4)
    found = survey(doubled, many)
    assert [group.count for group in found.groups] == [8, 5]
    assert found.curves[0][4] == pytest.approx(0, abs=1e-4) and found.curves[1][3] > 1e-2
    thinned = thinned_to(found, [4, 5], many).network
    assert thinned.weights == joining(False).weights + 3, "solving gives the layer behind a bias"
    was, now = (n.run(n.prepare(FRAMES))["odd/y"] for n in (doubled, thinned))
    assert ((now - was) ** 2).sum() < 1e-5 * ((was - was.mean(0)) ** 2).sum()


def test_channels_that_are_joined_with_themselves_go_at_both_places() -> None:
    rng = np.random.default_rng(0)
    nodes = [
        node("Conv", ["image", "w0"], ["made"]),
        node("Concat", ["made", "made"], ["joined"], axis=1),
        node("GlobalAveragePool", ["joined"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "w1"], ["y"]),
    ]
    constants = {"w0": rng.normal(size=(6, 1, 3, 3)), "w1": rng.normal(size=(12, 3))}
    network = network_of(nodes, constants)
    (group,) = channel_groups(network)
    kept = [np.array([0, 2, 5])]
    whole = unread(network, (group,), kept)
    narrow = narrowed(whole, (group,), kept)
    assert narrow.shapes["odd/joined"][0] == 6
    assert np.allclose(
        whole.run(whole.prepare(FRAMES))["odd/y"], narrow.run(narrow.prepare(FRAMES))["odd/y"], atol=1e-5
    )


def test_what_is_joined_with_channels_that_stay_can_go() -> None:
    """The picture itself is one of the parts."""
    rng = np.random.default_rng(0)
    nodes = [
        node("Conv", ["image", "w0"], ["made"], pads=[1] * 4),
        node("Concat", ["image", "made"], ["joined"], axis=1),
        node("Conv", ["joined", "w1"], ["read"]),
        node("GlobalAveragePool", ["read"], ["pooled"]),
        node("Flatten", ["pooled"], ["y"]),
    ]
    constants = {"w0": rng.normal(size=(6, 1, 3, 3)), "w1": rng.normal(size=(3, 7, 1, 1))}
    network = network_of(nodes, constants)
    (group,) = channel_groups(network)
    assert group.tensors["odd/joined"].places.reshape(-1).tolist() == [1, 2, 3, 4, 5, 6]
    thinned = thin(network, FRAMES, 0.5).network
    assert thinned.macs <= 0.5 * network.macs and thinned.shapes["odd/joined"][0] < 7


@pytest.mark.parametrize(("first", "second"), [(("l", "r"), ("r", "l")), (("l", "r"), ("l", "l"))])
def test_channels_that_a_sum_of_joins_ties_crosswise_go_together(
    first: tuple[str, str], second: tuple[str, str]
) -> None:
    rng = np.random.default_rng(4)
    weights = {name: rng.normal(size=(6, 1, 3, 3)) for name in ("left", "right")}
    weights |= {"row": np.array([1, 12 * 4], np.int64), "read": rng.normal(size=(3, 12 * 4))}
    nodes = [
        node("Conv", ["image", "left"], ["l"], strides=[4, 4]),
        node("Conv", ["image", "right"], ["r"], strides=[4, 4]),
        node("Concat", first, ["one"], axis=1),
        node("Concat", second, ["other"], axis=-3),
        node("Add", ["one", "other"], ["sum"]),
        node("Reshape", ["sum", "row"], ["flat"]),
        node("Gemm", ["flat", "read"], ["y"], transB=1),
    ]
    network = network_of(nodes, weights)
    (group,) = channel_groups(network)
    assert (group.count, len(group.makers)) == (6, 2)
    kept = [np.array([1, 4])]
    whole = unread(network, (group,), kept)
    was, now = (n.run(n.prepare(FRAMES[:8]))["odd/y"] for n in (whole, narrowed(whole, [group], kept)))
    assert np.allclose(now, was, rtol=1e-4, atol=1e-5 * np.abs(was).max())


def test_channels_that_a_mean_moves_to_another_axis_stay() -> None:
    """Of a tensor that has as many columns as channels, so that its shape does not tell them apart."""
    rng = np.random.default_rng(5)
    constants = {"w": rng.normal(size=(6, 1, 3, 3)), "read": rng.normal(size=(36, 3)), "rows": np.array([1])}
    nodes = [
        node("Conv", ["image", "w"], ["made"]),
        node("Transpose", ["made"], ["turned"], perm=[0, 2, 1, 3]),
        node("ReduceMean", ["turned", "rows"], ["mean"], keepdims=0),
        node("Flatten", ["mean"], ["flat"]),
        node("Gemm", ["flat", "read"], ["y"]),
    ]
    assert channel_groups(network_of(nodes, constants)) == ()
