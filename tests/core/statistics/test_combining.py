"""Adding up files: no store counts twice, and what can be subtracted is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from multigraft.errors import UsageError
from multigraft.statistics import statistics_file
from multigraft.statistics.combining import combine_files
from multigraft.statistics.release import Release, releases_apart, releases_from_json, releases_to_json
from tests.calibration.samples import released, statistics

A, B = "a" * 16, "b" * 16


def file(path: Path, store: str | None, number: int, minibatches: int, seed: int = 1) -> Path:
    made = statistics(seed, minibatches)
    if store is not None:
        made.releases = {store: Release(number, made.frames)}
    return released(made, path)


def test_of_two_releases_of_a_store_the_newer_counts(tmp_path: Path) -> None:
    old, new = file(tmp_path / "old", A, 1, 4), file(tmp_path / "new", A, 2, 6)
    other = file(tmp_path / "other", B, 1, 5, 2)
    for order in ((old, new, other), (new, other, old)):
        combined = combine_files(order)
        assert combined.statistics.frames == 88 and set(combined.used) == {new, other}
        assert "the 16 frames between them" in combined.apart[0] and "of 40 frames" in combined.apart[1]
        assert combined.statistics.releases == {A: Release(2, 48), B: Release(1, 40)}


def test_a_store_in_two_sums_is_refused(tmp_path: Path) -> None:
    first, second = file(tmp_path / "a", A, 1, 4), file(tmp_path / "b", B, 1, 4, 2)
    fleet = tmp_path / "fleet"
    statistics_file.write(combine_files([first, second]).statistics, fleet)
    with pytest.raises(UsageError, match="both hold frames of store a"):
        combine_files([fleet, first])
    with pytest.raises(UsageError, match="would count twice"):
        statistics_file.read(fleet) + statistics_file.read(second)


def test_copies_count_once_or_are_refused(tmp_path: Path) -> None:
    first, copy = file(tmp_path / "a", A, 1, 4), file(tmp_path / "b", A, 1, 4)
    combined = combine_files([first, copy])
    assert combined.statistics.frames == 32 and "counts once" in combined.apart[0]
    with pytest.raises(UsageError, match="and differ"):
        combine_files([first, file(tmp_path / "c", A, 1, 5)])
    with pytest.raises(UsageError, match="hold the same"):
        combine_files([file(tmp_path / "d", None, 0, 4), file(tmp_path / "e", None, 0, 4)])
    with pytest.raises(UsageError, match="named twice"):
        combine_files([first, tmp_path / "x" / ".." / "a"])


def test_what_a_file_that_is_replaced_gives_away_is_said(tmp_path: Path) -> None:
    first, second = file(tmp_path / "a", A, 1, 4), file(tmp_path / "b", B, 1, 5, 2)
    output = tmp_path / "fleet"
    statistics_file.write(combine_files([first]).statistics, output)
    assert "can tell 40 frames apart" in combine_files([first, second], output).apart[-1]


def test_files_without_a_release_are_read_and_others_come_back(tmp_path: Path) -> None:
    assert statistics_file.read(file(tmp_path / "old", None, 0, 4)).releases == {}
    assert statistics_file.read(file(tmp_path / "new", A, 3, 4)).releases == {A: Release(3, 32)}
    releases = {A: Release(2, 48), B: Release(1, 40)}
    assert releases_from_json(releases_to_json(releases)) == releases
    assert releases_apart(releases, {A: Release(1, 32)}) == 56 and releases_apart({A: Release(1, 32)}, releases) is None


@pytest.mark.parametrize(
    "data", [[], {"x": {"number": 1, "frames": 1}}, {A: 1}, {A: {"number": 0, "frames": 1}}, {A: {"number": True}}]
)
def test_forged_releases_are_refused(data: object) -> None:
    with pytest.raises(ValueError, match="release"):
        releases_from_json(data)
