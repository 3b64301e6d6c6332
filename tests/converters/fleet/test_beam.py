"""Apache Beam's own local runner adds up to the bytes of this process, in the trees that it likes."""

from __future__ import annotations

import random

import pytest

from multigraft.converters.fleet.engines import CHUNK, combine_fn, engine_of
from multigraft.converters.fleet.head import read_head
from multigraft.converters.fleet.parts import Job, Part, Rules, batched, part_of
from multigraft.converters.urls import Entry
from multigraft.statistics import statistics_file
from tests.converters.fleet.fleet_files import BROKEN, content

pytest.importorskip("apache_beam", reason="beam: takes multigraft[beam]")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    folder = tmp_path_factory.mktemp("files")
    made = []
    for number in range(12):
        path = folder / f"{number}.mgstats"
        path.write_bytes(content(number) if number != 5 else BROKEN["a bit flipped"](number))
        entry = Entry(str(path), path.stat().st_size, "")
        made.append(Job(entry, read_head(entry).digest, ""))
    return made


@pytest.fixture(scope="module")
def rules(jobs: list[Job]) -> Rules:
    return Rules(read_head(jobs[0].entry).subject, 100, {"": "site and day"})


def same(part: Part, other: Part) -> bool:
    (one,), (two,) = part.sums.values(), other.sums.values()
    rows, others = (sorted(p.rows, key=lambda row: row.url) for p in (part, other))
    return (
        statistics_file.to_bytes(one, 1) == statistics_file.to_bytes(two, 1)
        and (part.form_of, part.aside, part.forms) == (other.form_of, other.aside, other.forms)
        and rows == others
    )


def test_the_local_runner_gives_the_same_bytes(jobs: list[Job], rules: Rules) -> None:
    shuffled = random.Random(3).sample(jobs, len(jobs))
    (part,) = engine_of("beam")(batched(iter(shuffled), CHUNK // 8), rules)
    expected = part_of(tuple(jobs), rules)
    assert same(part, expected) and list(part.aside) == [jobs[5].entry.url]


def test_any_tree_of_accumulators_gives_the_same_bytes(jobs: list[Job], rules: Rules) -> None:
    """What a runner may do: accumulators that stay empty, merged early or late, of one job or several."""
    expected = part_of(tuple(jobs), rules)
    for seed in range(3):
        drawn, combine = random.Random(seed), combine_fn(rules)
        accumulators = [combine.create_accumulator() for _ in range(5)]
        for one in drawn.sample(jobs, len(jobs)):
            place = drawn.randrange(5)
            accumulators[place] = combine.add_input(accumulators[place], one if drawn.random() < 0.5 else (one,))
        drawn.shuffle(accumulators)
        first = combine.merge_accumulators(accumulators[:2])
        whole = combine.merge_accumulators([combine.compact(first), *accumulators[2:]])
        assert same(combine.extract_output(whole), expected)
