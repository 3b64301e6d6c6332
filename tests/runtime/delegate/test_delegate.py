"""Binary operators on stock interpreters give what numpy gives, on every kernel that this processor runs."""

from __future__ import annotations

import gc
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.errors import InputError, MissingDependencyError, UsageError
from multigraft.runtime.backends import InterpreterName
from multigraft.runtime.delegate import canary, choosing, library
from multigraft.runtime.delegate.library import KERNELS, available_kernels
from multigraft.runtime.tflite_model import TfliteModel
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Graph, Model, Op, Signature, Tensor
from multigraft.tflite.tflite_file import read, write
from tests.runtime.conftest import BACKENDS
from tests.runtime.delegate.binary_cases import Conv, answer_of, drawn, inputs_of, model_of, with_values
from tests.runtime.delegate.canary_model import canary_model, expected

EXAMPLES = 25
PATHS = available_kernels()


def run(model: bytes, x: Array, backend: InterpreterName, threads: int = 1) -> Array:
    loaded = TfliteModel(model, backend, threads)
    return loaded.subgraph("serve", {"x": x}).outputs["y"].copy()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kernels", PATHS)
def test_random_networks_equal_numpy(kernels: str, backend: InterpreterName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KERNELS, kernels)

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
    @given(seed=st.integers(0, 1 << 32), threads=st.integers(1, 3))
    def check(seed: int, threads: int) -> None:
        rng = np.random.default_rng(seed)
        case = drawn(rng)
        x = inputs_of(case, rng)
        np.testing.assert_array_equal(run(model_of(case), x, backend, threads), answer_of(case, x), strict=True)

    check()


