"""The taps bundle: which points are tapped, and that it computes what the networks do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multigraft.calibration.collect.taps_runner import TapsRunner
from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.converters.field.taps_bundle import make_taps, tapped_model, tapped_points
from multigraft.converters.network.network import CutPoint
from tests.converters.graft.networks import frames, perturbed, residual_network


class Shapes:
    """A network of which only the cut points matter."""

    def __init__(self, *features: int) -> None:
        self.cut_points = tuple(CutPoint(f"n/{i}", (f,), i, 0, 0) for i, f in enumerate(features))


@pytest.mark.parametrize(
    ("features", "tapped"),
    [
        ((9, 7, 5, 1), (9, 7, 5, 1)),
        ((4, 4, 2, 12, 3, 1, 6, 6, 1), (4, 4, 2, 1, 1)),
        ((1, 2, 3), (1, 2, 3)),
        ((5, 9), (5, 9)),
    ],
)
def test_bulges_are_left_out(features, tapped):
    network = Shapes(*features)
    assert tuple(p.shape[0] for p in tapped_points(network)) == tapped
    assert len(tapped_points(network, is_every=True)) == len(features)


def test_a_tapped_bundle_computes_what_the_networks_do(onnx2tf_environment: Environment, tmp_path: Path):
    first = residual_network("first", 1)
    networks = [first, perturbed(first, "second", 0.02)]
    model = TapsRunner(make_taps(networks, "taps", tmp_path))
    points = [p for n in networks for p in tapped_points(n)]
    assert [t.name for t in model.taps] == [p.name for p in points]
    for frame in frames(3):
        model.run(frame)
        for network in networks:
            names = [p.name for p in tapped_points(network)] + list(network.outputs)
            expected = network.run(network.prepare([frame]), names)
            for name in names:
                value = expected[name]
                value = value.transpose(0, 2, 3, 1) if value.ndim == 4 else value
                np.testing.assert_allclose(model.arrays[name], value, rtol=1e-4, atol=1e-4)
    assert [s.name for s in tapped_model(networks).segments] == ["head_first", "head_second"]
