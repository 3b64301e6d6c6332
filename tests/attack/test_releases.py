"""The collector of files as an attacker: what all releases of a run tell of single frames, however it was run."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft import files
from multigraft.calibration.collect.bounded_sums import BoundedSums
from multigraft.calibration.collect.collect_options import CollectOptions, store_of
from multigraft.calibration.collect.collector import collect
from multigraft.calibration.collect.selection_rule import SelectionRule
from multigraft.calibration.collect.store import Store
from multigraft.calibration.collect.taps_runner import TapsRunner
from multigraft.devices.cameras.array_file import ArrayFile
from multigraft.errors import MultigraftError
from multigraft.statistics import entries, statistics_file
from multigraft.statistics.noise import UNIT, Privacy, numbers_of
from multigraft.statistics.release import releases_apart
from multigraft.statistics.statistics import Statistics
from multigraft.statistics.tally import Terms
from multigraft.tensors.arrays import Float64Array
from tests.calibration.networks import frames, taps_bundle

BUNDLE = taps_bundle()
MINIMUM, MINIBATCH, FRAMES = 16, 8, 1200
TAP, POSITIONS = "garment/relu2", 36
IMAGES = frames(FRAMES, seed=11)


def options(limit: int | None = None, privacy: Privacy | None = None) -> CollectOptions:
    rule = SelectionRule() if privacy is None else SelectionRule(min_difference=0)
    sizes: dict[str, Any] = {"minibatch": MINIBATCH, "minimum_frames": MINIMUM}
    return CollectOptions(frames=limit, site="a", rule=rule, privacy=privacy, **sizes)


def embeddings(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Float64Array:
    """Mean of each channel of the tap, frame by frame."""
    runner = TapsRunner(BUNDLE)
    rows = []
    for image in images:
        runner.run(image)
        rows.append(runner.arrays[TAP].reshape(POSITIONS, -1).mean(axis=0, dtype=np.float64))
    return np.array(rows)


TRUTH = embeddings(IMAGES[::8])
STRANGERS = embeddings(frames(len(TRUTH), seed=12))


def collected(
    folder: Path, step: int, releases: list[Statistics], clock: Callable[[], float] = lambda: 0.0,
    privacy: Privacy | None = None, upto: int = FRAMES,
) -> None:  # fmt: skip
    """A run that is stopped and resumed all the time; whoever carries files off keeps each one."""
    np.save(folder / "f.npy", IMAGES)
    seen = b""
    for limit in range(step, upto + 1, step):
        done = collect(BUNDLE, ArrayFile(folder / "f.npy"), folder / "a.mgstats", options(limit, privacy), clock=clock)
        if done.path is not None and done.path.read_bytes() != seen:
            seen = done.path.read_bytes()
            releases.append(statistics_file.read(done.path))


def guesses(releases: list[Statistics]) -> list[tuple[range, Float64Array]]:
    """Of every pair of releases: the detailed frames that it is about, and their embedding as it follows from sums."""
    found = []
    for old, new in itertools.combinations(releases, 2):
        count = new.detailed_frames - old.detailed_frames
        sums = [r.overall.sums[entries.channel_sums(TAP)].values() for r in (old, new)]
        if count:
            found.append((range(old.detailed_frames, new.detailed_frames), (sums[1] - sums[0]) / (count * POSITIONS)))
    return found


def nearer(made: list[tuple[range, Float64Array]]) -> float:
    """Share of true frames that are nearer to a guess about them than a stranger's frame is: 0.5 is chance."""
    wins = []
    for about, guess in made:
        for number in about:
            true, stranger = (np.linalg.norm(e[number] - guess) for e in (TRUTH, STRANGERS))
            wins.append(true < stranger)
    return float(np.mean(wins))


def cells(statistics: Statistics) -> dict[str, int]:
    """Frames of every cell."""
    counts = {"all": statistics.frames, "detailed": statistics.detailed_frames, "crossed": statistics.crossed_frames}
    counts["inner"] = statistics.inner_frames
    counts |= {f"place {p}": t.frames for p, t in statistics.places.items()}
    counts |= {f"group {i}": s.frames for i, s in enumerate(statistics.groups)}
    return counts | {f"period {i}": s.frames for i, s in enumerate(statistics.periods)}


