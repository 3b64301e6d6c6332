"""A search whose grafts are evaluated on a cluster finds what it finds here, to the last bit."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from multigraft.answers.own_format import OwnFormat
from multigraft.converters.graft.saved_evaluations import SavedEvaluations
from multigraft.converters.graft.search import SearchOptions, candidates
from multigraft.converters.graft.sharing_plan import Limits, PlanningResult
from multigraft.converters.job.checkpoints import Checkpoints
from multigraft.converters.job.workers import Here, Item, Result, workers_of
from multigraft.converters.planning.planner import plan_sharing
from multigraft.converters.similarity.representations import measure_similarity
from tests.converters.graft.networks import perturbed, residual_network
from tests.converters.graft.test_plan import EVIDENCE, PARENT
from tests.converters.job.test_workers import NO_FLEET

NETWORKS = (PARENT, perturbed(PARENT, "relative", 0.01), residual_network("stranger", 5), residual_network("fourth", 6))
OF = {network.name: EVIDENCE["first"] for network in NETWORKS}


def content(outcome: PlanningResult) -> list[object]:
    found: list[object] = [outcome.message.partition(" us")[0], outcome.donors, sorted(outcome.chosen.grafts)]
    for graft in outcome.evaluated:
        tail = {name: value.tobytes() for name, value in graft.tail.constants.items()}
        nodes = [node.SerializeToString(deterministic=True) for node in graft.tail.nodes]
        found.append((graft.join, graft.agreement, graft.layers, graft.adapter_error, graft.own_macs, tail, nodes))
    return found


def test_it_is_the_same_and_goes_on_here_where_it_ended_there(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason=NO_FLEET)
    similarity, limits = measure_similarity(NETWORKS, EVIDENCE["first"].fit), Limits(min_agreement=0.9)
    here = plan_sharing(NETWORKS, OF, similarity, limits, SearchOptions())
    checkpoints = Checkpoints(tmp_path / "steps")
    options = SearchOptions(saved=SavedEvaluations(checkpoints))
    with workers_of("dask") as workers:
        there = plan_sharing(NETWORKS, OF, similarity, limits, dataclasses.replace(options, workers=workers))
    assert len(here.evaluated) > 9 and content(there) == content(here)
    assert content(plan_sharing(NETWORKS, OF, similarity, limits, options)) == content(here)
    assert checkpoints.reused == len(here.evaluated)


def test_two_small_networks_keep_four_workers_busy() -> None:
    class FourAtOnce(Here):
        def __init__(self) -> None:
            self.jobs = itertools.count()
            self.others = threading.Barrier(4, timeout=60)

        def each(self, do: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
            with ThreadPoolExecutor(len(items)) as pool:
                return list(pool.map(do, items))

        def run(self, do: Callable[..., Result], shared: Mapping[str, Any], **own: Any) -> Result:
            if next(self.jobs) < 4:
                self.others.wait()
            return do(**shared, **own)

    donor, target = residual_network("fifth", 5), residual_network("sixth", 6)
    similarity = measure_similarity((donor, target), EVIDENCE["first"].fit)
    found = [
        [(graft.join, graft.agreement) for graft in candidates(donor, target, EVIDENCE["first"], similarity, options)]
        for options in (SearchOptions(), SearchOptions(workers=FourAtOnce()))
    ]
    assert len(found[0]) >= 4 and found[0] == found[1]


@pytest.mark.parametrize("own", ["donor", "target"])
def test_a_network_whose_answers_the_users_function_decodes_goes_to_no_worker(own: str) -> None:
    class Nowhere(Here):
        def run(self, do: Callable[..., Result], shared: Mapping[str, Any], **own: Any) -> Result:
            raise AssertionError("a worker does not have the function's module")

    pair = {"donor": residual_network("fifth", 5), "target": residual_network("sixth", 6)}
    pair[own].answer = OwnFormat("answers:decode", lambda outputs, labels, size: "text")
    similarity = measure_similarity(tuple(pair.values()), EVIDENCE["first"].fit)
    options = SearchOptions(workers=Nowhere())
    assert any(candidates(pair["donor"], pair["target"], EVIDENCE["first"], similarity, options))
