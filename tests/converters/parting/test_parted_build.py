"""A detector that joins boxes and scores keeps its scores in int8: the real onnx2tf, quantiser and interpreters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.bundle.manifest import PARTED_SCHEMA, SCHEMA
from multigraft.calibration.validation import Answers
from multigraft.cli.main import main
from multigraft.converters.conversion.boundary_tensors import OnnxRunner
from multigraft.converters.conversion.interpreters import available
from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.packing.budget import missed
from multigraft.converters.packing.convert import convert
from multigraft.converters.packing.fidelity import BundleRunner
from multigraft.converters.packing.finishing import Conversion
from multigraft.converters.quantising.precisions import Precision
from multigraft.converters.settings.settings import Budget
from multigraft.runtime import Engine
from multigraft.runtime.answers import Raw
from multigraft.tensors.arrays import Float32Array
from multigraft.tensors.preprocessing import prepare_batch
from tests.converters.parting.detectors import (
    CUT,
    PICTURE,
    boxes_beside_scores,
    decoded_slices,
    frames,
    places_of_two_sizes,
    times_after_the_join,
)

HELD_OUT = frames(16, seed=9)


@dataclasses.dataclass(frozen=True)
class Made:
    multitask: MultiTaskModel
    conversion: Conversion
    said: list[str]

    def original(self) -> list[Float32Array]:
        """The outputs of ``find`` on the held-out frames, as the ONNX network gives them."""
        names = self.multitask.tasks[0].outputs
        runner = OnnxRunner(self.multitask.model, names)
        rows = [runner({"image": prepare_batch([frame], PICTURE)}) for frame in HELD_OUT]
        return [np.concatenate([row[name] for row in rows]) for name in names]


def made(multitask: MultiTaskModel, folder: Path, precision: Precision = "int8") -> Made:
    said: list[str] = []
    given = {"image": frames(24)}
    done = convert(
        multitask, given, precision=precision, name="finder", work_dir=folder, report=said.append, verified_inputs=24
    )
    return Made(multitask, done, said)


MODELS: dict[str, Callable[[], MultiTaskModel]] = {
    "boxes beside scores": boxes_beside_scores,
    "places of two sizes": places_of_two_sizes,
    "decoded slices": decoded_slices,
    "times after the join": times_after_the_join,
}


@pytest.fixture(scope="module", params=list(MODELS))
def built(
    request: pytest.FixtureRequest, onnx2tf_environment: Environment, tmp_path_factory: pytest.TempPathFactory
) -> Made:
    return made(MODELS[request.param](), tmp_path_factory.mktemp("work"))


def apart(output: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Boxes and scores of either head."""
    axis = 1 if output.shape[1] < output.shape[2] else 2
    boxes, scores = np.split(output, [4], axis)
    return boxes, scores


def test_scores_are_those_of_the_float_network_within_two_hundredths(built: Made) -> None:
    (original, *_), (now, *_) = built.original(), BundleRunner(built.conversion.bundle).outputs("find", HELD_OUT)
    assert now.shape == original.shape
    (boxes, scores), (new_boxes, new_scores) = apart(original), apart(now)
    assert scores.max() - scores.min() > 0.7 and boxes.max() > 450, "the scores would be right by chance"
    assert np.abs(new_scores - scores).max() < 0.02
    error = np.abs(new_boxes - boxes)
    assert np.quantile(error, 0.99) < 0.01 * 640 and error.max() < 0.02 * 640


def test_the_engine_answers_with_the_outputs_of_the_network(built: Made, tmp_path: Path) -> None:
    bundle = Bundle.open(built.conversion.bundle.write(tmp_path / "finder.graft"))
    original = built.original()
    for backend in available():
        expected = BundleRunner(bundle, backend).outputs("find", HELD_OUT[:3])
        engine = Engine(bundle, backend="litert" if backend == "ai-edge-litert" else "tflite-runtime")
        for number, frame in enumerate(HELD_OUT[:3]):
            answer = engine.run(frame).answers["find"]
            assert isinstance(answer, Raw) and len(answer.outputs) == len(original)
            alone = engine.run(frame, ["find"]).answers["find"]
            assert isinstance(alone, Raw) and all(map(np.array_equal, alone.outputs, answer.outputs))
            for output, wanted in zip(answer.outputs, expected, strict=True):
                assert output.shape == wanted.shape[1:] and output.dtype == np.float32
                assert np.array_equal(output, wanted[number])


