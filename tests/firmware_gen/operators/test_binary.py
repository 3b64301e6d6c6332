"""Binary networks as firmware: numpy and C give what the delegate's own numpy reference gives, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.errors import MultigraftError
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import M3
from multigraft.firmware_gen.program.program import load
from tests.firmware_gen.host import SANITIZERS, compile_host, evaluate, run_host
from tests.firmware_gen.operators.binary_models import NETWORKS
from tests.runtime.delegate.binary_cases import Conv, answer_of, drawn, inputs_of, model_of, with_values

CASES = 6


def firmware_case(seed: int) -> tuple[Conv, np.random.Generator]:
    """A network at random, of one image and no truth values, which firmware has not."""
    rng = np.random.default_rng(seed)
    case = drawn(rng)
    case = replace(case, batch=1, source="int8" if case.source == "bool" else case.source)
    return replace(case, second=case.second and replace(case.second, batch=1)), rng


def assert_right(case: Conv, rng: np.random.Generator, folder: Path, *flags: str) -> None:
    model = model_of(case)
    inputs = np.stack([inputs_of(case, rng) for _ in range(CASES)])
    wanted = np.stack([answer_of(case, x) for x in inputs])
    (evaluated,) = evaluate(load(model), [inputs]).values()
    np.testing.assert_array_equal(evaluated, wanted, strict=True)
    project = generate(model, core=M3)
    (answer,) = run_host(compile_host(project, folder, *flags), project, [inputs]).values()
    np.testing.assert_array_equal(answer, wanted)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_equal_numpy_under_sanitizers(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    assert_right(with_values(NETWORKS[name], rng), rng, tmp_path, *SANITIZERS)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 32))
def test_random_networks_equal_numpy(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    case, rng = firmware_case(seed)
    assert_right(case, rng, tmp_path_factory.mktemp("binary"))


def test_binary_weights_take_a_bit_each() -> None:
    rng = np.random.default_rng(1)
    case = with_values(Conv(channels=64, outputs=32, source="int8", output="packed"), rng)
    assert generate(model_of(case), core=M3).constant_bytes == 32 * 9 * 64 // 8 + 4 * 32


def test_truth_values_are_refused_in_a_sentence() -> None:
    case = with_values(Conv(source="bool", output="int8"), np.random.default_rng(1))
    with pytest.raises(MultigraftError, match="bool"):
        generate(model_of(case), core=M3)
