"""Adding up in any order and any tree gives the same; what would depend on the order is refused file by file."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.converters.fleet.head import read_head
from multigraft.converters.fleet.packing import packed, unpacked
from multigraft.converters.fleet.parts import ALL_SITES, EVER, Job, Part, Rules, part_of
from multigraft.converters.urls import Entry
from multigraft.statistics import statistics_file
from tests.converters.fleet.fleet_files import BOMB, BROKEN, content, site, with_arrays

NUMBERS = range(9)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    folder = tmp_path_factory.mktemp("files")
    return [job(folder / f"{i}.mgstats", content(i)) for i in NUMBERS]


def job(path: Path, data: bytes) -> Job:
    path.write_bytes(data)
    entry = Entry(str(path), len(data), "")
    return Job(entry, read_head(entry).digest, "")


def rules_for(job: Job, apart: str = "site and day", share: int = 100) -> Rules:
    return Rules(read_head(job.entry).subject, share, {"": apart})


def bytes_of(part: Part) -> bytes:
    (whole,) = part.sums.values()
    return statistics_file.to_bytes(whole, 1)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1 << 20), apart=st.sampled_from(["site and day", "day", "nothing"]))
def test_any_order_and_any_tree_give_the_same_bytes(jobs: list[Job], seed: int, apart: str) -> None:
    rules = rules_for(jobs[0], apart)
    expected = part_of(tuple(jobs), rules)
    drawn = random.Random(seed)
    parts = [part_of((one,), rules) for one in drawn.sample(jobs, len(jobs))]
    while len(parts) > 1:
        other = parts.pop(drawn.randrange(len(parts)))
        parts[drawn.randrange(len(parts))].merge(other)
    assert bytes_of(parts[0]) == bytes_of(expected)
    assert parts[0].form_of == expected.form_of
    assert sorted(parts[0].rows, key=lambda r: r.url) == sorted(expected.rows, key=lambda r: r.url)


def test_sites_and_days_are_held_apart_as_far_as_asked(jobs: list[Job]) -> None:
    for apart, places in (("day", {(ALL_SITES, "2026-11-05")}), ("nothing", {(ALL_SITES, EVER)})):
        (whole,) = part_of(tuple(jobs), rules_for(jobs[0], apart)).sums.values()
        assert set(whole.places) == places
        assert sum(tally.frames for tally in whole.places.values()) == whole.frames == 9 * 96


@pytest.mark.parametrize("way", [*BROKEN, "a bomb"])
def test_a_broken_file_is_named_and_changes_nothing(jobs: list[Job], tmp_path: Path, way: str) -> None:
    path = tmp_path / "broken.mgstats"
    data = (BROKEN | {"a bomb": BOMB})[way](77)
    path.write_bytes(data)
    rules = rules_for(jobs[0])
    part = part_of((*jobs[:3], Job(Entry(str(path), len(data), ""), "?", ""), *jobs[3:]), rules)
    assert set(part.aside) == {str(path)} and part.aside[str(path)] and not part.unread
    assert bytes_of(part) == bytes_of(part_of(tuple(jobs), rules))


def test_a_file_that_is_replaced_while_it_is_read_does_not_count(jobs: list[Job], tmp_path: Path) -> None:
    old = job(tmp_path / "a.mgstats", content(50))
    job(tmp_path / "a.mgstats", content(50, release=2))
    part = part_of((old,), rules_for(jobs[0]))
    assert "replaced while it was read" in part.aside[old.entry.url] and not part.sums


def test_each_file_may_fill_its_share_of_a_range_and_no_more(jobs: list[Job], tmp_path: Path) -> None:
    made = site(60)
    made.overall.counts["values/garment/relu1"][0] = 1 << 50
    large = job(tmp_path / "large.mgstats", statistics_file.to_bytes(made, 1))
    assert part_of((large,), rules_for(jobs[0], share=100)).form_of
    assert "fill a sum alone" in part_of((large,), rules_for(jobs[0], share=10_000)).aside[large.entry.url]


def test_histograms_of_other_lengths_are_of_another_form(jobs: list[Job], tmp_path: Path) -> None:
    odd = []
    for length in (3, 4):

        def change(arrays: dict[str, Any], length: int = length) -> None:
            arrays["count/roughness"] = np.zeros(length, np.int64)

        odd.append(job(tmp_path / f"{length}.mgstats", with_arrays(content(50 + length), change)))
    part = part_of((*jobs[:2], *odd), rules_for(jobs[0], "nothing"))
    assert not part.aside and len(part.sums) == 3


def test_zeros_of_both_signs_add_up_to_the_same_bytes(jobs: list[Job], tmp_path: Path) -> None:
    both = []
    for number, zero in ((50, 0.0), (51, -0.0)):

        def empty(arrays: dict[str, Any], zero: float = zero) -> None:
            arrays["low/garment/relu1"] = np.array(zero)
            arrays["high/digit/image"] = arrays["low/digit/image"] = np.array(zero)

        both.append(job(tmp_path / f"{number}.mgstats", with_arrays(content(number), empty, "overall.npz")))
    rules = rules_for(jobs[0])
    assert bytes_of(part_of(tuple(both), rules)) == bytes_of(part_of(tuple(both[::-1]), rules))


def test_packed_arrays_come_back() -> None:
    ((_, tally),) = site(1).places.items()
    arrays = tally.to_arrays()
    again = unpacked(packed(arrays))
    assert again.keys() == arrays.keys()
    assert all(
        (again[n] == a).all() and again[n].dtype == a.dtype and again[n].shape == a.shape for n, a in arrays.items()
    )
