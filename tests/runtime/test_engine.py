"""The engine answers as the uncut model does, runs what was asked for and no more, and says what is wrong."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
import json
import tracemalloc
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.answers.class_map import ClassMap
from multigraft.answers.kind import Kind
from multigraft.bundle.bundle import Bundle
from multigraft.errors import BundleError, InputError, UsageError
from multigraft.runtime import Engine, Result
from multigraft.runtime.answers import Answer, Classification, Raw, Values
from multigraft.runtime.backends import BackendName
from multigraft.runtime.engine import MOST_CHOICES
from multigraft.runtime.tflite_model import TfliteModel
from multigraft.tensors.arrays import Array, Float32Array
from multigraft.tensors.preparation import Preparation
from multigraft.tensors.preprocessing import Frame, Preprocessing, prepare
from multigraft.tensors.quantisation import dequantise, quantise
from multigraft.tensors.specs import TensorSpec
from tests.bundle_builder import Built, assemble, build
from tests.tflite_builder import Graph

T = TypeVar("T", bound=Answer)


def answer_of(result: Result, task: str, kind: type[T]) -> T:
    answer = result.answers[task]
    assert isinstance(answer, kind)
    return answer


@pytest.fixture
def built(backend: BackendName) -> Built:
    return build(backend=backend)


@pytest.fixture
def engine(built: Built, backend: BackendName) -> Engine:
    return Engine(built.bundle, backend=backend)


def picture_input(frame: Frame, preparation: Preparation) -> Float32Array:
    """What a picture becomes, as real numbers, height x width x channels."""
    assert isinstance(preparation, Preprocessing)
    return prepare(frame, preparation)


def frames_of(count: int = 200, shape: tuple[int, ...] = (28, 28)) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(11).integers(0, 256, (count, *shape), dtype=np.uint8)


def test_segments_in_turn_equal_the_uncut_model_bit_for_bit(built: Built, engine: Engine, backend: BackendName) -> None:
    uncut = TfliteModel(built.uncut, backend).subgraph()
    values = np.random.default_rng(5).integers(-128, 128, (200, 1, 28, 28, 1), dtype=np.int8)
    mismatches = 0
    for value in values:
        uncut.inputs["image"][...] = value
        uncut.invoke()
        computed = engine.compute({"image": value})
        mismatches += sum((computed[name] != array).sum() for name, array in uncut.outputs.items())
    assert mismatches == 0


def test_answers_on_frames_are_those_of_each_original(built: Built, engine: Engine, backend: BackendName) -> None:
    spec = engine.manifest.inputs[0].preprocessing
    tensor = engine.manifest.tensor("image")
    originals = {name: TfliteModel(data, backend).subgraph() for name, data in built.separate.items()}
    for frame in frames_of(20):
        result = engine.run(frame)
        for task in engine.manifest.tasks:
            original = originals[task.name]
            original.inputs["image"][0] = quantise(picture_input(frame, spec), tensor)
            original.invoke()
            real = dequantise(original.outputs[task.outputs[0]], engine.manifest.tensor(task.outputs[0])).ravel()
            answer = answer_of(result, task.name, Classification)
            assert answer.index == real.argmax()
            assert answer.label == task.labels[answer.index]
            exact = np.exp(real.astype(np.float64) - real.max())
            assert answer.score == pytest.approx(1 / exact.sum(), rel=1e-5)


def test_only_the_segments_of_the_asked_tasks_run_and_each_once(engine: Engine) -> None:
    frame = frames_of(1)[0]
    assert list(engine.run(frame).latency_us) == ["trunk", "head_garment", "head_digit"]
    for asked in (("digit",), ["digit"], "digit", iter(["digit"])):
        result = engine.run(frame, asked)
        assert list(result.latency_us) == ["trunk", "head_digit"]
        assert list(result.answers) == ["digit"]
    assert engine.run(frame, ["digit", "garment", "digit"]).answers == engine.run(frame).answers


def test_answers_do_not_depend_on_what_ran_before(engine: Engine) -> None:
    frames = frames_of(10)
    fresh = [engine.run(frame).answers for frame in frames]
    engine.run(frames[3], ["garment"])
    again = [engine.run(frame, ["digit"]).answers["digit"] for frame in reversed(frames)]
    assert again == [answers["digit"] for answers in reversed(fresh)]


def test_latency_is_told_per_segment_with_preprocessing_apart(engine: Engine) -> None:
    result = engine.run(frames_of(1)[0])
    parts = [result.preprocessing_us, *result.latency_us.values(), result.answering_us]
    assert all(part > 0 for part in parts)
    assert sum(parts) == pytest.approx(result.total_us)
    line = json.loads(json.dumps(result.to_json()))
    assert set(line["answers"]) == {"garment", "digit"}
    assert set(line["latency_us"]) == {"total", "preprocessing", "segments", "answering"}


def test_a_bundle_may_be_given_by_its_path_or_deployed(built: Built, backend: BackendName, tmp_path: Path) -> None:
    frame = frames_of(1)[0]
    expected = Engine(built.bundle, backend=backend).run(frame).answers
    path = built.bundle.write(tmp_path / "test.graft")
    folder = built.bundle.deploy(tmp_path / "deployed")
    for where in (path, folder, str(path)):
        assert Engine(where, backend=backend).run(frame).answers == expected


def test_every_kind_of_task_is_answered_as_itself(backend: BackendName) -> None:
    kinds: tuple[tuple[str, Kind], ...] = (
        ("a", "classification"), ("b", "regression"), ("c", "segmentation"), ("d", "other"), ("e", "landmarks"),
    )  # fmt: skip
    built = build(kinds, backend=backend)
    engine = Engine(built.bundle, backend=backend)
    frame = frames_of(1)[0]
    result = engine.run(frame)
    computed = engine.compute({"image": _stored(engine, frame)})

    def real(name: str) -> Float32Array:
        return dequantise(computed[name], engine.manifest.tensor(name))

    np.testing.assert_array_equal(answer_of(result, "b", Values).values, real("b/out")[0])
    np.testing.assert_array_equal(answer_of(result, "e", Values).values, real("e/out")[0])
    np.testing.assert_array_equal(answer_of(result, "c", ClassMap).classes, real("c/map")[0].argmax(-1))
    np.testing.assert_array_equal(answer_of(result, "d", Raw).outputs[0], real("d/conv")[0])
    line = json.loads(json.dumps(result.to_json()))
    assert sum(line["answers"]["c"]["pixels"].values()) == 49
    assert set(line["answers"]["c"]["pixels"]) <= {"sky", "road", "car"}
    kept = answer_of(result, "b", Values).values.copy()
    engine.run(frames_of(2)[1])
    np.testing.assert_array_equal(answer_of(result, "b", Values).values, kept)


def _stored(engine: Engine, frame: Frame) -> Array:
    name = engine.manifest.inputs[0].tensor
    return quantise(picture_input(frame, engine.manifest.inputs[0].preprocessing), engine.manifest.tensor(name))[None]


def test_float_bundles_run_too(backend: BackendName) -> None:
    built = build(float32=True, backend=backend)
    engine = Engine(built.bundle, backend=backend)
    uncut = TfliteModel(built.uncut, backend).subgraph()
    frame = frames_of(1)[0]
    uncut.inputs["image"][0] = picture_input(frame, engine.manifest.inputs[0].preprocessing)
    uncut.invoke()
    logits = uncut.outputs["digit/out"].ravel().astype(np.float64)
    answer = answer_of(engine.run(frame), "digit", Classification)
    assert answer.index == logits.argmax()
    assert answer.score == pytest.approx(1 / np.exp(logits - logits.max()).sum(), rel=1e-4)


def test_frames_of_other_sizes_are_resized(engine: Engine) -> None:
    for shape in ((28, 28, 3), (60, 44), (60, 44, 3), (14, 14)):
        assert set(engine.run(frames_of(1, shape)[0]).answers) == {"garment", "digit"}


def test_an_unknown_task_names_those_there_are(engine: Engine) -> None:
    with pytest.raises(BundleError, match="garment, digit"):
        engine.run(frames_of(1)[0], ["weather"])
    with pytest.raises(UsageError, match="no task"):
        engine.run(frames_of(1)[0], [])


def test_a_wrong_frame_is_refused_and_the_next_one_is_answered(engine: Engine) -> None:
    for bad in (np.zeros((28, 28), np.float32), np.zeros((28, 28, 4), np.uint8), None):
        with pytest.raises(InputError):
            engine.run(bad)  # type: ignore[arg-type]
    assert engine.run(frames_of(1)[0]).answers


def test_compute_refuses_inputs_that_do_not_fit(engine: Engine) -> None:
    with pytest.raises(InputError, match="missing"):
        engine.compute({})
    with pytest.raises(InputError, match="float32"):
        engine.compute({"image": np.zeros((1, 28, 28, 1), np.float32)})


def changed(built: Built, **changes: Any) -> Bundle:
    manifest = dataclasses.replace(built.bundle.manifest, **changes)
    contents = {name: built.bundle.read(name) for name in manifest.files}
    return Bundle.create(manifest, contents)


def test_a_manifest_that_does_not_fit_the_model_is_refused(built: Built, backend: BackendName) -> None:
    manifest = built.bundle.manifest
    trunk, *heads = manifest.segments
    image, *rest = manifest.tensors
    wrong = (
        {"segments": (dataclasses.replace(trunk, signature="stem"), *heads)},
        {"segments": (dataclasses.replace(trunk, inputs={"x": "image"}), *heads)},
        {"tensors": (TensorSpec("image", (1, 28, 27, 1), "int8", image.scale, image.zero_point), *rest)},
        {"tensors": (TensorSpec("image", image.shape, "uint8", image.scale, 0), *rest)},
        {"tensors": (TensorSpec("image", image.shape, "int8", 0.5, image.zero_point), *rest)},
        {"tensors": (TensorSpec("image", image.shape, "int8", image.scale, 3), *rest)},
        {"tasks": (dataclasses.replace(manifest.tasks[0], labels=("one", "two")),)},
        {"tasks": (dataclasses.replace(manifest.tasks[0], segments=("trunk",)),)},
        {"inputs": (dataclasses.replace(manifest.inputs[0], preprocessing=Preprocessing(28, 5, "grey", (0,), (1,))),)},
    )  # fmt: skip
    for changes in wrong:
        with pytest.raises(BundleError) as caught:
            Engine(changed(built, **changes), backend=backend)
        assert caught.value.remedy, changes


def test_each_network_input_is_made_once_of_the_same_frame(backend: BackendName) -> None:
    """Two networks of other sizes and channels, and a third that reads the first one's input."""
    graph = Graph(seed=2)
    small, large = graph.input("small", (1, 8, 8, 1)), graph.input("large", (1, 16, 12, 3))
    for name, source in (("a", small), ("b", large), ("c", small)):
        graph.dense(f"{name}/out", graph.mean(f"{name}/mean", graph.conv(f"{name}/conv", source, 4)), 5)
    segments = {name: [f"{name}/conv", f"{name}/mean", f"{name}/out"] for name in "abc"}
    built = assemble(graph, segments, {name: ("regression", f"{name}/out", ()) for name in "abc"}, backend=backend)
    engine = Engine(built.bundle, backend=backend)
    for frame in frames_of(3, (20, 30, 3)):
        result = engine.run(frame)
        for task in "abc":
            alone = TfliteModel(built.separate[task], backend).subgraph()
            ((tensor, array),) = alone.inputs.items()
            preprocessing = next(i.preprocessing for i in engine.manifest.inputs if i.tensor == tensor)
            array[0] = quantise(picture_input(frame, preprocessing), engine.manifest.tensor(tensor))
            alone.invoke()
            expected = dequantise(alone.outputs[f"{task}/out"][0], engine.manifest.tensor(f"{task}/out"))
            np.testing.assert_array_equal(answer_of(result, task, Values).values, expected)
            np.testing.assert_array_equal(answer_of(engine.run(frame, task), task, Values).values, expected)


