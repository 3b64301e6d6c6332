"""A conversion from end to end with a noisy layer: named, kept float for an agreement, its cost in the manifest."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest

from multigraft.agreement.agreement import RANGE_FRACTION
from multigraft.bundle.manifest import Task
from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.converters.network.frames import Frame
from multigraft.converters.network.multitask import MultiTaskModel, SegmentSpec
from multigraft.converters.packing.convert import convert
from multigraft.converters.packing.finishing import Conversion
from multigraft.converters.quantising.safeguards import Safeguards
from multigraft.tensors.preprocessing import Preprocessing
from tests.converters.onnx_builder import OnnxBuilder

PICTURE = Preprocessing(16, 16, "rgb", (127.5,) * 3, (1 / 64,) * 3)


def network() -> MultiTaskModel:
    """One classifier whose last layer has an outlier in every row, on a channel that hardly moves."""
    b = OnnxBuilder()
    x = b.conv_relu("first", b.input("image", 3, 16, 16), 8)
    model = b.model(b.classifier("kind", x, 6))
    for stored in model.graph.initializer:
        value = onnx.numpy_helper.to_array(stored).copy()
        if value.shape in ((6, 8), (8, 6)):
            rows = value if value.shape == (6, 8) else value.T
            rows[:, 0] = 2000 * np.abs(rows).max()
            stored.CopyFrom(onnx.numpy_helper.from_array(value, stored.name))
    return MultiTaskModel(
        model,
        {"image": PICTURE},
        (SegmentSpec("head_kind", ("image",), ("kind",)),),
        (Task("kind", "classification", ("kind",), ("head_kind",)),),
        {},
    )


def pictures(count: int) -> list[Frame]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 4, 4, 3), np.uint8)
    return list(coarse.repeat(4, axis=1).repeat(4, axis=2))


@pytest.fixture(scope="module")
def rescued(onnx2tf_environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> tuple[Conversion, list[str]]:
    said: list[str] = []
    frames = pictures(48)
    asked = Safeguards(60.0, {"kind": 0.2}, {"kind": {"image": frames}}, {"kind": None})
    work: Path = tmp_path_factory.mktemp("work")
    return convert(
        network(), {"image": frames}, name="n", work_dir=work, report=said.append, verified_inputs=8, safeguards=asked
    ), said


def test_the_layer_that_costs_the_answers_stays_float(rescued: tuple[Conversion, list[str]]) -> None:
    conversion, _ = rescued
    done = conversion.safety.rescue
    assert done is not None and "kind" in {layer.tensor for layer in done.layers}
    assert done.after["kind"] >= done.before["kind"] + 0.2
    assert conversion.agreement["kind"].value == done.after["kind"]
    assert "float32" in conversion.bundle.manifest.segments[0].precision
    assert conversion.verification.mismatches == 0


def test_manifest_and_progress_tell_it(rescued: tuple[Conversion, list[str]]) -> None:
    conversion, said = rescued
    provenance = conversion.bundle.manifest.provenance
    assert "kind" in {layer["tensor"] for layer in provenance["rescue"]["layers"]}
    assert provenance["rescue"]["weights_bytes"] > 0
    named = [layer["tensor"] for layer in provenance.get("noisy_layers", [])]
    assert named == [layer.tensor for layer in conversion.layer_error.below(60.0)]
    assert any("So these stay float32: " in line and "kind (" in line for line in said)
    assert any("below 60 dB" in line for line in said) == bool(named)


@pytest.mark.parametrize(("tolerance", "least", "most"), [(1e6, 1.0, 1.0), (1e-6, 0.0, 0.0), (None, 0.0, 1.0)])
def test_agreement_is_by_the_tolerance_of_the_task(
    tolerance: float | None, least: float, most: float, onnx2tf_environment: Environment, tmp_path: Path
) -> None:
    """A regression that int8 changes a little agrees or not by what its settings let pass."""
    given = network()
    task = dataclasses.replace(given.tasks[0], kind="regression")
    regression = dataclasses.replace(given, tasks=(task,))
    asked = Safeguards(tolerances={"kind": tolerance})
    frames = {"image": pictures(16)}
    done = convert(regression, frames, name="n", work_dir=tmp_path, verified_inputs=2, safeguards=asked)
    assert least <= done.agreement["kind"].value <= most
    assert done.agreement["kind"].tolerance == (tolerance or RANGE_FRACTION)