def thinnest(releases: list[Statistics]) -> int:
    """The fewest frames by which a cell of two files differs, where one has all frames of the other."""
    grown = []
    for first, second in itertools.permutations(releases, 2):
        if releases_apart(second.releases, first.releases) is not None:
            old, new = cells(first), cells(second)
            grown += [abs(new.get(c, 0) - old.get(c, 0)) for c in old | new]
    return min(g for g in grown if g)


def test_guesses_from_all_pairs_of_releases_are_no_nearer_to_the_truth_than_to_strangers(tmp_path: Path) -> None:
    releases: list[Statistics] = []
    collected(tmp_path, MINIBATCH, releases)
    made = guesses(releases)
    assert len(made) >= 10 and all(len(about) >= MINIMUM for about, _ in made)
    assert 0.4 < nearer(made) < 0.6
    assert thinnest(releases) >= MINIMUM


def test_the_same_guesses_hit_where_nothing_holds_a_release_back(tmp_path: Path) -> None:
    """The attack itself, on what the store holds after each minibatch."""
    np.save(tmp_path / "f.npy", IMAGES)
    states = []
    for limit in range(MINIBATCH, 20 * MINIBATCH + 1, MINIBATCH):
        states.append(collect(BUNDLE, ArrayFile(tmp_path / "f.npy"), tmp_path / "a.mgstats", options(limit)).statistics)
    made = [(about, guess) for about, guess in guesses(states) if len(about) == 1]
    assert len(made) == 19 and nearer(made) == 1
    assert max(np.abs(TRUTH[about.start] - guess).max() for about, guess in made) < 1e-5


