"""The collector of files as an attacker where networks look at crops: a frame of many crops is still one frame."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.answers.crops import On
from multigraft.answers.detections import Detections
from multigraft.bundle.bundle import Bundle
from multigraft.calibration.collect.collect_options import CollectOptions
from multigraft.calibration.collect.collector import collect
from multigraft.calibration.collect.selection_rule import SelectionRule
from multigraft.calibration.collect.tap_sample import DETAIL_EVERY
from multigraft.calibration.collect.taps_runner import TapsRunner
from multigraft.calibration.views import turn
from multigraft.devices.cameras.array_file import ArrayFile
from multigraft.runtime.cascades import crops_of
from multigraft.runtime.engine import Engine
from multigraft.statistics import entries, statistics_file
from multigraft.statistics.statistics import Statistics
from multigraft.tensors.arrays import Array, Float64Array
from tests.attack.test_releases import thinnest
from tests.calibration.crop_networks import ON, crop_frames, crops_bundle

BUNDLE = crops_bundle()
MINIMUM, MINIBATCH, FRAMES = 16, 8, 2400
TAP, POSITIONS = "garment/relu2", 36
IMAGES = crop_frames(FRAMES, seed=11)


def collected(
    folder: Path, step: int, bundle: Bundle = BUNDLE, upto: int = FRAMES
) -> tuple[list[list[Statistics]], list[list[Statistics]]]:
    """A run that is stopped and resumed all the time; of each view the releases, and what the store held meanwhile."""
    np.save(folder / "f.npy", IMAGES)
    sizes: dict[str, Any] = {"minibatch": MINIBATCH, "minimum_frames": MINIMUM}
    releases: dict[int, dict[bytes, Statistics]] = {}
    held: dict[int, list[Statistics]] = {}
    for limit in range(step, upto + 1, step):
        options = CollectOptions(frames=limit, site="a", rule=SelectionRule(0.0), **sizes)
        done = collect(bundle, ArrayFile(folder / "f.npy"), folder / "a.mgstats", options, clock=lambda: 0.0)
        for view, one in enumerate(done.gathered):
            held.setdefault(view, []).append(one.statistics)
            if one.path is not None and (content := one.path.read_bytes()):
                releases.setdefault(view, {}).setdefault(content, statistics_file.read(one.path))
    return [list(of.values()) for _, of in sorted(releases.items())], [of for _, of in sorted(held.items())]


def crops(images: Array, view: int, views: int = 2, on: On = ON) -> list[tuple[int, Array]]:
    """Number of the frame and crop, of the frames that serve a view."""
    engine, made = Engine(BUNDLE), []
    for number, image in enumerate(images):
        if turn(number, views) == view:
            found = engine.run(image, ["line"]).answers["line"]
            assert isinstance(found, Detections)
            numbers, cut = crops_of(on, image, found)
            made += [(number, cut(n)[0]) for n in numbers]
    return made


def detailed(made: list[tuple[int, Array]]) -> list[tuple[int, Array]]:
    """Those whose moments are summed: every eighth of a minibatch, which ends with a frame."""
    picked, batch = [], list[tuple[int, Array]]()
    for _, parts in itertools.groupby(made, key=lambda one: one[0]):
        batch += parts
        if len(batch) >= MINIBATCH:
            picked += batch[::DETAIL_EVERY]
            batch = []
    return picked


def embeddings(parts: list[tuple[int, Array]]) -> Float64Array:
    runner = TapsRunner(BUNDLE.with_tasks(dataclasses.replace(t, on=None) for t in BUNDLE.manifest.tasks))
    rows = []
    for _, part in parts:
        runner.run(part)
        rows.append(runner.arrays[TAP].reshape(POSITIONS, -1).mean(axis=0, dtype=np.float64))
    return np.array(rows)


@pytest.fixture(scope="module")
def truth() -> tuple[list[int], Float64Array, Float64Array]:
    """Of the detailed crops, in order: their frames, their embeddings, and as many strangers'."""
    parts = detailed(crops(IMAGES, 1))
    strangers = crops(crop_frames(FRAMES, seed=12), 1)[: len(parts)]
    return [number for number, _ in parts], embeddings(parts), embeddings(strangers)


Guess = tuple[range, Float64Array]


def guesses(states: list[Statistics]) -> list[Guess]:
    """Of every pair: the detailed crops that it is about, and their mean embedding as it follows from the sums."""
    found = []
    for old, new in itertools.combinations(states, 2):
        about = range(*(s.overall.count_of(entries.DETAILED_CROPS) for s in (old, new)))
        sums = [s.overall.sums[entries.channel_sums(TAP)].values() for s in (old, new)]
        if about:
            found.append((about, (sums[1] - sums[0]) / (len(about) * POSITIONS)))
    return found


def nearer(made: list[Guess], true: Float64Array, strangers: Float64Array) -> float:
    """Share of crops that are nearer to a guess about them than a stranger's crop is: 0.5 is chance."""
    wins = [
        np.linalg.norm(true[number] - guess) < np.linalg.norm(strangers[number] - guess)
        for about, guess in made
        for number in about
    ]
    return float(np.mean(wins))


def test_guesses_from_all_pairs_of_releases_are_no_nearer_to_the_truth_than_to_strangers(
    tmp_path: Path, truth: tuple[list[int], Float64Array, Float64Array]
) -> None:
    frames, true, strangers = truth
    releases, _ = collected(tmp_path, 3 * MINIBATCH)
    made = guesses(releases[1])
    assert len(made) >= 6
    # The guess is right about what it is about, and that is crops of many frames, whatever the file itself says.
    for about, guess in made:
        np.testing.assert_allclose(true[about.start : about.stop].mean(axis=0), guess, atol=1e-5)
        assert len({frames[number] for number in about}) >= MINIMUM
    assert 0.4 < nearer(made, true, strangers) < 0.6
    assert all(thinnest(of) >= MINIMUM for of in releases)


def test_the_same_guesses_hit_where_nothing_holds_a_release_back(
    tmp_path: Path, truth: tuple[list[int], Float64Array, Float64Array]
) -> None:
    """The attack itself, on what the store holds after each minibatch or two."""
    _, true, strangers = truth
    _, held = collected(tmp_path, MINIBATCH // 2, upto=200)
    alone = [(about, guess) for about, guess in guesses(held[1]) if len(about) == 1]
    assert len(alone) >= 10 and nearer(alone, true, strangers) == 1
    assert max(np.abs(true[about.start] - guess).max() for about, guess in alone) < 1e-5


def test_no_view_less_another_leaves_few_frames(tmp_path: Path) -> None:
    """Two networks with the same layers, of all boxes and of the surest: the sums of one less those of the other."""
    first = dataclasses.replace(ON, top=1)
    tasks = [dataclasses.replace(t, on=first if t.name == "digit" else t.on) for t in BUNDLE.manifest.tasks]
    releases, held = collected(tmp_path, 600, BUNDLE.with_tasks(tasks))
    assert len(releases) == 3 and all(thinnest(of) >= MINIMUM for of in releases if len(of) > 1)
    seen = [{number for number, _ in crops(IMAGES, view, 3, on)} for view, on in ((1, ON), (2, first))]
    assert not seen[0] & seen[1]
    # Whatever is added and subtracted is of whole releases, of other frames each.
    for states, numbers in zip(held[1:], seen, strict=True):
        assert len(numbers) - 4 < states[-1].frames <= len(numbers)
