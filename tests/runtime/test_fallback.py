"""A bundle whose first model cannot run here answers with its fallback, and says why."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from multigraft.bundle.bundle import FALLBACK, FALLBACK_OUTPUTS, GOLDEN_INPUTS, GOLDEN_OUTPUTS, MODEL, Bundle
from multigraft.bundle.manifest import SPREAD
from multigraft.cli.main import main
from multigraft.errors import BundleError, InputError
from multigraft.runtime import Engine
from multigraft.runtime.backends import BackendName
from multigraft.runtime.delegate import library
from multigraft.runtime.deploy.proof import prove
from tests.bundle_builder import build, failing
from tests.runtime.delegate.binary_cases import Conv, model_of, with_values


def without_model(bundle: Bundle) -> Bundle:
    """The bundle with a model that no interpreter loads."""
    return with_model(bundle, bundle.model[:64])


def with_model(bundle: Bundle, model: bytes) -> Bundle:
    contents = {name: bundle.read(name) for name in bundle.manifest.files}
    return Bundle.create(bundle.manifest, {**contents, MODEL: model})


@pytest.fixture
def ordinary(backend: BackendName) -> Bundle:
    return build(backend=backend).bundle


def same(left: Engine, right: Engine) -> bool:
    value = np.random.default_rng(2).integers(-128, 128, (1, 28, 28, 1), np.int8)
    one, other = left.compute({"image": value}), right.compute({"image": value})
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_each_of_two_models_is_judged_by_what_was_measured_of_it(ordinary: Bundle) -> None:
    def told(spread: dict[str, dict[str, float]] | None) -> Bundle:
        provenance = {**ordinary.manifest.provenance} | ({SPREAD: spread} if spread else {})
        contents = {name: ordinary.read(name) for name in ordinary.manifest.files}
        return Bundle.create(dataclasses.replace(ordinary.manifest, provenance=provenance), contents)

    mine, its = {"most": {"digit/out": 30.0}}, {"most": {"digit/out": 2.0}}
    for first, other in ((mine, its), (mine, None), (None, its)):
        both = told(first).with_fallback(told(other))
        assert both.manifest.provenance.get(SPREAD) == first
        held = both.fallback()
        assert held is not None and held.manifest.provenance.get(SPREAD) == other


@pytest.mark.parametrize("first", (without_model, failing))
def test_the_fallback_runs_where_the_first_model_cannot(
    first: Callable[[Bundle], Bundle], ordinary: Bundle, backend: BackendName, tmp_path: Path
) -> None:
    both = first(ordinary).with_fallback(ordinary)
    path, folder = both.write(tmp_path / "a.graft"), both.deploy(tmp_path / "a")
    expected = Engine(ordinary, backend=backend)
    assert expected.fallback_reason is None
    for given in (both, path, folder):
        engine = Engine(given, backend=backend)
        assert engine.fallback_reason is not None and "in place of its first model" in engine.fallback_reason
        assert engine.self_test is not None and engine.self_test.exact
        assert same(engine, expected)
        assert engine.bundle.fallback() is None and engine.bundle.model == ordinary.model
    assert "fallback" in prove(folder, backend)


def test_the_first_model_runs_where_it_can(ordinary: Bundle, backend: BackendName, tmp_path: Path) -> None:
    both = ordinary.with_fallback(without_model(ordinary))
    engine = Engine(both.deploy(tmp_path / "a"), backend=backend)
    assert engine.fallback_reason is None and engine.bundle.model == ordinary.model
    assert both.fallback() is not None and both.manifest.files.keys() >= {FALLBACK, FALLBACK_OUTPUTS}


def test_what_neither_runs_is_refused_as_the_fallback_is(ordinary: Bundle, backend: BackendName) -> None:
    with pytest.raises(InputError):
        Engine(without_model(ordinary).with_fallback(without_model(ordinary)), backend=backend)
    with pytest.raises(BundleError, match="self-test"):
        Engine(without_model(ordinary).with_fallback(failing(ordinary)), backend=backend)


def test_an_untrusted_fallback_is_tried_like_the_first(ordinary: Bundle, backend: BackendName) -> None:
    both = failing(ordinary).with_fallback(ordinary)
    assert Engine(both, backend=backend, untrusted=True).fallback_reason is not None
    with pytest.raises(InputError, match="truncated or damaged"):
        Engine(without_model(ordinary).with_fallback(ordinary), backend=backend, untrusted=True)


def test_a_binary_network_has_its_fallback_where_there_is_no_delegate(
    ordinary: Bundle, backend: BackendName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = with_values(Conv(height=28, width=28, channels=1, outputs=4, kernel=(1, 1)), np.random.default_rng(0))
    both = with_model(ordinary, model_of(case)).with_fallback(ordinary)
    monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
    reason = Engine(both, backend=backend).fallback_reason
    assert reason is not None and "the delegate that runs binary operators is not part of this installation" in reason


def test_commands_say_that_the_fallback_runs(
    ordinary: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = failing(ordinary).with_fallback(ordinary).write(tmp_path / "a.graft")
    assert main(["run", str(path), "--source", "fake:", "--frames", "1"]) == 0
    assert "multigraft: the bundle's fallback runs in place of its first model: self-test" in capsys.readouterr().err
    assert main(["inspect", str(path)]) == 0
    assert "Segments of the fallback" in capsys.readouterr().out


def test_a_bundle_that_does_not_fit_is_no_fallback(ordinary: Bundle, backend: BackendName) -> None:
    wider = build(width=16, backend=backend).bundle
    assert Engine(without_model(ordinary).with_fallback(wider), backend=backend).fallback_reason is not None
    contents = {name: ordinary.read(name) for name in ordinary.manifest.files}
    moved = [dataclasses.replace(t, scale=0.25) if "garment" in t.name else t for t in ordinary.manifest.tensors]
    for other in (
        build((("garment", "classification"),), backend=backend).bundle,
        build(size=(14, 14, 1), backend=backend).bundle,
        Bundle.create(dataclasses.replace(ordinary.manifest, tensors=tuple(moved)), contents),
        Bundle.create(ordinary.manifest, {**contents, GOLDEN_INPUTS: contents[GOLDEN_OUTPUTS]}),
    ):
        with pytest.raises(BundleError, match="build both of the same networks"):
            ordinary.with_fallback(other)


def test_a_fallback_without_its_files_is_refused(ordinary: Bundle, tmp_path: Path) -> None:
    both = ordinary.with_fallback(ordinary)
    contents = {name: both.read(name) for name in both.manifest.files if name != FALLBACK_OUTPUTS}
    path = Bundle.create(both.manifest, contents).write(tmp_path / "a.graft")
    with pytest.raises(BundleError, match=r"holds no golden/fallback\.npz"):
        Bundle.open(path).fallback()
