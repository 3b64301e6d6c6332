"""Ranges between the taps: those of a plain run, whether stretches stay in memory or not, on every interpreter."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.bundle.bundle import MODEL, Bundle
from multigraft.calibration.collect import inner_ranges
from multigraft.calibration.collect.inner_ranges import InnerRanges
from multigraft.calibration.collect.taps_runner import TapsRunner
from multigraft.converters.conversion.interpreters import Taps, available
from multigraft.errors import BundleError, InputError
from multigraft.runtime.backends import BackendName
from multigraft.runtime.tflite_model import TfliteModel
from multigraft.statistics.entries import INNER
from multigraft.statistics.tally import Terms
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Signature
from tests.calibration.networks import frames, taps_bundle

BACKENDS: dict[str, BackendName] = {"ai-edge-litert": "litert", "tflite-runtime": "tflite-runtime"}
INNER_TENSORS = {f"{n}/{t}" for n in ("garment", "digit") for t in ("relu3", "mean")}


def plain_ranges(bundle: Bundle, images: npt.NDArray[np.uint8]) -> dict[str, tuple[float, float]]:
    """By making inner tensors outputs of each whole network."""
    limits: dict[str, list[float]] = {}
    for graph in tflite_file.read(bundle.model).subgraphs[:2]:
        names = [t for t in INNER_TENSORS if t in graph.tensors]
        taps = Taps(graph, names)
        for image in images:
            values = taps({graph.inputs[0]: image[None, :, :, None].astype(np.float32) * np.float32(1 / 255)})
            for name in names:
                limits.setdefault(name, []).extend((values[name].min(), values[name].max()))
    return {name: (min(values), max(values)) for name, values in limits.items()}


@pytest.mark.parametrize("resident_bytes", [0, 1 << 20])
@pytest.mark.parametrize("held_bytes", [0, 1 << 20])
@pytest.mark.parametrize("backend", [BACKENDS[name] for name in available()])
def test_they_are_those_of_a_plain_run(
    resident_bytes: int, held_bytes: int, backend: BackendName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inner_ranges, "HELD_BYTES", held_bytes)
    bundle = taps_bundle(resident_bytes=resident_bytes)
    model = TapsRunner(bundle, backend=backend)
    inner = InnerRanges(model)
    images = frames(5, seed=2)
    for image in images:
        model.run(image)
        inner.look()
    terms = Terms(5)
    inner.summarise(terms)
    assert terms.lows.keys() == terms.highs.keys() == INNER_TENSORS and terms.counts[INNER] == 5
    for name, limits in plain_ranges(bundle, images).items():
        np.testing.assert_allclose((terms.lows[name], terms.highs[name]), limits, rtol=1e-5, atol=1e-6)
    inner.summarise(after := Terms(0))
    assert not after.lows and INNER not in after.counts


def test_what_a_look_needed_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[object]] = []
    real = TfliteModel.without_delegates

    def noted(self: TfliteModel) -> TfliteModel:
        assert not any(ref() for ref in made)
        other = real(self)
        made.append(weakref.ref(other._interpreter))
        return other

    monkeypatch.setattr(TfliteModel, "without_delegates", noted)
    monkeypatch.setattr(inner_ranges, "HELD_BYTES", 0)
    model = TapsRunner(taps_bundle(resident_bytes=0))
    inner = InnerRanges(model)
    model.run(frames(1)[0])
    gc.disable()
    try:
        inner.look()
        assert len(made) == 2 and not any(ref() for ref in made)
    finally:
        gc.enable()


def test_nan_between_the_taps_is_refused() -> None:
    model = TapsRunner(taps_bundle())
    inner = InnerRanges(model)
    model.run(frames(1)[0])
    model.arrays["digit/relu2"][...] = np.nan
    with pytest.raises(InputError, match="holds NaN"):
        inner.look()


def test_a_bundle_without_stretches_has_nothing_to_look_at_and_a_wrong_one_is_refused() -> None:
    bundle = taps_bundle()
    contents = {file: bundle.read(file) for file in bundle.manifest.files}
    model = tflite_file.read(bundle.model)

    def with_signatures(*signatures: Signature) -> TapsRunner:
        changed = dataclasses.replace(model, signatures=signatures)
        return TapsRunner(Bundle.create(bundle.manifest, {**contents, MODEL: tflite_file.write(changed)}))

    inner = InnerRanges(with_signatures(*model.signatures[:2]))
    inner.look()
    inner.summarise(terms := Terms(1))
    assert not terms.lows
    wrong = Signature("ranges_0000", {"gone": "digit/relu2"}, {"digit/mean": "digit/mean"}, 3)
    with pytest.raises(BundleError, match="reads gone, which nothing gives"):
        InnerRanges(with_signatures(*model.signatures[:2], wrong))