def test_threads_wait_for_each_other(engine: Engine) -> None:
    frames = frames_of(150)
    alone = [engine.run(frame).answers for frame in frames]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            together = list(pool.map(lambda frame: engine.run(frame).answers, frames))
            assert together == alone


def test_many_choices_of_tasks_are_not_kept_for_ever(backend: BackendName) -> None:
    names = ("a", "b", "c", "d", "e")
    heads: tuple[tuple[str, Kind], ...] = tuple((name, "classification") for name in names)
    engine = Engine(build(heads, backend=backend).bundle, backend=backend)
    frame = frames_of(1)[0]
    choices = [choice for size in (3, 4, 5) for choice in itertools.permutations(names, size)]
    assert len(choices) > 4 * MOST_CHOICES
    tracemalloc.start()
    try:
        sizes = []
        for choice in choices:
            assert list(engine.run(frame, choice).answers) == list(choice)
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[-1] < 1.5 * max(sizes[:MOST_CHOICES])


def test_an_untrusted_bundle_is_tried_in_a_child_first(built: Built, backend: BackendName) -> None:
    frame = frames_of(1)[0]
    tried = Engine(built.bundle, backend=backend, untrusted=True)
    assert tried.run(frame).answers == Engine(built.bundle, backend=backend).run(frame).answers
