"""Grouped convolutions lose whole groups; where channels are not theirs to lose, they stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from multigraft.converters.network.network import Network, attributes
from multigraft.converters.thinning.channels import channel_groups
from multigraft.converters.thinning.narrow import narrowed
from multigraft.converters.thinning.thin import thin
from tests.converters.graft.networks import GREY, frames, model
from tests.converters.thinning.random_networks import unread

FRAMES = frames(60, seed=1)
node = helper.make_node


def weights(*shape: int) -> Any:
    values = np.random.default_rng(shape).normal(size=shape)
    return (values / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def grouped(groups: int, each: int, made: int, gated: bool = False) -> Network:
    """A stem, a grouped convolution between two of one pixel, with a gate behind it where ``gated``, and classes."""
    hidden, wide = groups * each, groups * made
    nodes = [
        node("Conv", ["image", "w0", "b0"], ["stem"], pads=[1] * 4),
        node("Relu", ["stem"], ["seen"]),
        node("Conv", ["seen", "w1", "b1"], ["narrow"]),
        node("Relu", ["narrow"], ["narrow_seen"]),
        node("Conv", ["narrow_seen", "w2", "b2"], ["apart"], group=groups, pads=[1] * 4),
        node("Relu", ["apart"], ["apart_seen"]),
        node("GlobalAveragePool", ["apart_seen"], ["mean"]),
        node("Conv", ["mean", "wg", "bg"], ["gate"]),
        node("Sigmoid", ["gate"], ["open"]),
        node("Mul", ["apart_seen", "open"], ["gated"]),
        node("Conv", ["gated" if gated else "apart_seen", "w3", "b3"], ["back"]),
        node("Add", ["back", "seen"], ["sum"]),
        node("GlobalAveragePool", ["sum"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "w4"], ["y"]),
    ]
    if not gated:
        nodes = [n for n in nodes if n.output[0] not in ("mean", "gate", "open", "gated")]
    shapes: dict[str, tuple[int, ...]] = {
        "w0": (8, 1, 3, 3),
        "w1": (hidden, 8, 1, 1),
        "w2": (wide, each, 3, 3),
        "w3": (8, wide, 1, 1),
    }
    shapes |= {"b0": (8,), "b1": (hidden,), "b2": (wide,), "b3": (8,), "w4": (8, 3)}
    shapes |= {"wg": (wide, wide, 1, 1), "bg": (wide,)} if gated else {}
    return Network("odd", model(nodes, {n: weights(*s) for n, s in shapes.items()}, (1, 8, 8), {"y": (3,)}), GREY)


def convolution(network: Network) -> tuple[int, tuple[int, ...]]:
    """Groups and shape of the weights of the grouped convolution."""
    (found,) = (n for n in network.nodes if n.output[0] == "odd/apart")
    said: dict[str, Any] = attributes(found)
    return int(said["group"]), network.constants[found.input[1]].shape


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize(("each", "made"), [(4, 4), (2, 6), (1, 2)])
def test_whole_groups_go_and_each_keeps_its_channels(each: int, made: int, gated: bool) -> None:
    whole = grouped(6, each, made, gated)
    thinned = thin(whole, FRAMES, 0.5)
    groups, shape = convolution(thinned.network)
    assert groups < 6 and shape == (groups * made, each, 3, 3)
    assert thinned.network.macs <= 0.5 * whole.macs
    was, now = (n.run(n.prepare(FRAMES))["odd/y"] for n in (whole, thinned.network))
    assert ((now - was) ** 2).sum() < 0.5 * ((was - was.mean(0)) ** 2).sum()
    told = {layer.name: (layer.kept, layer.channels) for layer in thinned.layers}
    assert told["narrow"] == (groups * each, 6 * each)


def test_channels_of_a_join_that_a_group_would_take_from_both_sides_stay() -> None:
    nodes = [
        node("Conv", ["image", "w0", "b0"], ["left"]),
        node("Conv", ["image", "w1", "b1"], ["right"]),
        node("Concat", ["left", "right"], ["both"], axis=1),
        node("Conv", ["both", "w2"], ["apart"], group=2),
        node("GlobalAveragePool", ["apart"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "w3"], ["y"]),
    ]
    shapes: dict[str, tuple[int, ...]] = {
        "w0": (3, 1, 3, 3),
        "w1": (5, 1, 3, 3),
        "b0": (3,),
        "b1": (5,),
        "w2": (6, 4, 1, 1),
        "w3": (6, 3),
    }
    network = Network("odd", model(nodes, {n: weights(*s) for n, s in shapes.items()}, (1, 8, 8), {"y": (3,)}), GREY)
    assert channel_groups(network) == ()


def test_a_thinned_shuffle_deals_out_what_is_left_in_the_same_order() -> None:
    """The first of both halves is read through two shuffles; what no layer reads of it is taken out by hand."""
    whole = shuffling(6)
    groups = channel_groups(whole)
    kept = [np.arange(0, group.count, 2) if group.count > 1 else np.arange(1) for group in groups]
    narrow = narrowed(whole, groups, kept)
    assert narrow.macs < whole.macs and [n.op_type for n in narrow.nodes].count("Gather") == 2
    silenced = unread(whole, groups, kept)
    was, now = (n.run(n.prepare(FRAMES))["odd/y"] for n in (silenced, narrowed(silenced, groups, kept)))
    assert np.allclose(now, was, rtol=1e-4, atol=1e-5 * np.abs(was).max())


@pytest.mark.parametrize("kind", ["shuffled", "grouped", "tied", "tokens"])
def test_channels_that_a_tensor_has_twice_or_whose_tokens_are_shuffled_are_followed(kind: str) -> None:
    whole = unusual(kind)
    groups = channel_groups(whole)
    assert len(groups) > 1
    kept = [np.arange(0, group.count, 2) for group in groups]
    silenced = unread(whole, groups, kept)
    was, now = (n.run(n.prepare(FRAMES))["odd/y"] for n in (silenced, narrowed(silenced, groups, kept)))
    assert np.allclose(now, was, rtol=1e-4, atol=1e-5 * np.abs(was).max())


def unusual(kind: str) -> Network:
    """A convolution whose channels are joined with themselves, or become features of eight tokens; and classes."""
    join = node("Concat", ["x", "x"], ["twice"], axis=1)
    shuffle = [
        node("Reshape", ["twice", "parted"], ["apart"]),
        node("Transpose", ["apart"], ["turned"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["turned", "joined"], ["dealt"]),
        node("Split", ["dealt"], ["first", "second"], axis=-3, num_outputs=2),
        node("Add", ["first", "second"], ["made"]),
    ]
    tokens = [
        node("Reshape", ["x", "rows"], ["row"]),
        node("MatMul", ["row", "w1"], ["features"]),
        node("Reshape", ["features", "parted_rows"], ["apart"]),
        node("Transpose", ["apart"], ["turned"], perm=[0, 2, 1, 3]),
        node("Reshape", ["turned", "joined_rows"], ["dealt"]),
        node("MatMul", ["dealt", "w2"], ["read"]),
        node("Reshape", ["read", "square"], ["made"]),
    ]
    deep = node("Conv", ["x", "w4"], ["deep"], group=7)
    middles = {
        "shuffled": [join, *shuffle],
        "grouped": [join, node("Conv", ["twice", "w3"], ["made"], group=14)],
        "tied": [
            join,
            deep,
            node("Concat", ["deep", "deep"], ["two"], axis=1),
            node("Add", ["twice", "two"], ["made"]),
        ],
        "tokens": tokens,
    }
    width, wide = {"shuffled": (14, 14), "grouped": (14, 28), "tied": (14, 28), "tokens": (8, 14)}[kind]
    nodes = [
        node("Conv", ["image", "w0"], ["x"], pads=[1] * 4),
        *middles[kind],
        node("Conv", ["made", "w5"], ["last"]),
        node("GlobalAveragePool", ["last"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "w6"], ["y"]),
    ]
    shapes: dict[str, tuple[int, ...]] = {"w0": (width, 1, 3, 3), "w1": (64, 12), "w2": (12, 14), "w3": (28, 2, 1, 1)}
    shapes |= {"w4": (14, 2, 1, 1), "w5": (4, wide, 1, 1), "w6": (4, 3)}
    constants = {name: weights(*shape) for name, shape in shapes.items()}
    constants |= {"parted": np.array([-1, 2, 14, 8, 8]), "joined": np.array([-1, 28, 8, 8])}
    constants |= {"rows": np.array([-1, 8, 64]), "parted_rows": np.array([-1, 2, 4, 12])}
    constants |= {"joined_rows": np.array([-1, 8, 12]), "square": np.array([-1, 14, 8, 1])}
    return Network("odd", model(nodes, constants, (1, 8, 8), {"y": (3,)}), GREY)


def test_a_network_that_shuffles_its_channels_is_thinned_and_answers_nearly_the_same() -> None:
    whole = shuffling(12)
    thinned = thin(whole, FRAMES, 0.5).network
    assert thinned.macs <= 0.5 * whole.macs
    was, now = (n.run(n.prepare(FRAMES))["odd/y"] for n in (whole, thinned))
    assert ((now - was) ** 2).sum() < 0.5 * ((was - was.mean(0)) ** 2).sum()


def shuffling(half: int) -> Network:
    """A stem, and two blocks as in ShuffleNet V2, with halves of so many channels."""
    nodes = [node("Conv", ["image", "w0", "b0"], ["stem"], pads=[1] * 4), node("Relu", ["stem"], ["x0"])]
    shapes: dict[str, tuple[int, ...]] = {"w0": (2 * half, 1, 3, 3), "b0": (2 * half,), "w9": (2 * half, 3)}
    for k in range(2):
        nodes += [
            node("Split", [f"x{k}"], [f"stays{k}", f"goes{k}"], axis=1, num_outputs=2),
            node("Conv", [f"goes{k}", f"wa{k}", f"ba{k}"], [f"mixed{k}"]),
            node("Relu", [f"mixed{k}"], [f"seen{k}"]),
            node("Conv", [f"seen{k}", f"wd{k}", f"bd{k}"], [f"deep{k}"], group=half, pads=[1] * 4),
            node("Conv", [f"deep{k}", f"wb{k}", f"bb{k}"], [f"back{k}"]),
            node("Relu", [f"back{k}"], [f"back_seen{k}"]),
            node("Concat", [f"stays{k}", f"back_seen{k}"], [f"both{k}"], axis=1),
            node("Reshape", [f"both{k}", "parted"], [f"parted{k}"]),
            node("Transpose", [f"parted{k}"], [f"turned{k}"], perm=[0, 2, 1, 3, 4]),
            node("Reshape", [f"turned{k}", "joined"], [f"x{k + 1}"]),
        ]
        shapes |= {f"w{kind}{k}": (half, half, 1, 1) for kind in "ab"} | {f"wd{k}": (half, 1, 3, 3)}
        shapes |= {f"b{kind}{k}": (half,) for kind in "adb"}
    nodes += [
        node("GlobalAveragePool", ["x2"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "w9"], ["y"]),
    ]
    constants = {name: weights(*shape) for name, shape in shapes.items()}
    constants |= {"parted": np.array([-1, 2, half, 8, 8]), "joined": np.array([-1, 2 * half, 8, 8])}
    return Network("odd", model(nodes, constants, (1, 8, 8), {"y": (3,)}), GREY)