@pytest.mark.parametrize("kernels", PATHS)
@pytest.mark.parametrize("outputs", [1, 16, 17, 33])
@pytest.mark.parametrize("channels", [31, 32, 33, 4100])
def test_every_length_of_a_sum_and_of_a_block(
    channels: int, outputs: int, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4100 channels are more than bytes can count."""
    monkeypatch.setenv(KERNELS, kernels)
    rng = np.random.default_rng(channels + outputs)
    case = with_values(Conv(height=3, width=3, channels=channels, outputs=outputs, kernel=(2, 2)), rng)
    for x in (inputs_of(case, rng), np.full((1, 3, 3, channels), -1, np.float32)):
        np.testing.assert_array_equal(run(model_of(case), x, BACKENDS[0]), answer_of(case, x))


@pytest.mark.parametrize("kernels", PATHS)
@pytest.mark.parametrize("outputs", [32, 64, 130])
@pytest.mark.parametrize(
    "case",
    [
        Conv(batch=2, height=4, width=6, kernel=(1, 1)),
        Conv(batch=2, height=4, width=7, kernel=(1, 1), stride=(2, 2), channels=70),
        Conv(height=6, width=1, kernel=(2, 1)),
        Conv(height=9, width=9, is_valid=True, channels=96),
        Conv(height=11, width=11, dilation=(2, 3), channels=64),
        Conv(height=5, width=9, stride=(1, 3), channels=64, pads_one=False),
    ],
    ids=["no gap between rows", "strides", "one column", "odd rows", "dilated", "wide strides"],
)
def test_pixels_of_one_row_and_of_two_side_by_side(
    case: Conv, outputs: int, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KERNELS, kernels)
    rng = np.random.default_rng(outputs)
    case = with_values(replace(case, outputs=outputs), rng)
    x = inputs_of(case, rng)
    np.testing.assert_array_equal(run(model_of(case), x, BACKENDS[0]), answer_of(case, x))


@pytest.mark.parametrize("backend", BACKENDS)
def test_operators_in_several_subgraphs_beside_others(backend: InterpreterName) -> None:
    """A bundle's segments: a binary trunk, and a head that adds to what it gives by a stock kernel."""
    rng = np.random.default_rng(3)
    case = with_values(Conv(), rng)
    trunk = read(model_of(case)).main
    shape = trunk.tensors["conv0"].shape
    tensors = [Tensor("f", shape), Tensor("two", shape), Tensor("p", (*shape[:3], 1), "int32"), Tensor("s", shape)]
    ops = [
        Op("ADD", ("f", "f"), ("two",)),
        Op("CUSTOM", ("two",), ("p",), custom_code="LceQuantize"),
        Op("CUSTOM", ("p",), ("s",), custom_code="LceDequantize"),
    ]
    head = Graph.of("head", ["f"], ["s"], ops, tensors)
    signatures = (Signature("trunk", {"x": "x"}, {"f": "conv0"}), Signature("head", {"f": "f"}, {"s": "s"}, 1))
    loaded = TfliteModel(write(Model((trunk, head), signatures)), backend)
    x = inputs_of(case, rng)
    features = loaded.subgraph("trunk", {"x": x}).outputs["f"]
    np.testing.assert_array_equal(features, answer_of(case, x))
    signs = loaded.subgraph("head", {"f": features}).outputs["s"]
    np.testing.assert_array_equal(signs, np.where(features < 0, -1, 1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_function_that_runs_it_is_all_that_has_to_be_kept(backend: InterpreterName) -> None:
    rng = np.random.default_rng(5)
    case = with_values(Conv(), rng)
    invoke = TfliteModel(model_of(case), backend).subgraph("serve").invoke
    gc.collect()
    invoke()


def test_an_installation_without_the_library_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
    with pytest.raises(MissingDependencyError, match="not part of this installation"):
        TfliteModel(model_of(with_values(Conv(), np.random.default_rng(0))))


def test_the_canary_is_what_its_code_makes_and_runs() -> None:
    assert canary.canary_model() == canary_model()
    assert expected() == canary.EXPECTED
    for backend in BACKENDS:
        assert canary.try_in_child(backend) is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_unknown_version_is_tried_in_a_child(backend: InterpreterName, monkeypatch: pytest.MonkeyPatch) -> None:
    case = with_values(Conv(), np.random.default_rng(0))
    x = inputs_of(case, np.random.default_rng(1))
    monkeypatch.setattr(choosing, "_KNOWN", {"litert": ("1.",), "tflite-runtime": ("1.",)})
    choosing._tried.cache_clear()
    np.testing.assert_array_equal(run(model_of(case), x, backend), answer_of(case, x))
    choosing._tried.cache_clear()


@pytest.mark.parametrize(
    ("child", "said"),
    [
        ("raise SystemExit('it gives wrong answers (chain)')", r"\(it gives wrong answers \(chain\)\)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"\(it crashes: SIGSEGV\)"),
    ],
)
def test_an_interpreter_on_which_the_canary_fails_is_refused(
    child: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(command: list[str]) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([sys.executable, "-c", child], capture_output=True, check=False)

    monkeypatch.setattr(choosing, "_KNOWN", {"litert": ("1.",), "tflite-runtime": ("1.",)})
    monkeypatch.setattr(canary, "run_watched", ended)
    choosing._tried.cache_clear()
    with pytest.raises(MissingDependencyError, match=said):
        TfliteModel(model_of(with_values(Conv(), np.random.default_rng(0))), BACKENDS[0])
    choosing._tried.cache_clear()


def test_a_canary_with_another_answer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "EXPECTED", {**canary.EXPECTED, "signs": 0})
    assert canary.fault_of(BACKENDS[0]) == "it gives wrong answers (signs)"


def test_kernels_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KERNELS, "mmx")
    with pytest.raises(UsageError, match="mmx"):
        TfliteModel(model_of(with_values(Conv(), np.random.default_rng(0))))


@pytest.mark.parametrize("change", ["channels_in", "stride_width", "padding"])
def test_an_option_that_lies_is_refused(change: str) -> None:
    model = model_of(with_values(Conv(height=6, width=6), np.random.default_rng(0)))
    renamed = model.replace(change.encode(), change[:-1].encode() + b"_")
    assert renamed != model
    with pytest.raises(InputError, match=change):
        TfliteModel(renamed)
