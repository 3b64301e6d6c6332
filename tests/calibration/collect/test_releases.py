"""Releases of a store, taken together: whatever is added to or subtracted from each other sums over enough frames."""

from __future__ import annotations

import copy
import dataclasses
import functools
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from multigraft.calibration.collect.store import Store
from multigraft.calibration.collect.store_facts import Cursor
from multigraft.errors import UsageError
from multigraft.statistics import entries, statistics_file
from multigraft.statistics.releasing import advanced
from multigraft.statistics.similarity import SimilaritySums
from multigraft.statistics.statistics import Minibatch, Statistics
from multigraft.statistics.tally import Tally
from tests.calibration.samples import SUBJECT, minibatch

MINIMUM = 8
MOST = 40
"""Minibatches of a run."""
_WHO, _BITS = "who", 40


@functools.cache
def _made(frames: int) -> Minibatch:
    return minibatch(0, frames)


def marked(number: int, frames: int, detailed: int, crossed: int, is_rest: bool = False) -> Minibatch:
    """A minibatch whose every sum says which minibatches went into it."""
    made = copy.deepcopy(_made(frames))
    who = np.zeros(MOST, np.int64)
    who[number] = 1
    for terms in (made.overall, made.local):
        terms.counts[_WHO] = who
        terms.counts[entries.DETAILED] = np.array(detailed, np.int64)
    if crossed:
        made.overall.counts[entries.CROSSED] = np.array(crossed, np.int64)
        made.overall.counts[entries.cross_rows("garment/relu1")] = who
    made.similarity._unbiased = [1 << (_BITS * number)] * len(made.similarity._unbiased)
    return dataclasses.replace(made, is_rest=is_rest)


def members(cell: Tally | SimilaritySums, entry: str = _WHO) -> frozenset[int]:
    """The numbers of the minibatches in a cell."""
    if isinstance(cell, SimilaritySums):
        return frozenset(n for n in range(MOST) if cell._unbiased[0] >> (_BITS * n) & ((1 << _BITS) - 1))
    return frozenset(np.flatnonzero(cell.counts.get(entry, np.zeros(0))).tolist())


def atoms(cells: Iterable[frozenset[int]]) -> list[frozenset[int]]:
    """What no cell divides: every sum of multiples of cells has all of such a part, or nothing of it."""
    divided = list(set(cells))
    by_column: dict[tuple[bool, ...], set[int]] = {}
    for number in frozenset().union(*divided):
        by_column.setdefault(tuple(number in cell for cell in divided), set()).add(number)
    return [frozenset(part) for part in by_column.values()]


def families(releases: Sequence[Statistics]) -> dict[str, list[frozenset[int]]]:
    """Cells of all releases by the quantity they hold: only sums of one quantity can be subtracted."""
    return {
        "moments": [members(t) for r in releases for t in (r.overall, *r.places.values())],
        "similarity": [members(s) for r in releases for s in (*r.groups, *r.periods)],
        "products": [members(r.overall, entries.cross_rows("garment/relu1")) for r in releases],
    }


STEP = st.tuples(
    st.integers(4, 24), st.integers(1, 3), st.integers(0, 8), st.booleans(), st.integers(1, 4), st.integers(0, 3)
)
"""Frames, those in detail, those in products, whether it is a rest, the day, and what happens behind it."""


@settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.lists(STEP, min_size=12, max_size=MOST))
def test_no_linear_combination_of_releases_sums_over_few_frames(
    steps: list[tuple[int, int, int, bool, int, int]],
) -> None:
    releases: list[Statistics] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        store = Store(path, SUBJECT, MINIMUM)
        for number, (frames, detailed, crossed, is_rest, day, then) in enumerate(steps):
            # The clock goes wherever it likes.
            made = marked(number, frames, detailed, crossed, is_rest)
            store.append(made, ("a", f"2026-05-0{day}"), Cursor())
            if then == 1:
                store.__exit__(None, None, None)
                store = Store(path, SUBJECT, MINIMUM)
            if then == 2:
                store.checkpoint()
            if then and store.advance(1):
                releases.append(statistics_file.from_bytes(store.released_content() or b"", "x"))
        whole = store.statistics
        store.__exit__(None, None, None)
    size = [step[0] for step in steps]
    for name, cells in families(releases).items():
        counted = [step[2] for step in steps] if name == "products" else size
        if name == "moments":
            # Some of them are of the frames that are looked at in detail alone.
            counted = [step[1] for step in steps]
        for atom in atoms(cells):
            assert not atom or sum(counted[n] for n in atom) >= MINIMUM, (name, sorted(atom))
    assert members(whole.overall) == frozenset(range(len(steps))) and whole.frames == sum(size)
    assert whole.similarity()._unbiased[0] == sum(1 << (_BITS * n) for n in range(len(steps)))
    assert [next(iter(r.releases.values())).number for r in releases] == list(range(1, len(releases) + 1))


def test_the_parts_of_cells_are_found() -> None:
    """The test above, with a release that a minibatch went into alone."""
    parts = atoms([frozenset({0, 1, 2}), frozenset({0, 1, 2, 3}), frozenset({1})])
    assert sorted(map(sorted, parts)) == [[0, 2], [1], [3]]


def test_what_has_too_few_is_not_released_and_what_is_missing_is_counted(tmp_path: Path) -> None:
    with Store(tmp_path / "s", SUBJECT, MINIMUM) as store:
        assert store.missing() is None and not store.advance(1) and store.released_content() is None
        for number, missing in enumerate((("detailed", 6), ("detailed", 4), ("detailed", 2))):
            store.append(marked(number, 16, 2, 0), ("a", "d"), Cursor())
            lack = store.missing()
            assert lack is not None and (lack.cell, lack.frames) == missing and not store.advance(1)
        store.append(marked(3, 16, 2, 0), ("a", "d"), Cursor())
        assert store.missing() is None and store.advance(1)
        content = store.released_content()
        store.append(marked(4, 16, 2, 0), ("a", "d"), Cursor())
        assert not store.advance(1) and store.released_content() == content
        assert (store.release.number, store.release.frames, store.frames) == (1, 64, 80)


def test_sums_of_some_frames_wait_until_there_are_enough_and_the_rest_goes_on(tmp_path: Path) -> None:
    with Store(tmp_path / "s", SUBJECT, MINIMUM) as store:
        found = []
        for number, crossed in enumerate((8, 3, 4, 1)):
            store.append(marked(number, 16, 8, crossed), ("a", "d"), Cursor())
            assert store.advance(1)
            released = statistics_file.from_bytes(store.released_content() or b"", "x")
            found.append((released.frames, released.crossed_frames))
        assert found == [(16, 8), (32, 8), (48, 8), (64, 16)]
        assert store.statistics.crossed_frames == 16


def test_a_release_is_refused_without_enough_frames() -> None:
    since = Statistics(SUBJECT, MINIMUM)
    since.add(marked(0, 16, 2, 0), ("a", "d"))
    with pytest.raises(UsageError, match="6 more frames"):
        advanced(None, since, 16)


def test_a_store_keeps_the_minibatch_and_the_site_that_it_was_begun_with(tmp_path: Path) -> None:
    Store(tmp_path / "s", SUBJECT, 8, 128, "hall").__exit__(None, None, None)
    Store(tmp_path / "s", SUBJECT, 8, 128, "hall").__exit__(None, None, None)
    with pytest.raises(UsageError, match="another minibatch"):
        Store(tmp_path / "s", SUBJECT, 8, 64, "hall")
    with pytest.raises(UsageError, match="another site"):
        Store(tmp_path / "s", SUBJECT, 8, 128, "yard")
