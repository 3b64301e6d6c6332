"""The stitching layer from moments alone is the least-squares map of the frames, and is taken where it loses little."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.converters.field.taps_bundle import MAX_CROSS_SUMS, stitching_pairs
from multigraft.converters.graft.frameless import plan_without_frames
from multigraft.converters.graft.sharing_plan import Limits
from multigraft.converters.graft.stitching_layer import MAX_ERROR, moments, stitching_candidates
from multigraft.converters.network.network import Network
from multigraft.statistics import entries
from multigraft.statistics.similarity import SimilaritySums
from multigraft.statistics.statistics import Minibatch, Statistics
from multigraft.statistics.subject import Subject, Tap, TappedNetwork
from multigraft.statistics.tally import Terms
from tests.converters.graft.networks import frames, perturbed, residual_network

FIRST = residual_network("first", 1)
RELATIVE = perturbed(FIRST, "relative", 0.02)
STRANGER = residual_network("stranger", 9)
NETWORKS = [FIRST, RELATIVE, STRANGER]
IMAGES = frames(200)


def values_of(networks: list[Network]) -> dict[str, npt.NDArray[np.float64]]:
    """Rows x channels of every cut point."""
    values = {}
    for network in networks:
        for name, value in network.run(network.prepare(IMAGES), [p.name for p in network.cut_points]).items():
            values[name] = np.moveaxis(value, 1, -1).reshape(-1, value.shape[1]).astype(np.float64)
    return values


@pytest.fixture(scope="module")
def field() -> Statistics:
    """What a device would bring home of these frames."""
    taps = tuple(Tap(p.name, n.name, (*p.shape[1:], p.shape[0])) for n in NETWORKS for p in n.cut_points)
    tapped = tuple(TappedNetwork(n.name, n.kind, n.input, n.outputs) for n in NETWORKS)
    pairs = stitching_pairs(NETWORKS, True)
    terms, values = Terms(len(IMAGES)), values_of(NETWORKS)
    for name in {name for pair in pairs for name in pair}:
        terms.counts[entries.cross_rows(name)] = np.array(len(values[name]), np.int64)
        terms.sums[f"first/{name}"], terms.sums[f"second/{name}"] = (
            values[name].sum(axis=0),
            values[name].T @ values[name],
        )
    for a, b in pairs:
        terms.sums[f"cross/{a}|{b}"] = values[a].T @ values[b]
    terms.counts[entries.CROSSED] = np.array(len(IMAGES), np.int64)
    statistics = Statistics(Subject("0" * 64, tapped, taps, 0, pairs))
    sums = SimilaritySums([t.name for t in taps])
    sums.add([np.random.default_rng(i).normal(size=(8, 5)) for i, _ in enumerate(taps)])
    statistics.add(Minibatch(terms, Terms(len(IMAGES)), sums), ("a", "d"))
    return statistics


def alike(a: str, b: str) -> float:
    return 0.5


def test_it_is_the_least_squares_map(field: Statistics) -> None:
    at, cut = FIRST.cut_points[1], STRANGER.cut_points[1]
    pair = moments(field, at, cut)
    assert pair is not None
    x, y = values_of([FIRST])[at.name], values_of([STRANGER])[cut.name]
    centred = x - x.mean(axis=0), y - y.mean(axis=0)
    expected, residual, *_ = np.linalg.lstsq(*centred, rcond=None)
    solution = pair.solve()
    np.testing.assert_allclose(solution.weight[0], expected, atol=1e-2 * np.abs(expected).max())
    unseen = len(x) / (len(x) - x.shape[1] - 1)
    assert solution.relative_error == pytest.approx(unseen * residual.sum() / (centred[1] ** 2).sum(), rel=1e-3)
    assert pair.raw_error == pytest.approx(((x - y) ** 2).sum() / (centred[1] ** 2).sum(), rel=1e-6)


def test_the_tail_runs_behind_the_donor_as_its_error_says(field: Statistics) -> None:
    original = RELATIVE.run(RELATIVE.prepare(IMAGES))[RELATIVE.outputs[0]]
    small: list[tuple[str, str]] = []
    for graft, error in stitching_candidates(FIRST, RELATIVE, field, alike, None):
        source = graft.tail.source
        features = FIRST.run(FIRST.prepare(IMAGES), [source])[source]
        answers = graft.tail.run(features)[0]
        assert answers.shape == original.shape and graft.agreement is None
        if error < 0.01:
            assert np.sqrt(np.mean((answers - original) ** 2)) < 0.08 * original.std()
            small.append((graft.join.method, graft.join.target_point.label.split("/")[-1]))
    assert small == [("raw", "stem"), ("stitch", "stem"), ("stitch", "block"), ("stitch", "flat")]


def test_relatives_share_deep_and_strangers_only_when_asked(field: Statistics) -> None:
    by_network = {network.name: field for network in NETWORKS}
    outcome = plan_without_frames(NETWORKS, alike, Limits(0.9), {}, None, by_network)
    assert set(outcome.chosen.grafts) == {"relative"}
    join = outcome.chosen.grafts["relative"].join
    assert join.target_point == RELATIVE.cut_points[-1] and join.method in ("raw", "stitch")
    assert "% of the variance of what relative expects there is not reproduced" in outcome.message
    errors = [e for _, e in stitching_candidates(FIRST, STRANGER, field, alike, None)]
    assert errors and min(errors) > MAX_ERROR
    asked = plan_without_frames([FIRST, STRANGER], alike, Limits(0.9), {"stranger": "block"}, None, by_network)
    assert asked.chosen.grafts["stranger"].join.method == "stitch"
    # One dense layer follows global pooling: the stitch is multiplied into it and costs nothing.
    deep = plan_without_frames([FIRST, STRANGER], alike, Limits(0.9), {"stranger": "flat"}, None, by_network)
    assert deep.chosen.grafts["stranger"].own_weights == 3 * 12 + 3


def test_pairs_fit_and_stay_within_the_limit() -> None:
    pairs = stitching_pairs(NETWORKS)
    shapes = {p.name: p.shape for n in NETWORKS for p in n.cut_points}
    assert pairs and all(shapes[a][1:] == shapes[b][1:] and a.split("/")[0] != b.split("/")[0] for a, b in pairs)
    wide = [residual_network(f"wide{i}", i, width=150) for i in range(2)]
    widths = {p.name: p.shape[0] for n in wide for p in n.cut_points}
    few = stitching_pairs(wide)
    total = sum(widths[a] * widths[b] for a, b in few) + sum(widths[n] ** 2 for n in {n for p in few for n in p})
    assert few and total <= MAX_CROSS_SUMS
    assert sum(widths[a] * widths[b] for a, b in stitching_pairs(wide, True)) <= MAX_CROSS_SUMS
