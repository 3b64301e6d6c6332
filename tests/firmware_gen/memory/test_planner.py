"""The arena: nothing that lives at one time overlaps except where it may, and the plan is as small as claimed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.errors import UsageError
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import M3
from multigraft.firmware_gen.memory.planner import ArenaPlan, Buffer, Sharing, lower_bound, plan
from tests.firmware_gen.memory import minimalloc
from tests.firmware_gen.mlperf_shapes import visual_wake_words


def assert_valid(buffers: list[Buffer], sharings: list[Sharing], made: ArenaPlan) -> None:
    allowed = {(s.output, s.source): s.distance for s in sharings}
    for a, b in itertools.permutations(buffers, 2):
        at, there = made.offsets[a.name], made.offsets[b.name]
        assert at >= 0 and at % 4 == 0 and at + a.size <= made.size
        if a.first <= b.last and b.first <= a.last and at < there + b.size and there < at + a.size:
            one = (a.name, b.name) in allowed
            output, source = (a, b) if one else (b, a)
            assert (output.name, source.name) in allowed
            gap = made.offsets[source.name] - made.offsets[output.name]
            distance = allowed[output.name, source.name]
            assert gap == 0 if distance is None else gap >= distance


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[Buffer], list[Sharing]]:
    count = draw(st.integers(1, 6))
    buffers = []
    for i in range(count):
        first = draw(st.integers(0, 5))
        buffers.append(Buffer(f"b{i}", draw(st.integers(1, 12)) * 4, first, draw(st.integers(first, 6))))
    sharings = [
        Sharing(out.name, source.name, draw(st.sampled_from([None, 0, 4, 12])))
        for out, source in itertools.permutations(buffers, 2)
        if source.last == out.first and source.first < out.first and draw(st.booleans())
    ]
    return buffers, sharings


@settings(max_examples=150, deadline=None)
@given(problems())
def test_plans_are_valid_and_within_their_bound(problem: tuple[list[Buffer], list[Sharing]]) -> None:
    buffers, sharings = problem
    made = plan(buffers, sharings)
    assert_valid(buffers, sharings, made)
    assert lower_bound(buffers, sharings) <= made.bound <= made.size


@settings(max_examples=25, deadline=None)
@given(problems())
def test_a_plan_called_optimal_is_not_beaten_by_trying_everything(problem: tuple[list[Buffer], list[Sharing]]) -> None:
    buffers, _ = problem
    buffers = buffers[:4]
    made = plan(buffers)
    assert made.optimal
    best = (
        min(
            max(at + b.size for at, b in zip(offsets, buffers, strict=True))
            for offsets in itertools.product(range(0, made.size, 4), repeat=len(buffers))
            if all(
                at >= there + b.size or there >= at + a.size or a.first > b.last or b.first > a.last
                for (at, a), (there, b) in itertools.combinations(zip(offsets, buffers, strict=True), 2)
            )
        )
        if made.size <= 64
        else made.size
    )
    assert best == made.size


def test_an_output_slides_into_the_input_it_is_computed_from() -> None:
    buffers = [Buffer("in", 100, 0, 1), Buffer("out", 100, 1, 2)]
    assert plan(buffers).size == 200
    assert plan(buffers, [Sharing("out", "in", 12)]).size == 112
    assert plan(buffers, [Sharing("out", "in", None)]).size == 100


def test_sharing_is_chosen_together_with_the_places() -> None:
    # In place, "b" would have to lie where "a" does; that would push "long" up.
    buffers = [Buffer("a", 40, 0, 1), Buffer("b", 80, 1, 2), Buffer("long", 40, 0, 2)]
    assert plan(buffers, [Sharing("b", "a", None)]).size == 120


def test_random_large_problems_stay_close_to_the_bound() -> None:
    random = np.random.default_rng(0)
    buffers = []
    for i in range(40):
        first = int(random.integers(0, 40))
        last = min(first + int(random.integers(1, 6)), 41)
        buffers.append(Buffer(str(i), int(random.integers(1, 200)) * 16, first, last))
    made = plan(buffers)
    assert_valid(buffers, [], made)
    assert made.size <= 1.15 * made.bound


@pytest.mark.parametrize(("seed", "count"), [(0, 20), (1, 40), (2, 60), (3, 60), (4, 100)])
def test_a_perfect_packing_is_found_and_proven(seed: int, count: int) -> None:
    buffers = minimalloc.read(minimalloc.made(seed, count))
    made = plan(buffers, nodes=20_000)
    assert_valid(buffers, [], made)
    assert made.size == minimalloc.CAPACITY
    assert made.optimal


def test_a_gap_is_reported_where_the_search_is_cut_off() -> None:
    made = plan(minimalloc.read(minimalloc.made(2, 100)), nodes=1)
    assert made.bound == minimalloc.CAPACITY < made.size
    assert not made.optimal


def test_names_are_checked() -> None:
    with pytest.raises(UsageError, match="one name"):
        plan([Buffer("a", 4, 0, 0), Buffer("a", 4, 0, 0)])
    with pytest.raises(UsageError, match="not there"):
        plan([Buffer("a", 4, 0, 0)], [Sharing("a", "b", 0)])


def test_less_in_place_is_tried_where_many_could_be() -> None:
    """The first depthwise layer in place would force the image above what the widest layer needs."""
    project = generate(visual_wake_words(), core=M3)
    widest = 48 * 48 * 16
    assert project.arena_bytes < widest + 5000 + 4 * 64
