"""Evaluations that a build keeps: all that decides one is in its key, and what is read back is what was saved."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.converters.graft.candidate import Candidate, evaluate
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.join import Join
from multigraft.converters.graft.saved_evaluations import SavedEvaluations
from multigraft.converters.graft.search import SearchOptions, candidates
from multigraft.converters.job.checkpoints import Checkpoints
from multigraft.converters.network.frames import Frame, Frames
from multigraft.converters.network.network import Network
from multigraft.converters.similarity.representations import SimilarityTable, measure_similarity
from tests.converters.graft.networks import GREY, frames, perturbed, residual_network

FIRST, SECOND, THIRD = residual_network("a", 0), residual_network("b", 7), residual_network("c", 9)
FIT, ACCEPT = frames(64, seed=1), frames(80, seed=2)


def with_one_pixel_changed(given: Frames) -> list[Frame]:
    changed = [frame.copy() for frame in given]
    changed[-1][-1, -1] ^= 1
    return changed


def reshaped(given: Frames) -> list[Frame]:
    """The same bytes as frames of another height and width."""
    return [frame.reshape(4, 16) for frame in given]


def renamed(network: Network, **changed: Any) -> Network:
    """The same network but for what is changed."""
    given = {"preprocessing": network.preprocessing, "kind": network.kind}
    return Network(network.name, network.model, **(given | changed))


DARKER = dataclasses.replace(GREY, mean=(10.0,))

CHANGES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "the donor's weights": lambda a: {"donor": perturbed(a["donor"], "a", 0.01)},
    "the target's weights": lambda a: {"target": perturbed(a["target"], "b", 0.01)},
    "the donor's preprocessing": lambda a: {"donor": renamed(a["donor"], preprocessing=DARKER)},
    "the target's preprocessing": lambda a: {"target": renamed(a["target"], preprocessing=DARKER)},
    "the target's kind": lambda a: {"target": renamed(a["target"], kind="regression")},
    "a pixel of a frame to fit": lambda a: {"fit": with_one_pixel_changed(a["fit"])},
    "the shape of frames to fit": lambda a: {"fit": reshaped(a["fit"])},
    "the number of frames to fit": lambda a: {"fit": a["fit"][:-1]},
    "the order of frames to fit": lambda a: {"fit": a["fit"][::-1]},
    "a held-out pixel": lambda a: {"accept": with_one_pixel_changed(a["accept"])},
    "the number of held-out frames": lambda a: {"accept": a["accept"][:-1]},
    "confidence": lambda a: {"options": dataclasses.replace(a["options"], confidence=0.9)},
    "tolerance": lambda a: {"options": dataclasses.replace(a["options"], tolerances={"b": 0.1})},
    "seed": lambda a: {"options": dataclasses.replace(a["options"], seed=1)},
    "share point": lambda a: {"options": dataclasses.replace(a["options"], share={"b": "block"})},
}


def alike(a: str, b: str) -> float:
    return 0.9


def searched(folder: Path, given: dict[str, Any]) -> tuple[list[Candidate], int]:
    """Evaluates as a build does; also how many candidates were read back."""
    checkpoints = Checkpoints(folder)
    options = dataclasses.replace(given["options"], saved=SavedEvaluations(checkpoints))
    evidence = Evidence(given["fit"], given["accept"])
    return list(candidates(given["donor"], given["target"], evidence, alike, options)), checkpoints.reused


@pytest.fixture(scope="module")
def given() -> dict[str, Any]:
    return {
        "donor": FIRST,
        "target": SECOND,
        "fit": FIT,
        "accept": ACCEPT,
        "options": SearchOptions(share={"b": "stem"}),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, given: dict[str, Any]) -> Path:
    path = tmp_path_factory.mktemp("saved") / "steps"
    _, reused = searched(path, given)
    assert reused == 0
    return path


def test_the_same_search_reads_back_equal_candidates(folder: Path, given: dict[str, Any]) -> None:
    saved, reused = searched(folder, given)
    again = [
        evaluate(c.join, FIRST, SECOND, Evidence(FIT, ACCEPT), confidence=0.95, tolerance=None, seed=0) for c in saved
    ]
    assert reused == len(saved) == 2
    for old, new in zip(saved, again, strict=True):
        assert dataclasses.replace(old, tail=new.tail) == new
        assert (old.tail.sources, old.tail.outputs, old.tail.opset, old.tail.batch) == (
            new.tail.sources,
            new.tail.outputs,
            new.tail.opset,
            new.tail.batch,
        )
        features = FIRST.run(FIRST.prepare(ACCEPT), [old.tail.source])[old.tail.source].astype(np.float32)
        np.testing.assert_array_equal(old.tail.run(features)[0], new.tail.run(features)[0])


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_decides_a_candidate_makes_a_search_do_it_again(
    folder: Path, given: dict[str, Any], what: str
) -> None:
    _, reused = searched(folder, given | CHANGES[what](given))
    assert reused == 0


@pytest.mark.parametrize(
    "change",
    [
        {"donor_point": FIRST.cut_points[1]},
        {"target_point": SECOND.cut_points[1]},
        {"method": "adapter3"},
        {"relation": "relative"},
        {"cka": 0.5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_part_of_a_join_is_in_the_key(tmp_path: Path, change: dict[str, Any]) -> None:
    join = Join("a", "b", FIRST.cut_points[0], SECOND.cut_points[0], "refit", "independent", 0.9)
    candidate = evaluate(join, FIRST, SECOND, Evidence(FIT, ACCEPT))
    checkpoints = Checkpoints(tmp_path / "steps")
    saved = SavedEvaluations(checkpoints)
    for other in (join, dataclasses.replace(join, **change)):
        saved.graft(other, (FIRST, SECOND), (FIT, ACCEPT), (0.95,), lambda: candidate)
    assert checkpoints.reused == 0


SIMILARITY_CHANGES: dict[str, Callable[[], tuple[tuple[Network, ...], Frames, int]]] = {
    "nothing": lambda: ((FIRST, SECOND), FIT, 0),
    "weights": lambda: ((FIRST, perturbed(SECOND, "b", 0.01)), FIT, 0),
    "preprocessing": lambda: ((renamed(FIRST, preprocessing=DARKER), SECOND), FIT, 0),
    "one network more": lambda: ((FIRST, SECOND, THIRD), FIT, 0),
    "order of the networks": lambda: ((SECOND, FIRST), FIT, 0),
    "a pixel": lambda: ((FIRST, SECOND), with_one_pixel_changed(FIT), 0),
    "shape of the frames": lambda: ((FIRST, SECOND), reshaped(FIT), 0),
    "number of frames": lambda: ((FIRST, SECOND), FIT[:-1], 0),
    "seed": lambda: ((FIRST, SECOND), FIT, 1),
}


@pytest.mark.parametrize("what", SIMILARITY_CHANGES)
def test_whatever_decides_similarity_makes_it_measured_again(tmp_path: Path, what: str) -> None:
    def table(networks: tuple[Network, ...], given: Frames, seed: int) -> tuple[SimilarityTable, int]:
        checkpoints = Checkpoints(tmp_path / "steps")
        measured = SavedEvaluations(checkpoints).similarity(
            networks, given, seed, lambda: measure_similarity(networks, given, seed=seed)
        )
        return measured, checkpoints.reused

    before, _ = table((FIRST, SECOND), FIT, 0)
    after, reused = table(*SIMILARITY_CHANGES[what]())
    assert reused == (what == "nothing")
    if what == "nothing":
        assert after.to_json() == before.to_json()
        np.testing.assert_array_equal(after.unbiased, before.unbiased)
        np.testing.assert_array_equal(after.biased, before.biased)
        assert isinstance(after.networks, tuple) and isinstance(after.cut_points, tuple)
