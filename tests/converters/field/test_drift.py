"""Drift: quiet where nothing changed, loud where something did, and adjusted for the number of comparisons."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.converters.field.drift import SIGNIFICANT, compare, find_drift
from tests.calibration.samples import statistics


def test_p_values_are_uniform_where_nothing_changed() -> None:
    p_values: list[float] = []
    for seed in range(60):
        a = statistics(2 * seed, 12, ("a", "2026-05-01"))
        b = statistics(2 * seed + 1, 14, ("b", "2026-05-01"))
        (first,), (second,) = a.places.values(), b.places.values()
        drifts = [compare(first, second, group) for group in ("image", "garment", "digit")]
        p_values += [drift.p for drift in drifts if drift is not None]
    assert len(p_values) == 180
    assert np.mean(np.array(p_values) < 0.1) == pytest.approx(0.1, abs=0.05)
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.07)


def test_a_moved_mean_is_found_between_sites_and_between_days() -> None:
    fleet = statistics(1, 12, ("a", "2026-05-01")) + statistics(2, 12, ("a", "2026-05-02"), shift=2.0)
    fleet = fleet + statistics(3, 12, ("b", "2026-05-01"))
    drifts = find_drift(fleet)
    days = [d for d in drifts if d.first == "a 2026-05-01"]
    assert {d.of for d in days} == {"image", "garment", "digit"}
    assert all(d.adjusted_p < SIGNIFICANT and d.effect > 1 and d.second == "a 2026-05-02" for d in days)
    assert [d.adjusted_p for d in drifts] == sorted(d.adjusted_p for d in drifts)
    assert all(d.adjusted_p >= d.p for d in drifts)


def test_too_few_minibatches_give_no_answer() -> None:
    a, b = (statistics(i, 2, (str(i), "d")) for i in (1, 2))
    assert find_drift(a + b) == []
    assert find_drift(a) == []
