"""One answer is as sure alone as among many, whatever its tensor."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multigraft.exits.policy import Exit, Promise, Rule
from multigraft.exits.sureness import as_threshold, make_decision, make_sureness, surenesses
from multigraft.exits.temperature import fit_temperature
from multigraft.tensors.quantisation import dequantise
from multigraft.tensors.specs import TensorSpec

RULES: tuple[Rule, ...] = ("probability", "margin", "entropy")
PROMISE = Promise("selective", 0.01, 0.95, 1000, 1000, 500, 0)


@pytest.mark.parametrize("rule", RULES)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(-128, 127), min_size=2, max_size=100), st.floats(0.05, 20))
def test_bytes_alone_and_among_many(rule: Rule, values: list[int], temperature: float) -> None:
    spec = TensorSpec("logits", (1, len(values)), "int8", 0.13, 4)
    array = np.array([values], np.int8)
    alone = make_sureness(spec, array, rule, temperature)()
    among = surenesses(dequantise(array, spec).astype(np.float64), rule, temperature)[0]
    assert alone == pytest.approx(among, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("rule", RULES)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=100), st.floats(0.05, 20))
def test_floats_alone_and_among_many(rule: Rule, values: list[float], temperature: float) -> None:
    spec = TensorSpec("logits", (1, len(values)), "float32")
    array = np.array([values], np.float32)
    alone = make_sureness(spec, array, rule, temperature)()
    assert alone == pytest.approx(surenesses(array.astype(np.float64), rule, temperature)[0], rel=1e-9, abs=1e-9)


def test_the_three_rules_by_hand() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1]]))
    assert surenesses(logits, "probability", 1.0)[0] == pytest.approx(0.7)
    assert surenesses(logits, "margin", 1.0)[0] == pytest.approx(0.5)
    entropy = -(0.7 * math.log(0.7) + 0.2 * math.log(0.2) + 0.1 * math.log(0.1))
    assert surenesses(logits, "entropy", 1.0)[0] == pytest.approx(-entropy)


@pytest.mark.parametrize("rule", RULES)
def test_decision_reads_what_the_tensor_holds_now(rule: Rule) -> None:
    spec = TensorSpec("logits", (1, 3), "int8", 0.1, 0)
    array = np.zeros((1, 3), np.int8)
    unsure = make_sureness(spec, array, rule, 1.0)()
    found = Exit("exit_a", "logits", rule, 1.0, as_threshold(unsure + 0.1, rule), PROMISE)
    decide = make_decision(found, spec, array)
    assert not decide()
    array[0, 1] = 127
    assert decide()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_never_sure(rule: Rule, bad: float) -> None:
    spec = TensorSpec("logits", (1, 3), "float32")
    array = np.array([[5.0, bad, 1.0]], np.float32)
    found = Exit("exit_a", "logits", rule, 1.0, as_threshold(-1e9, rule), PROMISE)
    expected = bad == -math.inf and rule != "entropy"
    assert make_decision(found, spec, array)() is expected


def test_temperature_of_logits_that_were_scaled() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(4000, 5)) * 2
    noisy = logits + random.gumbel(size=logits.shape)
    fitted = fit_temperature(logits * 3, noisy.argmax(axis=1))
    assert fitted == pytest.approx(3.0, rel=0.1)
