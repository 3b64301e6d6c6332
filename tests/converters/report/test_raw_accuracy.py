"""What the report says of accuracy as the donor's features come, of tails that read several tensors."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import helper

from multigraft.converters.graft.candidate import judge
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.join import Join
from multigraft.converters.graft.lineage import lineage
from multigraft.converters.graft.sharing_plan import SharingPlan
from multigraft.converters.graft.tail import tail_behind
from multigraft.converters.network.labelled import Labelled
from multigraft.converters.network.network import Network
from multigraft.converters.report import summarise
from tests.converters.graft.networks import GREY, frames, model

FRAMES = frames(40)


def of_two_branches(name: str, seed: int) -> Network:
    """A branch of its own behind the first layer, written before the second layer, which all have alike."""
    ours, theirs = np.random.default_rng(seed), np.random.default_rng(0)

    def weights(rng: np.random.Generator, *shape: int) -> npt.NDArray[np.float32]:
        return rng.normal(size=shape).astype(np.float32)

    values: dict[str, npt.NDArray[Any]] = {
        "first": weights(theirs, 4, 1, 3, 3),
        "second": weights(theirs, 4, 4, 3, 3),
        "side": weights(ours, 4, 4, 3, 3),
        "last": weights(ours, 3, 8),
    }
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["c0"], pads=[1] * 4),
        helper.make_node("Relu", ["c0"], ["r0"]),
        helper.make_node("Conv", ["r0", "side"], ["c1"], pads=[1] * 4),
        helper.make_node("Conv", ["r0", "second"], ["c2"], pads=[1] * 4),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Concat", ["c1", "r2"], ["both"], axis=1),
        helper.make_node("GlobalAveragePool", ["both"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "last"], ["logits"], transB=1),
    ]
    return Network(name, model(nodes, values, (1, 8, 8), {"logits": (3,)}), GREY, "classification")


def test_a_tail_that_is_raw_already_is_measured_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    donor, target = networks = of_two_branches("donor", 1), of_two_branches("target", 2)
    common = lineage(donor, target).common
    assert common is not None and len(common.sources) == 2
    join = Join("donor", "target", common.donor_point, common.target_point, "raw", "relative")
    made = judge(join, tail_behind(common, target), donor, target, Evidence(FRAMES[:20], FRAMES[20:]), 0.95, None)
    plan = SharingPlan.apart(networks).with_graft(target, made)
    (answers,) = target.run(target.prepare(FRAMES)).values()
    labels = answers.argmax(1)
    labels[:10] = (labels[:10] + 1) % 3

    class Runner:
        def __init__(self, bundle: object) -> None: ...

        def outputs(self, task: str, shown: object) -> list[npt.NDArray[Any]]:
            return [answers]

    monkeypatch.setattr(summarise, "BundleRunner", Runner)
    built: Any = SimpleNamespace(
        bundle=None, grafted=SimpleNamespace(networks=networks, outcome=SimpleNamespace(chosen=plan))
    )
    found = summarise.measure_accuracy(built, {"target": Labelled(FRAMES, labels)})["target"]
    assert found.raw == found.original == 0.75
