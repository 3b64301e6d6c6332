"""The self-test on load: exact where it has to be, tolerant where kernels differ, and never silent."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from multigraft.bundle.bundle import GOLDEN_INPUTS, GOLDEN_OUTPUTS, Bundle
from multigraft.bundle.manifest import SPREAD
from multigraft.errors import BundleError, MultigraftError
from multigraft.runtime import Engine
from multigraft.runtime.backends import BackendName
from multigraft.runtime.self_test import MANY, MAX_LSB, SelfTest, deviation, read_golden, run_self_test
from multigraft.tensors.arrays import Array
from tests.bundle_builder import Built, build, npz

ELSEWHERE = {"golden": {"backend": "litert", "version": "0.0", "machine": "riscv64"}}


Change = Callable[[dict[str, Array]], None]


def edited(built: Built, change: Change, provenance: dict[str, Any] | None = None) -> Bundle:
    """The bundle with golden outputs that ``change`` made different, and digests that fit them."""
    _, outputs = read_golden(built.bundle)
    change(outputs)
    manifest = built.bundle.manifest
    if provenance is not None:
        manifest = dataclasses.replace(manifest, provenance=provenance)
    contents = {name: built.bundle.read(name) for name in manifest.files}
    return Bundle.create(manifest, {**contents, GOLDEN_OUTPUTS: npz(outputs)})


def shift(name: str, steps: int) -> Change:
    def change(outputs: dict[str, Array]) -> None:
        moved = outputs[name].astype(np.int16)
        moved[0].flat[0] += steps if moved[0].flat[0] < 0 else -steps
        outputs[name] = moved.astype(np.int8)

    return change


def self_test_of(bundle: Bundle, backend: BackendName) -> SelfTest:
    report = Engine(bundle, backend=backend).self_test
    assert report is not None
    return report


@pytest.fixture
def built(backend: BackendName) -> Built:
    return build(backend=backend)


def test_the_same_interpreter_is_exact(built: Built, backend: BackendName) -> None:
    report = self_test_of(built.bundle, backend)
    assert report.cases == 4
    assert report.exact and report.same_kernels and not report.max_lsb
    assert report.to_json()["exact"] is True
    assert "all tensors equal" in str(report)


def test_one_step_off_on_the_same_interpreter_is_refused(built: Built, backend: BackendName) -> None:
    bundle = edited(built, shift("trunk/conv2", 1))
    with pytest.raises(BundleError, match="1 LSB"):
        Engine(bundle, backend=backend)
    assert Engine(bundle, backend=backend, self_test=False).self_test is None


def test_a_few_steps_off_elsewhere_are_reported(built: Built, backend: BackendName) -> None:
    report = self_test_of(edited(built, shift("digit/out", 2), ELSEWHERE), backend)
    assert not report.exact and not report.same_kernels
    assert report.max_lsb == {"digit/out": 2}
    assert "2 LSB" in str(report) and "riscv64" in str(report)


def test_many_steps_off_elsewhere_are_refused(built: Built, backend: BackendName) -> None:
    with pytest.raises(BundleError, match=f"at most {MAX_LSB}"):
        Engine(edited(built, shift("digit/out", MAX_LSB + 1), ELSEWHERE), backend=backend)


def test_what_lies_between_segments_may_be_further_off_elsewhere(built: Built, backend: BackendName) -> None:
    report = self_test_of(edited(built, shift("trunk/conv2", 30), ELSEWHERE), backend)
    assert report.max_lsb == {"trunk/conv2": 30}


def strayed(few: int) -> Change:
    """Every so many values of a map of boxes' size are far off."""

    def change(outputs: dict[str, Array]) -> None:
        moved = outputs["map/map"].copy()
        far = moved.reshape(-1)[::few]
        far[...] = np.where(far < 0, far + 20, far - 20)
        outputs["map/map"] = moved

    return change


@pytest.fixture
def mapped(backend: BackendName) -> Built:
    return build((("map", "segmentation"), ("digit", "classification")), size=(96, 96, 3), backend=backend)


def test_of_thousands_of_values_some_may_be_further_off_elsewhere(mapped: Built, backend: BackendName) -> None:
    assert read_golden(mapped.bundle)[1]["map/map"][0].size >= MANY
    report = self_test_of(edited(mapped, strayed(3000), ELSEWHERE), backend)
    assert report.max_lsb == {"map/map": 20}
    assert "up to 20 LSB" in str(report)
    with pytest.raises(BundleError, match=f"at most {MAX_LSB}"):
        Engine(edited(mapped, strayed(3), ELSEWHERE), backend=backend)
    with pytest.raises(BundleError, match="20 LSB"):
        Engine(edited(mapped, strayed(3000)), backend=backend)


def measured(rms: Any, most: Any = 200.0, ran: Any = ("tflite-runtime 2.14.0",)) -> dict[str, Any]:
    """Provenance of a build that measured how far other kernels are off at the digit's output."""
    spread = {"kernels": list(ran), "most": {"digit/out": most}, "rms": {"digit/out": rms}}
    return {**ELSEWHERE, SPREAD: spread}