def test_a_device_compares_what_is_joined(built: Made) -> None:
    answers = Answers(built.conversion.bundle, backend="litert")(HELD_OUT[0], ["find"])["find"]
    for output, wanted in zip(
        answers, BundleRunner(built.conversion.bundle).outputs("find", HELD_OUT[:1]), strict=True
    ):
        assert np.array_equal(output, wanted[0])


def test_segments_in_turn_equal_the_uncut_model(built: Made) -> None:
    checked = built.conversion.verification
    assert checked.mismatches == 0 and tuple(checked.backends) == available()
    assert set(checked.float_error) == {o for task in built.multitask.tasks for o in task.outputs}


def test_the_manifest_says_how_the_parts_are_joined(built: Made) -> None:
    manifest = built.conversion.bundle.manifest
    task = manifest.task("find")
    assert manifest.to_json()["schema"] == PARTED_SCHEMA
    assert [j.name for j in task.joined] == list(built.multitask.tasks[0].outputs)
    segment = manifest.segment("head_find")
    assert set(segment.outputs) == set(task.outputs) and set(segment.inputs) == {CUT}
    assert "output" not in segment.outputs and manifest.task("kind").joined == ()
    scales = {manifest.tensor(name).scale for name in task.joined[0].parts}
    assert len(scales) > 1 and 1 / 256 <= min(s for s in scales if s) <= 1.001 / 255


def test_the_model_card_and_inspect_say_how_it_is_joined(
    built: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    formula = str(built.conversion.bundle.manifest.task("find").joined[0])
    assert f"| find | output | {formula} |" in built.conversion.bundle.read("MODEL_CARD.md").decode()
    assert main(["inspect", str(built.conversion.bundle.write(tmp_path / "finder.graft"))]) == 0
    assert formula in capsys.readouterr().out


def test_where_the_budget_is_missed_the_part_that_suffers_is_named(built: Made) -> None:
    manifest, layers = built.conversion.bundle.manifest, built.conversion.layer_error.layers
    shown = {"bundle_agreement": {"lower_bound": 0.5, "frames": 100}}
    tasks = tuple(dataclasses.replace(task, fidelity=shown) for task in manifest.tasks)
    find, kind = missed(Budget(min_agreement=0.9), dataclasses.replace(manifest, tasks=tasks), None, layers)
    worst = min((e for e in layers if e.tensor in manifest.task("find").outputs), key=lambda e: e.sqnr_db)
    suffering = f"of its outputs {worst.tensor} suffers most in int8, {worst.sqnr_db:.1f} dB SQNR"
    assert str(find) == f"min_agreement = 0.9 (find shows 0.5000 on 100 frames; {suffering})"
    assert str(kind) == "min_agreement = 0.9 (kind shows 0.5000 on 100 frames)"


def test_the_build_says_what_it_parted_and_why(built: Made) -> None:
    (said,) = [line for line in built.said if line.startswith("Parted output")]
    assert said.startswith("Parted output output into ") and "of 0 to 1" in said
    assert said in built.conversion.sentences()


@pytest.mark.parametrize(
    ("multitask", "precision"),
    [
        (boxes_beside_scores("detection", 2.0), "int8"),
        (boxes_beside_scores(), "float32"),
    ],
    ids=["of like range", "in float"],
)
def test_nothing_is_parted_without_need(
    multitask: MultiTaskModel, precision: Precision, onnx2tf_environment: Environment, tmp_path: Path
) -> None:
    done = made(multitask, tmp_path, precision)
    assert not any("Parted" in line for line in done.said)
    plain = done.conversion.bundle.manifest.to_json()
    assert plain["schema"] == SCHEMA and not any("joined" in task for task in plain["tasks"])
    assert plain["tasks"][0]["outputs"] == ["output"]


def test_without_parting_the_scores_are_lost(onnx2tf_environment: Environment, tmp_path: Path) -> None:
    whole = made(boxes_beside_scores("classification"), tmp_path)
    (original,), (now,) = whole.original(), BundleRunner(whole.conversion.bundle).outputs("find", HELD_OUT)
    assert np.abs(apart(now)[1] - apart(original)[1]).max() > 0.5
