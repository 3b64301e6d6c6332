"""Stretches give every tensor between the taps once, share the weights, and hold no more than they may."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.bundle.tap_outputs import RANGES_SIGNATURE, RESIDENT
from multigraft.converters.conversion.interpreters import Runner, tapped
from multigraft.converters.field import range_stretches as inner_stretches
from multigraft.converters.field.range_stretches import UNDELEGATED, stretches, with_inner_stretches
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph
from tests.bundle_builder import build
from tests.calibration.networks import taps_bundle
from tests.converters.graph_builder import GraphBuilder, feeds


def network() -> Graph:
    """Two residual blocks behind a stem; the stem and the first block are taps."""
    b = GraphBuilder(3)
    x = b.input("n/image", 1, 12, 12, 2)
    stem = b.conv("n/stem", x, 4, activation="RELU")
    for i in (1, 2):
        wide = b.conv(f"n/wide{i}", stem, 12, activation="RELU6")
        deep = b.conv(f"n/deep{i}", b.pad(f"n/pad{i}", wide, (1, 1), (1, 1)), 12, depthwise=True, padding="VALID")
        narrow = b.conv(f"n/narrow{i}", deep, 4, kernel=1)
        stem = b.op("ADD", f"n/block{i}", [stem, narrow], (1, 12, 12, 4), fused_activation_function="NONE")
    pooled = b.mean("mean", stem)
    b.dense("n/logits", pooled, 3)
    return b.graph("n/stem", "n/block1", "n/logits")


INNER = ["n/wide1", "n/deep1", "n/narrow1", "n/wide2", "n/deep2", "n/narrow2", "n/block2"]
BYTES = {"wide": 4 * 144 * 12, "narrow": 4 * 144 * 4}


@pytest.mark.parametrize(
    ("limit", "groups"),
    [
        (1, [[name] for name in INNER]),
        (2 * BYTES["wide"], [INNER[:2], INNER[2:3], INNER[3:5], INNER[5:]]),
        (3 * BYTES["wide"], [INNER[:3], INNER[3:]]),
        (1 << 20, [INNER]),
    ],
)
def test_each_tensor_comes_once_and_from_what_is_known(limit: int, groups: list[list[str]]) -> None:
    graph = network()
    parts = list(stretches(graph, "n/", limit))
    assert [list(p.outputs) for p in parts] == groups
    feed = feeds(graph, 1)[0]
    known = {**feed, **Runner(tapped(graph, graph.outputs))(feed)}
    for part in parts:
        known |= Runner(tapped(part, part.outputs))({name: known[name] for name in part.inputs})
    for name, value in Runner(tapped(graph, INNER))(feed).items():
        np.testing.assert_allclose(known[name], value, rtol=1e-5, atol=1e-5)


def test_what_the_network_gives_is_not_computed_again() -> None:
    ops = [op.outputs[0] for part in stretches(network(), "n/") for op in part.ops]
    assert not {"n/stem", "n/block1", "n/logits", "mean"} & set(ops)
    assert len(ops) == len(set(ops))


def test_they_share_the_weights_and_say_whether_they_stay_in_memory() -> None:
    plain = taps_bundle(resident_bytes=0)
    model = tflite_file.read(plain.model)
    names = [s.name for s in model.signatures]
    assert names == ["head_garment", "head_digit", f"{RANGES_SIGNATURE}0000", f"{RANGES_SIGNATURE}0001"]
    assert [g.name.startswith(UNDELEGATED) for g in model.subgraphs] == [False, False, True, True]
    constants = [model.subgraphs[i].constant("digit/relu3/weights") for i in (1, 3)]
    weights = {None if constant is None else constant.tobytes() for constant in constants}
    (shared,) = weights
    assert shared is not None and plain.model.count(shared) == 1
    small = tflite_file.read(taps_bundle().model)
    assert [s.name for s in small.signatures[2:]] == [name + RESIDENT for name in names[2:]]
    assert not any(g.name.startswith(UNDELEGATED) for g in small.subgraphs)


def test_what_an_interpreter_refuses_does_not_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inner_stretches, "_runs", lambda model: False)
    assert not any(s.name.endswith(RESIDENT) for s in tflite_file.read(taps_bundle().model).signatures)


def test_networks_without_inner_tensors_get_no_stretch() -> None:
    built = build(float32=True).bundle
    assert with_inner_stretches(built, []).model == tflite_file.write(tflite_file.read(built.model))
