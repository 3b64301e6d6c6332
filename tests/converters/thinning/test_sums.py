"""How a sum of layers is written plays no part in what they are solved to."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper

from multigraft.converters.network.network import Network
from multigraft.converters.thinning.survey import survey
from multigraft.converters.thinning.thin import thinned_to
from tests.converters.graft.networks import GREY, frames, model

FRAMES = frames(60, seed=1)
node = helper.make_node
WIDTH = 12


def weights(*shape: int, seed: int = 0) -> Any:
    values = np.random.default_rng((seed, *shape)).normal(size=shape)
    return (values / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def network(middle: list[onnx.NodeProto], constants: dict[str, Any]) -> Network:
    """Three stems, ``middle`` from what they give to ``sum``, and classes."""
    nodes = [node("Conv", ["image", f"s{k}", f"t{k}"], [f"stem{k}"], pads=[1] * 4) for k in range(3)]
    nodes += [node("Relu", [f"stem{k}"], [f"seen{k}"]) for k in range(3)]
    nodes += [
        *middle,
        node("Relu", ["sum"], ["relu"]),
        node("GlobalAveragePool", ["relu"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "w9"], ["y"]),
    ]
    own = {f"s{k}": weights(WIDTH, 1, 3, 3, seed=k) for k in range(3)} | {"w9": weights(WIDTH, 3)}
    own |= {f"t{k}": weights(WIDTH, seed=k) for k in range(3)}
    return Network("odd", model(nodes, own | constants, (1, 8, 8), {"y": (3,)}), GREY)


def error_of_sums(made: Network) -> float:
    """Of what the sum gives with a third of what it reads, over its variance."""
    found = survey(made, FRAMES)
    widths = [WIDTH // 3 if made.nodes[g.makers[0]].output[0].startswith("odd/stem") else WIDTH for g in found.groups]
    thinned = thinned_to(found, widths, FRAMES).network
    was, now = (n.run(n.prepare(FRAMES), ["odd/relu"])["odd/relu"] for n in (made, thinned))
    return float(((now - was) ** 2).sum() / ((was - was.mean((0, 2, 3), keepdims=True)) ** 2).sum())


def test_a_sum_of_three_layers_is_solved_as_the_one_layer_of_all_that_they_read() -> None:
    kernels = [weights(WIDTH, WIDTH, 1, 1, seed=k) for k in range(3)]
    bias = weights(WIDTH)
    apart = [node("Conv", [f"seen{k}", f"w{k}", "bias" if k == 0 else "none"], [f"part{k}"]) for k in range(3)]
    apart += [node("Add", ["part1", "part0"], ["two"]), node("Add", ["part2", "two"], ["sum"])]
    named = {f"w{k}": kernels[k] for k in range(3)} | {"bias": bias, "none": np.zeros(WIDTH, np.float32)}
    joined = [node("Concat", ["seen0", "seen1", "seen2"], ["all"], axis=1), node("Conv", ["all", "w", "bias"], ["sum"])]
    one = network(joined, {"w": np.concatenate(kernels, 1), "bias": bias})
    assert error_of_sums(network(apart, named)) < 1.05 * error_of_sums(one)
