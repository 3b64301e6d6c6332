"""Blocks that people's networks are made of lose channels, stand in one bundle, and answer there as they do alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.sharing_plan import SharingPlan
from multigraft.converters.importing.simplify import simplify
from multigraft.converters.network.independent_parts import independent_parts
from multigraft.converters.network.network import Network, session_of
from multigraft.converters.packing.convert import convert
from multigraft.converters.thinning.channels import channel_groups
from multigraft.converters.thinning.narrow import narrowed
from multigraft.tensors.preprocessing import Preprocessing
from tests.converters.block_networks import KINDS, SIZE, block_network
from tests.converters.thinning.random_networks import unread

RGB = Preprocessing(SIZE, SIZE, "rgb", (127.0,) * 3, (1 / 64,) * 3)
FRAMES = list(np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), np.uint8).repeat(4, 1).repeat(4, 2))
WHOLE = {"shufflenet_v1"}
"""Kinds that keep all channels: a group behind the shuffle reads parts of every tensor before it."""


def network(kind: str) -> Network:
    return Network(kind, simplify(block_network(kind, 1), RGB, kind), RGB, "regression")


def halved(whole: Network) -> Network:
    """Every second channel of each group."""
    groups = channel_groups(whole)
    return narrowed(whole, groups, [np.arange(0, group.count, 2) for group in groups])


@pytest.mark.parametrize("kind", KINDS)
def test_channels_that_can_go_are_found_and_the_others_answer_as_without_them(kind: str) -> None:
    whole = network(kind)
    groups = channel_groups(whole)
    assert bool(groups) == (kind not in WHOLE)
    kept = [np.arange(0, group.count, 2) for group in groups]
    silenced = unread(whole, groups, kept)
    was, now = (n.run(n.prepare(FRAMES))[f"{kind}/answer"] for n in (silenced, narrowed(silenced, groups, kept)))
    np.testing.assert_allclose(now, was, rtol=1e-3, atol=1e-4 * np.abs(was).max())
    assert halved(whole).macs < whole.macs or kind in WHOLE


def test_two_kinds_that_onnx2tf_converts_in_no_one_way_stand_in_one_bundle_whose_segments_answer_as_the_whole(
    onnx2tf_environment: Environment, tmp_path: Path
) -> None:
    kinds = "squeezenet", "mixnet"
    networks = [halved(network(kind)) for kind in kinds]
    joined = assemble(networks, SharingPlan.apart(networks))
    made = convert(joined, dict.fromkeys(joined.inputs, FRAMES), name="blocks", work_dir=tmp_path)
    verified = made.verification
    assert verified.mismatches == 0 and not verified.refused and "ai-edge-litert" in verified.backends
    assert verified.float_error.keys() == {f"{kind}/answer" for kind in kinds}
    assert max(verified.float_error.values()) < 1e-3
    assert {s.precision for s in made.bundle.manifest.segments} == {"int8"}


def test_networks_of_one_graph_that_share_nothing_are_told_apart() -> None:
    networks = [network(kind) for kind in ("squeezenet", "regnet")]
    joined = assemble(networks, SharingPlan.apart(networks)).model
    parts = independent_parts(joined)
    assert [[i.name for i in part.graph.input] for part in parts] == [["squeezenet/image"], ["regnet/image"]]
    assert [[o.name for o in part.graph.output] for part in parts] == [["squeezenet/answer"], ["regnet/answer"]]
    whole = session_of(joined, "joined")
    for part, own in zip(parts, networks, strict=True):
        x = {f"{own.name}/image": own.prepare(FRAMES[:1])}
        (given,) = session_of(part, "part").run(None, x)
        every = {name: own.prepare(FRAMES[:1]) for name in ("squeezenet/image", "regnet/image")}
        np.testing.assert_array_equal(given, whole.run([f"{own.name}/answer"], every | x)[0])
    assert len(independent_parts(networks[0].model)) == 1
