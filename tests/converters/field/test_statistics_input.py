"""Statistics as a build uses them: the similarity and the ranges that frames would have given."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.converters.field.statistics_input import (
    StatisticsInput,
    ranges_from_statistics,
    similarity_from_statistics,
)
from multigraft.converters.network.frames import Frame
from multigraft.converters.network.network import Network
from multigraft.converters.quantising.ranges import MissingRangesError
from multigraft.converters.similarity.representations import measure_similarity
from multigraft.errors import InputError
from multigraft.statistics import entries
from multigraft.statistics.exact_sums import ExactSums
from multigraft.statistics.noise import UNIT, Noise, TapBounds
from multigraft.statistics.similarity import SimilaritySums
from multigraft.statistics.statistics import Minibatch, Statistics
from multigraft.statistics.subject import Subject, Tap, TappedNetwork
from multigraft.statistics.tally import Terms
from multigraft.statistics.value_histogram import count
from tests.converters.graft.networks import frames, perturbed, residual_network


def collected(networks: list[Network], images: list[Frame], size: int = 32) -> Statistics:
    """As the sampler would, straight from the ONNX networks."""
    taps = tuple(Tap(p.name, n.name, (*p.shape[1:], p.shape[0])) for n in networks for p in n.cut_points)
    tapped = tuple(TappedNetwork(n.name, n.kind, n.input, n.outputs, n.source_sha256) for n in networks)
    statistics = Statistics(Subject("0" * 64, tapped, taps), size)
    for start in range(0, len(images), size):
        part = images[start : start + size]
        overall = Terms(len(part))
        values: dict[str, npt.NDArray[Any]] = {}
        for network in networks:
            names = [p.name for p in network.cut_points] + list(network.outputs)
            prepared = network.prepare(part)
            values |= network.run(prepared, names) | {network.input: prepared}
        for name, array in values.items():
            overall.lows[name], overall.highs[name] = np.array(array.min(), float), np.array(array.max(), float)
        for tap in taps:
            overall.counts[f"values/{tap.name}"] = count(values[tap.name])
        sums = SimilaritySums([t.name for t in taps])
        sums.add([values[t.name] for t in taps])
        statistics.add(Minibatch(overall, Terms(len(part)), sums), ("a", "d"))
    return statistics


@pytest.fixture(scope="module")
def networks() -> list[Network]:
    first = residual_network("first", 1)
    return [first, perturbed(first, "second", 0.05)]


def test_similarity_is_that_of_the_frames(networks: list[Network]) -> None:
    images = frames(512)
    table = similarity_from_statistics(collected(networks, images), networks)
    expected = measure_similarity(networks, images, minibatch=32)
    assert table.cut_points == expected.cut_points and table.frames == 512 and table.minibatch == 32
    np.testing.assert_allclose(table.unbiased, expected.unbiased, atol=0.01)
    swapped = similarity_from_statistics(collected(networks, images), networks[::-1])
    assert swapped(table.cut_points[0], table.cut_points[-1]) == table(table.cut_points[0], table.cut_points[-1])


def test_ranges_cover_inputs_and_outputs_whole_and_nearly_all_values_of_taps(networks: list[Network]) -> None:
    images = frames(128)
    ranges = ranges_from_statistics(collected(networks, images), networks[:1], percent=99.0)
    assert all(name.startswith("first/") for name in ranges)
    network = networks[0]
    names = [p.name for p in network.cut_points]
    values = network.run(network.prepare(images), [*names, *network.outputs])
    for name in (*network.outputs,):
        assert ranges[name] == (values[name].min(), values[name].max())
    for name in names:
        low, high = ranges[name]
        inside = np.mean((values[name] >= low) & (values[name] <= high))
        assert 0.985 <= inside <= 1 and values[name].min() <= low < high <= values[name].max()


def test_statistics_of_other_networks_are_refused(networks: list[Network]) -> None:
    other_networks = collected(networks, frames(64))
    with pytest.raises(InputError, match="hold no network 'third'"):
        ranges_from_statistics(other_networks, [residual_network("third", 2)])
    other = residual_network("first", 1)
    first = residual_network("first", 1)
    first.source_sha256, other.source_sha256 = "a" * 64, "b" * 64
    with pytest.raises(InputError, match="SHA-256 differs"):
        similarity_from_statistics(collected([first], frames(64)), [other])


def with_noise(statistics: Statistics, deviation: float) -> Statistics:
    """Frames that add the same to the first tap of each network, and noise of a size (1: a single frame's)."""
    taps = statistics.subject.taps
    bounds = {tap.name: TapBounds(2, 1.0, is_sketch=False) for tap in taps}
    random = np.random.default_rng(0)
    added = np.tile(random.integers(-2048, 2049, (4096, 2)), (1, len(taps)))
    first, second = np.triu_indices(added.shape[1])
    exact = np.concatenate([UNIT * added.sum(axis=0), (added.T @ added)[first, second]])
    noise = np.rint(deviation * UNIT**2 * random.standard_normal(len(exact))).astype(np.int64)
    made = Statistics(statistics.subject, 32)
    made.overall.frames = 4096
    made.overall.sums[entries.BOUNDED] = ExactSums.of_whole(exact + noise)
    made.noise = Noise(2.0, 1e-6, "a test", 4096, (deviation * UNIT**2) ** 2, bounds)
    return made


def test_noise_that_leaves_enough_chooses_and_noise_that_leaves_nothing_is_refused(networks: list[Network]) -> None:
    plain = collected(networks, frames(64))
    table = similarity_from_statistics(with_noise(plain, 5.0), networks)
    assert table(table.cut_points[0], table.cut_points[-1]) > 0.9 and table.frames == 4096
    clear, drowned = (StatisticsInput(with_noise(plain, size), "a.mgstats", "0" * 64) for size in (5.0, 1e4))
    assert len(clear.advice()) == 1 and "(2, 1e-06)-differentially private; CKA is known to" in clear.advice()[0]
    assert clear.provenance()["noise"] == {"epsilon": 2.0, "delta": 1e-6, "frames": 4096}
    assert "CKAs are too noisy to choose by" in drowned.advice()[1]
    with pytest.raises(InputError, match=r"too noisy to choose by.*collect more"):
        similarity_from_statistics(drowned.statistics, networks)
    assert ranges_from_statistics(clear.statistics, networks) == {} and not clear.has_ranges
    missing = clear.more_ranges_needed(MissingRangesError("int8 needs ranges", "give some"))
    assert "a file with noise holds no ranges" in str(missing) and "give frames" in str(missing)