def test_with_noise_no_pair_of_releases_tells_a_frame_from_a_strangers(tmp_path: Path) -> None:
    """From the sums that are left, in the numbers of a sketch: the means of all blocks, and of all unions of them."""
    releases: list[Statistics] = []
    collected(tmp_path, 136, releases, privacy=Privacy(1.0))
    assert len(releases) >= 3 and thinnest(releases) >= MINIMUM
    assert all(set(r.overall.sums) == {entries.BOUNDED} and not r.overall.counts for r in releases)
    runner = TapsRunner(BUNDLE)
    bounded = BoundedSums(runner, runner.taps)
    numbers = len(bounded.added(np.zeros((1, numbers_of(bounded.bounds))))[0])

    def sketches(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Float64Array:
        rows = []
        for image in images:
            runner.run(image)
            bounded.look()
            terms = Terms()
            bounded.summarise(terms)
            rows.append(terms.sums[entries.BOUNDED][:numbers] / UNIT)
        return np.array(rows)

    true, stranger = sketches(IMAGES[:FRAMES:4]), sketches(frames(FRAMES // 4, seed=12))
    wins = []
    for old, new in itertools.combinations(releases, 2):
        sums = [r.overall.sums[entries.BOUNDED].values()[:numbers] / UNIT for r in (old, new)]
        guess = (sums[1] - sums[0]) / (new.frames - old.frames)
        for number in range(-(-old.frames // 4), new.frames // 4):
            wins.append(np.linalg.norm(true[number] - guess) < np.linalg.norm(stranger[number] - guess))
    assert 0.4 < np.mean(wins) < 0.6


def test_with_noise_an_equal_export_gives_equal_bytes_and_nothing_to_average(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", IMAGES)
    output, privacy = tmp_path / "a.mgstats", Privacy(1.0)
    collect(BUNDLE, ArrayFile(tmp_path / "f.npy"), output, options(256, privacy))
    content = output.read_bytes()
    for _ in range(2):
        output.unlink()
        collect(BUNDLE, ArrayFile(tmp_path / "f.npy"), output, options(256, privacy))
        assert output.read_bytes() == content
    first = statistics_file.read(output)
    collect(BUNDLE, ArrayFile(tmp_path / "f.npy"), output, options(512, privacy))
    second = statistics_file.read(output)
    assert first.noise is not None and second.noise is not None
    assert (second.frames, second.noise.frames) == (512, 512) and second.noise.variance == 2 * first.noise.variance
    for other in (None, Privacy(2.0), Privacy(1.0, 1e-9)):
        with pytest.raises(MultigraftError, match=r"begun with noise|begun with another noise"):
            collect(BUNDLE, ArrayFile(tmp_path / "f.npy"), output, options(1000, other))


def test_a_store_without_noise_gets_none_later(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", IMAGES)
    collect(BUNDLE, ArrayFile(tmp_path / "f.npy"), tmp_path / "a.mgstats", options(256))
    with pytest.raises(MultigraftError, match="begun without noise"):
        collect(BUNDLE, ArrayFile(tmp_path / "f.npy"), tmp_path / "a.mgstats", options(512, Privacy(1.0)))


@pytest.mark.parametrize("step", [24, 136, 400])
def test_whenever_a_run_is_resumed_no_cell_grows_by_few(tmp_path: Path, step: int) -> None:
    releases: list[Statistics] = []
    collected(tmp_path, step, releases)
    assert len(releases) > 1 and thinnest(releases) >= MINIMUM


def test_a_clock_that_jumps_gives_no_day_of_few_frames(tmp_path: Path) -> None:
    random, releases = np.random.default_rng(0), list[Statistics]()
    collected(tmp_path, MINIBATCH, releases, lambda: 86_400.0 * float(random.integers(0, 3)), upto=FRAMES // 2)
    assert len(releases) > 1 and thinnest(releases) >= MINIMUM


@pytest.mark.parametrize("is_before", [True, False])
def test_a_kill_between_the_record_and_the_file_gives_the_recorded_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_before: bool
) -> None:
    np.save(tmp_path / "f.npy", IMAGES)
    output, write = tmp_path / "a.mgstats", files.write_bytes

    def killed(target: Path, data: bytes) -> None:
        if not is_before:
            write(target, data)
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        monkeypatch.setattr(files, "write_bytes", killed)
        collect(BUNDLE, ArrayFile(tmp_path / "f.npy"), output, options(256))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert output.exists() != is_before
    done = collect(BUNDLE, ArrayFile(tmp_path / "f.npy"), output, options(264))
    assert (done.release.number, done.release.frames, done.statistics.frames) == (1, 256, 264)
    assert statistics_file.read(output).frames == 256


def test_without_its_store_or_with_an_older_one_a_file_is_not_replaced(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", IMAGES)
    output = tmp_path / "a.mgstats"
    collect(BUNDLE, ArrayFile(tmp_path / "f.npy"), output, options(256))
    older = store_of(output).read_bytes()
    collect(BUNDLE, ArrayFile(tmp_path / "f.npy"), output, options(512))
    released = output.read_bytes()
    for content in (older, None):
        if content is None:
            store_of(output).unlink()
        else:
            store_of(output).write_bytes(content)
        with pytest.raises(MultigraftError, match="told apart"):
            collect(BUNDLE, ArrayFile(tmp_path / "f.npy"), output, options(264))
        assert output.read_bytes() == released
    assert not store_of(output).exists()


def test_two_exports_at_once_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", IMAGES)
    output = tmp_path / "a.mgstats"
    done = collect(BUNDLE, ArrayFile(tmp_path / "f.npy"), output, options(256))
    fixed = done.statistics.subject, MINIMUM
    with Store(store_of(output), *fixed), pytest.raises(MultigraftError, match="another collector"):
        collect(BUNDLE, ArrayFile(tmp_path / "f.npy"), output, options(512))


def test_sums_of_stores_less_a_store_are_releases_of_the_others(tmp_path: Path) -> None:
    """Partial sums of a fleet, of every release: what they differ by is of whole blocks again."""
    sums, per_site = [], []
    for site in range(2):
        folder = tmp_path / str(site)
        folder.mkdir()
        releases: list[Statistics] = []
        collected(folder, 136, releases)
        per_site.append(releases)
    for first, second in itertools.product(*per_site):
        sums.append(first + second)
    assert thinnest([*sums, *per_site[0], *per_site[1]]) >= MINIMUM
