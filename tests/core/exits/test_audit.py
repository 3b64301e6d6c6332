"""An exit is closed when the world changes, and hardly ever without that."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.exits.audit import RISK, Audit

ALLOWED = 0.01
RUNS = 200


def closed_after(share: float, frames: int, random: np.random.Generator, audit: Audit) -> int | None:
    for number, agrees in enumerate((random.random(frames) >= share).tolist(), 1):
        if audit.add(agrees):
            return number
    return None


@pytest.mark.parametrize("share", [ALLOWED, ALLOWED / 2])
def test_at_most_5_in_100_runs_without_a_shift_close_an_exit(share: float) -> None:
    random = np.random.default_rng(5)
    closed = [closed_after(share, 2000, random, Audit(ALLOWED)) for _ in range(RUNS)]
    assert sum(c is not None for c in closed) <= RISK * RUNS


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_a_shift_is_caught_before_the_promise_is_broken_by_more_than_half(share: float) -> None:
    """Every tenth exit is audited: 20,000 exits as promised, then a shift; errors over all exits so far are counted."""
    random = np.random.default_rng(6)
    caught = 0
    for _ in range(RUNS):
        audit = Audit(ALLOWED)
        if closed_after(ALLOWED / 2, 2000, random, audit) is not None:
            caught += 1
            continue
        later = closed_after(share, 20_000, random, audit)
        assert later is not None
        exits = 20_000 + 10 * later
        caught += (ALLOWED / 2 * 20_000 + share * 10 * later) / exits <= 1.5 * ALLOWED
    assert caught >= 0.95 * RUNS


def test_it_stays_closed() -> None:
    audit = Audit(0.5, risk=0.05)
    for _ in range(3000):
        audit.add(False)
    assert audit.is_broken
    for _ in range(3000):
        assert audit.add(True)
    assert (audit.audited, audit.disagreed) == (6000, 3000)


def test_capital_is_a_fair_game() -> None:
    """Expected capital after one frame is what it was before, at the share that is allowed."""
    right, wrong = Audit(ALLOWED), Audit(ALLOWED)
    right.add(True)
    wrong.add(False)
    assert (1 - ALLOWED) * right.capital + ALLOWED * wrong.capital == pytest.approx(1.0)


def test_a_long_good_time_makes_doubt_no_slower() -> None:
    young, old = Audit(ALLOWED), Audit(ALLOWED)
    for _ in range(20_000):
        old.add(True)
    assert not young.is_in_doubt and not old.is_in_doubt
    for audit in (young, old):
        audit.add(False)
        assert audit.is_in_doubt and not audit.is_broken
        for _ in range(20):
            audit.add(True)
        assert not audit.is_in_doubt


@pytest.mark.parametrize(("allowed", "most"), [(0.01, 0.3), (0.05, 0.5), (0.2, 0.6)])
def test_doubt_takes_few_of_the_audited_frames_where_exits_do_as_promised(allowed: float, most: float) -> None:
    """``most`` is for an exit that keeps its promise barely; docs/exits.md states what doubt costs."""
    random = np.random.default_rng(7)
    for share, bound in ((allowed / 3, 0.06), (allowed, most)):
        audit, doubted = Audit(allowed), 0
        for agrees in (random.random(40_000) >= share).tolist():
            audit.add(agrees)
            doubted += audit.is_in_doubt
        assert 0 < doubted / 40_000 <= bound