def test_kernels_may_be_off_by_twice_what_the_build_measured(built: Built, backend: BackendName) -> None:
    far = shift("digit/out", 15)
    _, golden = read_golden(built.bundle)
    changed = dict(golden)
    far(changed)
    off = deviation(changed["digit/out"], golden["digit/out"])
    assert self_test_of(edited(built, far, measured(0.51 * off)), backend).max_lsb == {"digit/out": 15}
    with pytest.raises(BundleError, match="differs by 15 LSB"):
        Engine(edited(built, far, measured(0.49 * off)), backend=backend)
    same = {**measured(0.51 * off), "golden": built.bundle.manifest.provenance["golden"]}
    with pytest.raises(BundleError, match="15 LSB from what the same interpreter gave"):
        Engine(edited(built, far, same), backend=backend)


def test_what_holds_nothing_of_the_golden_output_is_refused_whatever_was_measured(
    built: Built, backend: BackendName
) -> None:
    def elsewhere(outputs: dict[str, Array]) -> None:
        outputs["digit/out"] = np.where(outputs["digit/out"] < 0, 60, -60).astype(np.int8)

    with pytest.raises(BundleError, match="LSB"):
        Engine(edited(built, elsewhere, measured(50.0)), backend=backend)


@pytest.mark.parametrize("rms", ("1.0", None, [1], -1.0, math.nan))
def test_a_measured_difference_that_is_no_number_allows_nothing(
    built: Built, backend: BackendName, rms: object
) -> None:
    with pytest.raises(BundleError, match="differs by 100 LSB"):
        Engine(edited(built, shift("digit/out", 100), measured(rms)), backend=backend)


def test_the_remedy_is_a_new_build_only_where_that_measures_more(built: Built, backend: BackendName) -> None:
    far = shift("digit/out", 100)
    with pytest.raises(BundleError) as unmeasured:
        Engine(edited(built, far, ELSEWHERE), backend=backend)
    here = f"{built.bundle.manifest.provenance['golden']['backend']} "
    assert f"where {here}" in unmeasured.value.remedy
    with pytest.raises(BundleError) as known:
        run = built.bundle.manifest.provenance["golden"]
        Engine(edited(built, far, measured(0.0, ran=[f"{run['backend']} {run['version']}"])), backend=backend)
    assert "multigraft eval" in known.value.remedy and "build the bundle again" not in known.value.remedy


def test_litert_without_xnnpack_is_another_interpreter(built: Built, backend: BackendName) -> None:
    engine = Engine(built.bundle, backend=backend)
    bundle = edited(built, shift("digit/out", 1))

    def said(has_delegate: bool) -> SelfTest:
        return run_self_test(bundle, engine.compute, engine.model.backend, has_delegate)

    with pytest.raises(BundleError, match="1 LSB"):
        said(True)
    if backend == "litert":
        assert not said(False).same_kernels
        assert "without XNNPACK" in str(said(False))
    else:
        with pytest.raises(BundleError, match="1 LSB"):
            said(False)


def test_unknown_origin_is_treated_as_elsewhere(built: Built, backend: BackendName) -> None:
    report = self_test_of(edited(built, shift("digit/out", 1), {}), backend)
    assert not report.same_kernels and "unknown interpreter" in str(report)


def test_float_outputs_have_a_tolerance(backend: BackendName) -> None:
    built = build(float32=True, backend=backend)

    def nudge(factor: float) -> Change:
        def change(outputs: dict[str, Array]) -> None:
            outputs["digit/out"] = outputs["digit/out"] * np.float32(factor)

        return change

    report = self_test_of(edited(built, nudge(1 + 1e-5)), backend)
    assert 0 < report.max_relative["digit/out"] < 1e-4
    with pytest.raises(BundleError, match="of its range"):
        Engine(edited(built, nudge(1.01)), backend=backend)
    with pytest.raises(BundleError, match="of its range"):
        Engine(edited(built, nudge(np.nan)), backend=backend)


def test_damaged_golden_files_are_refused(built: Built, backend: BackendName) -> None:
    contents = {name: built.bundle.read(name) for name in built.bundle.manifest.files}
    for wrong in (
        {GOLDEN_OUTPUTS: b"not numpy"},
        {GOLDEN_INPUTS: npz({})},
        {GOLDEN_OUTPUTS: npz({"digit/out": np.zeros((2, 1, 10), np.int8)})},
        {GOLDEN_OUTPUTS: npz({"gone": np.zeros((4, 1, 10), np.int8)})},
        {GOLDEN_OUTPUTS: npz({"digit/out": np.zeros((4, 1, 10), np.float32)})},
        {GOLDEN_INPUTS: npz({"picture": np.zeros((4, 1, 28, 28, 1), np.int8)})},
    ):
        with pytest.raises(MultigraftError) as caught:
            Engine(Bundle.create(built.bundle.manifest, {**contents, **wrong}), backend=backend)
        assert caught.value.remedy
    without = {name: data for name, data in contents.items() if name != GOLDEN_INPUTS}
    with pytest.raises(BundleError, match="golden/inputs"):
        Engine(Bundle.create(built.bundle.manifest, without), backend=backend)
