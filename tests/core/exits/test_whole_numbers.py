"""Decisions on 8-bit logits are whole numbers: the same on every machine, and what the reals say."""

from __future__ import annotations

import decimal
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.exits.draws import Draws
from multigraft.exits.policy import Exit, Promise, Rule
from multigraft.exits.sureness import as_threshold, make_decision, make_sureness
from multigraft.exits.whole_numbers import BITS, bounds_of, entropy_of, sureness_of, tables_of
from multigraft.tensors.specs import TensorSpec

RULES: tuple[Rule, ...] = ("probability", "margin", "entropy")
PROMISE = Promise("selective", 0.01, 0.95, 1000, 1000, 500, 0)
logits = st.lists(st.integers(-128, 127), min_size=2, max_size=100)
scales = st.floats(1e-6, 50)


def exactly(values: list[int], step: float, rule: Rule) -> decimal.Decimal:
    """Sureness with 60 digits."""
    with decimal.localcontext(decimal.Context(prec=60)):
        scaled = sorted((decimal.Decimal(step) * (v - max(values)) for v in values), reverse=True)
        shares = [x.exp() for x in scaled]
        total = sum(shares, decimal.Decimal())
        if rule == "entropy":
            return sum((s * x for s, x in zip(shares, scaled, strict=True)), decimal.Decimal()) / total - total.ln()
        return (1 - (shares[1] if rule == "margin" else 0)) / total


@pytest.mark.parametrize("rule", RULES)
@settings(deadline=None)
@given(logits, scales)
def test_sureness_is_that_of_the_reals(rule: Rule, values: list[int], scale: float) -> None:
    spec = TensorSpec("logits", (1, len(values)), "int8", scale, 4)
    found = make_sureness(spec, np.array([values], np.int8), rule, 1.0)()
    assert found == pytest.approx(float(exactly(values, scale, rule)), abs=200 * 2.0**-BITS)


@pytest.mark.parametrize("rule", RULES)
@settings(deadline=None)
@given(logits, scales, st.floats(-5, 5), st.sampled_from(["int8", "uint8"]))
def test_a_decision_compares_what_the_threshold_was_tested_on(
    rule: Rule, values: list[int], scale: float, off: float, dtype: str
) -> None:
    """On the threshold and next to it: sure where the sureness says so, to the last bit."""
    array = np.array([values], np.int8).view(dtype)
    spec = TensorSpec("logits", (1, len(values)), dtype, scale, 4)
    sureness = make_sureness(spec, array, rule, 1.0)()
    for least in (sureness, math.nextafter(sureness, 9), math.nextafter(sureness, -9), sureness + off):
        found = Exit("exit_a", "logits", rule, 1.0, as_threshold(least, rule), PROMISE)
        assert make_decision(found, spec, array)() is (sureness >= least)


@pytest.mark.parametrize("rule", ["probability", "margin"])
def test_bounds_are_where_the_sureness_falls_below(rule: Rule) -> None:
    tables = tables_of(0.17, 10, rule)
    for least in (0.05, 0.5, 0.9, 1 - 1e-9, 1.0):
        bounds = bounds_of(rule, tables, least)
        for second, bound in enumerate(bounds):
            assert bound == 0 or sureness_of(rule, tables, bound - 1, second) >= least
            assert sureness_of(rule, tables, bound, second) < least
    assert set(bounds_of(rule, tables, 1.1)) == {0}


@settings(deadline=None)
@given(st.integers(1 << BITS, (1 << 62) - 1))
def test_logarithms_by_shifts_and_additions(total: int) -> None:
    tables = tables_of(0.1, 8000, "entropy")
    total = max(total, tables.one)
    wanted = (decimal.Decimal(total) / tables.one).ln()
    assert abs(entropy_of(tables, total, 0) / tables.one - float(wanted)) < 2.0 ** (1 - tables.bits) + 1e-15
    assert entropy_of(tables, tables.one, 0) == 0


def test_tables_do_not_depend_on_the_machines_exponential() -> None:
    """To the last of 48 bits, from exact digits."""
    tables = tables_of(0.0625, 10, "entropy")
    assert tables.shares[:3] == (1 << 48, 264421269977109, 248400795102225)
    assert tables.logs[:2] == (49946518145322874, 29216840156602672)
    assert tables_of(1e9, 10, "margin").shares == (1 << 48,)


def test_draws_are_those_of_pcg32() -> None:
    """The first numbers of the generator's own demonstration (seed 42, sequence 54)."""
    draws = Draws(42)
    assert [draws.word() for _ in range(6)] == [
        0xA15C02B7, 0x7B47F409, 0xBA1D3330, 0x83D2F293, 0xBFA4784B, 0xCBED606E,
    ]  # fmt: skip


@pytest.mark.parametrize(("threshold", "sure"), [(1e300, True), (-1e300, False)])
def test_an_entropy_beyond_all_numbers_is_a_threshold_all_the_same(threshold: float, sure: bool) -> None:
    """Bundles of others may hold any finite number."""
    found = Exit("exit_a", "logits", "entropy", 1.0, threshold, PROMISE)
    found.check()
    spec = TensorSpec("logits", (1, 3), "int8", 0.1, 4)
    assert make_decision(found, spec, np.array([[1, 5, 100]], np.int8))() is sure
