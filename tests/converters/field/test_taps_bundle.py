"""The taps bundle: which points are tapped, and that it computes what the networks do."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
import pytest

from multigraft.calibration.collect.taps_runner import TapsRunner
from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.converters.field.taps_bundle import make_taps_bundle, tapped_model, tapped_points
from multigraft.converters.network.network import Network
from tests.converters.graft.networks import GREY, frames, model, perturbed, residual_network


def network_of(features: tuple[int, ...]) -> Network:
    """Dense layers, each with a cut point of so many features; the answer is no cut point."""
    sizes = (64, *features, 2)
    nodes = [onnx.helper.make_node("Flatten", ["image"], ["x0"])]
    nodes += [onnx.helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"]) for i in range(len(sizes) - 1)]
    weights = {f"w{i}": np.ones(pair, np.float32) for i, pair in enumerate(itertools.pairwise(sizes))}
    return Network("n", model(nodes, weights, (1, 8, 8), {f"x{len(sizes) - 1}": (2,)}), GREY)


@pytest.mark.parametrize(
    ("features", "tapped"),
    [
        ((9, 7, 5, 1), (9, 7, 5, 1)),
        ((4, 4, 2, 12, 3, 1, 6, 6, 1), (4, 4, 2, 1, 1)),
        ((1, 2, 3), (1, 2, 3)),
        ((5, 9), (5, 9)),
    ],
)
def test_bulges_are_left_out(features: tuple[int, ...], tapped: tuple[int, ...]) -> None:
    network = network_of(features)
    assert tuple(p.shape[0] for p in network.cut_points) == features
    assert tuple(p.shape[0] for p in tapped_points(network)) == tapped
    assert len(tapped_points(network, is_every=True)) == len(features)


def test_a_tapped_bundle_computes_what_the_networks_do(onnx2tf_environment: Environment, tmp_path: Path) -> None:
    first = residual_network("first", 1)
    networks = [first, perturbed(first, "second", 0.02)]
    tapped = TapsRunner(make_taps_bundle(networks, "taps", tmp_path))
    points = [p for n in networks for p in tapped_points(n)]
    assert [t.name for t in tapped.taps] == [p.name for p in points]
    for frame in frames(3):
        tapped.run(frame)
        for network in networks:
            names = [p.name for p in tapped_points(network)] + list(network.outputs)
            expected = network.run(network.prepare([frame]), names)
            for name in names:
                value = expected[name]
                value = value.transpose(0, 2, 3, 1) if value.ndim == 4 else value
                np.testing.assert_allclose(tapped.arrays[name], value, rtol=1e-4, atol=1e-4)
    assert [s.name for s in tapped_model(networks).segments] == ["head_first", "head_second"]
