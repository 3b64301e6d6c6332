"""Channels go only where every operator on their way works on each of them alone; all else is left whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from multigraft.converters.network.network import Network
from multigraft.converters.thinning.channels import channel_groups
from multigraft.converters.thinning.survey import survey
from multigraft.converters.thinning.thin import thin, thinned_to
from tests.converters.graft.networks import GREY, frames, model

FRAMES = frames(60, seed=1)
node = helper.make_node


def weights(*shape: int, seed: int = 0) -> Any:
    values = np.random.default_rng((seed, *shape)).normal(size=shape)
    return (values / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def network(nodes: Sequence[onnx.NodeProto], constants: dict[str, Any], answers: int = 3) -> Network:
    return Network("odd", model(nodes, constants, (1, 8, 8), {"y": (answers,)}), GREY)


def made(found: Network) -> list[set[str]]:
    """Who writes the channels of each group."""
    return [{found.nodes[i].output[0].removeprefix("odd/") for i in group.makers} for group in channel_groups(found)]


def answers_with_half(whole: Network) -> tuple[Network, float]:
    """A network of half of the weights, and the relative squared error of its answers."""
    thinned = thin(whole, FRAMES, 0.5, macs=0.0).network
    was, now = (n.run(n.prepare(FRAMES))[n.outputs[0]] for n in (whole, thinned))
    return thinned, float(((now - was) ** 2).sum() / ((was - was.mean(0)) ** 2).sum())


def on_tokens(between: onnx.NodeProto, **constants: Any) -> Network:
    """16 tokens of 16 features, a layer, ``between`` on its 16 outputs, and layers that read that."""
    nodes = [
        node("Conv", ["image", "w0"], ["stem"], strides=[2, 2]),
        node("Reshape", ["stem", "shape"], ["tokens"]),
        node("MatMul", ["tokens", "w1"], ["made"]),
        between,
        node("MatMul", ["between", "w2"], ["read"]),
        node("Flatten", ["read"], ["flat"]),
        node("Gemm", ["flat", "w3"], ["y"]),
    ]
    own = {"w0": weights(16, 1, 2, 2), "w1": weights(16, 16), "w2": weights(16, 4), "w3": weights(64, 3)}
    return network(nodes, own | constants | {"shape": np.array([1, 16, 16], np.int64)})


@pytest.mark.parametrize(
    "between",
    [
        node("MaxPool", ["made"], ["between"], kernel_shape=[3], pads=[1, 1]),
        node("AveragePool", ["made"], ["between"], kernel_shape=[3], pads=[1, 1]),
        node("Conv", ["made", "deep"], ["between"], group=16, pads=[1, 1]),
        node("BatchNormalization", ["made", "ones", "zeros", "zeros", "ones"], ["between"]),
    ],
    ids=lambda one: str(one.op_type),
)
def test_what_works_along_the_features_of_tokens_or_between_tokens_ties_their_number(between: onnx.NodeProto) -> None:
    values = {"deep": weights(16, 1, 3), "ones": np.ones(16, np.float32), "zeros": np.zeros(16, np.float32)}
    whole = on_tokens(between, **{name: values[name] for name in between.input if name in values})
    assert made(whole) == [{"read"}]
    assert thin(whole, FRAMES, 0.1).network.shapes["odd/made"] == whole.shapes["odd/made"]


def test_a_constant_of_a_higher_rank_puts_another_axis_where_the_channels_were() -> None:
    nodes = [
        node("Flatten", ["image"], ["flat"]),
        node("Gemm", ["flat", "w1"], ["made"]),
        node("Mul", ["made", "factors"], ["square"]),
        node("Flatten", ["square"], ["long"]),
        node("Gemm", ["long", "w2"], ["y"]),
    ]
    constants = {"w1": weights(64, 6), "factors": weights(1, 6, 1), "w2": weights(36, 3)}
    assert made(network(nodes, constants)) == []


def test_a_single_value_that_is_added_to_many_thins_what_it_comes_from() -> None:
    """As duelling heads do: a value of one number and an advantage of each action."""
    nodes = [
        node("Flatten", ["image"], ["flat"]),
        node("Gemm", ["flat", "wv", "bv"], ["value_hidden"]),
        node("Relu", ["value_hidden"], ["value_seen"]),
        node("Gemm", ["value_seen", "w1"], ["value"]),
        node("Gemm", ["flat", "wa"], ["advantage_hidden"]),
        node("Relu", ["advantage_hidden"], ["advantage_seen"]),
        node("Gemm", ["advantage_seen", "w2"], ["advantage"]),
        node("Add", ["value", "advantage"], ["y"]),
    ]
    wide = {"wv": weights(64, 12), "bv": weights(1, 12), "wa": weights(64, 12, seed=1)}
    whole = network(nodes, wide | {"w1": weights(12, 1), "w2": weights(12, 4)}, answers=4)
    assert made(whole) == [{"value_hidden"}, {"advantage_hidden"}]
    thinned, error = answers_with_half(whole)
    assert thinned.weights <= 0.5 * whole.weights and error < 0.3


def test_a_depthwise_layer_beside_one_that_mixes_channels_is_solved_on_its_own() -> None:
    nodes = [
        node("Conv", ["image", "w0", "b0"], ["stem"]),
        node("Relu", ["stem"], ["seen"]),
        node("Conv", ["seen", "w1", "b1"], ["mixed"]),
        node("Conv", ["seen", "deep"], ["apart"], group=12, pads=[1] * 4),
        node("Add", ["mixed", "apart"], ["sum"]),
        node("Relu", ["sum"], ["relu"]),
        node("GlobalAveragePool", ["relu"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "w3"], ["y"]),
    ]
    constants = {"w0": weights(12, 1, 3, 3), "b0": weights(12), "w1": weights(12, 12, 1, 1), "b1": weights(12)}
    whole = network(nodes, constants | {"deep": weights(12, 1, 3, 3), "w3": weights(12, 3)})
    assert made(whole) == [{"stem", "mixed"}]
    thinned, error = answers_with_half(whole)
    assert thinned.weights <= 0.5 * whole.weights and error < 0.3


def test_a_product_without_a_bias_leaves_that_of_the_layer_beside_it() -> None:
    nodes = [
        node("Flatten", ["image"], ["flat"]),
        node("Gemm", ["flat", "w0"], ["first"]),
        node("Relu", ["first"], ["seen"]),
        node("Gemm", ["seen", "w1", "b1"], ["with_bias"]),
        node("MatMul", ["seen", "w2"], ["without"]),
        node("Add", ["with_bias", "without"], ["y"]),
    ]
    constants = {"w0": weights(64, 12), "w1": weights(12, 3), "b1": np.full(3, 20, np.float32), "w2": weights(12, 3)}
    _, error = answers_with_half(network(nodes, constants))
    assert error < 1, "the bias of 20 is still there"


def test_a_layer_that_cannot_be_solved_keeps_what_it_reads_and_writes() -> None:
    nodes = [
        node("Conv", ["image", "w0", "b0"], ["stem"]),
        node("Relu", ["stem"], ["seen"]),
        node("Conv", ["seen", "w1", "b1"], ["read"]),
        node("ConvTranspose", ["read", "up"], ["larger"], auto_pad="SAME_UPPER", strides=[2, 2]),
        node("GlobalAveragePool", ["larger"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "w3"], ["y"]),
    ]
    constants = {"w0": weights(12, 1, 3, 3), "b0": weights(12), "w1": weights(8, 12, 1, 1), "b1": weights(8)}
    whole = network(nodes, constants | {"up": weights(8, 6, 2, 2), "w3": weights(6, 3)})
    assert made(whole) == [{"stem"}]
    thinned, error = answers_with_half(whole)
    assert thinned.shapes["odd/read"] == whole.shapes["odd/read"] and error < 1


def test_of_what_is_split_the_piece_goes_that_no_group_straddles() -> None:
    nodes = [
        node("Conv", ["image", "w0", "b0"], ["stem"]),
        node("Split", ["stem"], ["left", "right"], axis=1, num_outputs=2),
        node("Conv", ["right", "w1", "b1"], ["hidden"]),
        node("Relu", ["hidden"], ["seen"]),
        node("Conv", ["seen", "w2"], ["back"]),
        node("Concat", ["left", "back"], ["joined"], axis=1),
        node("Conv", ["joined", "grouped"], ["groups"], group=3),
        node("GlobalAveragePool", ["groups"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "w3"], ["y"]),
    ]
    constants = {"w0": weights(12, 1, 3, 3), "b0": weights(12), "w1": weights(16, 6, 1, 1), "b1": weights(16)}
    more = {"w2": weights(6, 16, 1, 1), "grouped": weights(9, 4, 1, 1), "w3": weights(9, 3)}
    whole = network(nodes, constants | more)
    assert made(whole) == [{"stem"}, {"hidden"}]
    thinned, error = answers_with_half(whole)
    assert error < 0.5
    left, right = (thinned.shapes[f"odd/{side}"][0] for side in ("left", "right"))
    assert left == 6 and 1 <= right < 6 and thinned.shapes["odd/stem"][0] == left + right


def test_a_mean_over_no_axes_leaves_channels_whole() -> None:
    nodes = [
        node("Conv", ["image", "w0"], ["stem"]),
        node("ReduceMean", ["stem", ""], ["mean"], noop_with_empty_axes=1),
        node("GlobalAveragePool", ["mean"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "w3"], ["y"]),
    ]
    assert made(network(nodes, {"w0": weights(12, 1, 3, 3), "w3": weights(12, 3)})) == []


def test_layers_of_one_constant_each_get_their_own() -> None:
    nodes = [
        node("Conv", ["image", "w0", "b0"], ["stem"]),
        node("Conv", ["stem", "w1", "b1"], ["first"]),
        node("Relu", ["first"], ["seen"]),
        node("Conv", ["seen", "w1", "b1"], ["second"]),
        node("Relu", ["second"], ["relu"]),
        node("GlobalAveragePool", ["relu"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "w3"], ["y"]),
    ]
    constants = {"w0": weights(12, 1, 3, 3), "b0": weights(12), "w1": weights(12, 12, 1, 1), "b1": weights(12)}
    whole = network(nodes, constants | {"w3": weights(12, 3)})
    assert made(whole) == [{"stem"}, {"first"}, {"second"}]
    assert answers_with_half(whole)[1] < 0.3


def test_what_a_layer_loses_in_the_mean_goes_into_a_bias_that_is_added_apart() -> None:
    """Exports of transformers have a product of tokens and an addition of its bias."""
    nodes = [
        node("Conv", ["image", "w0"], ["stem"], strides=[2, 2]),
        node("Reshape", ["stem", "shape"], ["tokens"]),
        node("MatMul", ["tokens", "w1"], ["product"]),
        node("Add", ["product", "b1"], ["hidden"]),
        node("Sigmoid", ["hidden"], ["seen"]),
        node("MatMul", ["seen", "w2"], ["read"]),
        node("Add", ["read", "b2"], ["biased"]),
        node("Flatten", ["biased"], ["flat"]),
        node("Gemm", ["flat", "w3"], ["y"]),
    ]
    constants = {"w0": weights(16, 1, 2, 2), "w1": weights(16, 48), "b1": weights(48), "w2": 9 + weights(48, 4)}
    more = {"b2": weights(4), "w3": weights(64, 3), "shape": np.array([1, 16, 16], np.int64)}
    whole = network(nodes, constants | more)
    assert made(whole) == [{"product"}, {"read"}]
    thinned = thinned_to(survey(whole, FRAMES), [10, 4], FRAMES).network
    was, now = (n.run(n.prepare(FRAMES), ["odd/biased"])["odd/biased"] for n in (whole, thinned))
    assert np.abs((now - was).mean((0, 1))).max() < 0.05 * was.std((0, 1)).min()


def decoder(doubled: bool, resize: onnx.NodeProto, pad: onnx.NodeProto, **constants: Any) -> Network:
    """A stem that is strided, made larger twice and padded, as decoders do it; every channel between twice."""
    times = 2 if doubled else 1
    nodes = [
        node("Conv", ["image", "w0", "b0"], ["stem"], strides=[2, 2]),
        node("Relu", ["stem"], ["seen"]),
        resize,
        pad,
        node("ConvTranspose", ["padded", "w1", "b1"], ["larger"], strides=[2, 2]),
        node("Relu", ["larger"], ["large"]),
        node("Conv", ["large", "w2"], ["map"]),
        node("Flatten", ["map"], ["flat"]),
        node("Gemm", ["flat", "w3"], ["y"]),
    ]
    shared: dict[str, Any] = {
        "w0": np.concatenate([weights(5, 1, 3, 3)] * times),
        "b0": np.concatenate([weights(5)] * times),
        "w1": np.tile(weights(5, 5, 2, 2) / times, (times, times, 1, 1)),
        "b1": np.concatenate([weights(5)] * times),
        "w2": np.concatenate([weights(2, 5, 1, 1) / times] * times, 1),
    }
    return network(nodes, shared | constants | {"w3": weights(2 * 16 * 16, 3)})


SCALES = np.array([1, 1, 2, 2], np.float32)


@pytest.mark.parametrize(("mode", "padding"), [("nearest", "reflect"), ("linear", "constant"), ("cubic", "edge")])
def test_channels_that_are_there_twice_go_without_loss_through_sizes_that_change(mode: str, padding: str) -> None:
    resize = node("Resize", ["seen", "", "scales"], ["resized"], mode=mode)
    pad = node("Pad", ["resized", "pads"], ["padded"], mode=padding)
    pads = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    whole = decoder(True, resize, pad, scales=SCALES, pads=pads)
    before = whole.model.SerializeToString(deterministic=True)
    assert made(whole) == [{"stem"}, {"larger"}, {"map"}]
    narrow = decoder(False, resize, pad, scales=SCALES, pads=pads)
    thinned = thinned_to(survey(whole, FRAMES), [5, 5, 2], FRAMES).network
    assert thinned.macs == narrow.macs
    was, now = (n.run(n.prepare(FRAMES))["odd/y"] for n in (whole, thinned))
    assert ((now - was) ** 2).sum() < 1e-4 * ((was - was.mean(0)) ** 2).sum()
    assert whole.model.SerializeToString(deterministic=True) == before


def test_sizes_that_hold_or_change_the_number_of_channels_tie_it() -> None:
    scaled = node("Resize", ["seen", "", "scales"], ["resized"])
    sized = node("Resize", ["seen", "", "", "sizes"], ["resized"])
    pad = node("Pad", ["resized", "pads"], ["padded"])
    around, inner = np.array([0, 0, 1, 1] * 2, np.int64), np.array([0, 1, 1, 1, 0, -1, 1, 1], np.int64)
    sizes = np.array([1, 10, 6, 6], np.int64)
    spatial = node("Pad", ["resized", "pads", "", "axes"], ["padded"])
    none_of_channels = {"pads": np.array([1, 1, 1, 1], np.int64), "axes": np.array([2, -1], np.int64)}
    of_channels = {"pads": np.array([0, 1, 1] * 2, np.int64), "axes": np.array([1, 2, 3], np.int64)}
    assert made(decoder(True, sized, pad, sizes=sizes, pads=around)) == [{"larger"}, {"map"}]
    assert made(decoder(True, scaled, pad, scales=SCALES, pads=inner)) == [{"larger"}, {"map"}]
    assert {"stem"} in made(decoder(True, scaled, spatial, scales=SCALES, **none_of_channels))
    assert {"stem"} in made(decoder(True, scaled, spatial, scales=SCALES, **of_channels)), "nothing is padded there"
