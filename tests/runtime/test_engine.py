"""The engine answers as the uncut model does, runs what was asked for and no more, and says what is wrong."""

import dataclasses
import json

import numpy as np
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.errors import BundleError, InputError, UsageError
from multigraft.runtime import Engine
from multigraft.runtime.tflite_model import TfliteModel
from multigraft.tensors.preprocessing import prepare
from multigraft.tensors.quantisation import dequantise, quantise
from multigraft.tensors.specs import TensorSpec
from tests.bundle_builder import assemble, build
from tests.tflite_builder import Graph


@pytest.fixture
def built(backend):
    return build(backend=backend)


@pytest.fixture
def engine(built, backend):
    return Engine(built.bundle, backend=backend)


def frames_of(count=200, shape=(28, 28)):
    return np.random.default_rng(11).integers(0, 256, (count, *shape), dtype=np.uint8)


def test_segments_in_turn_equal_the_uncut_model_bit_for_bit(built, engine, backend):
    uncut = TfliteModel(built.uncut, backend).subgraph()
    values = np.random.default_rng(5).integers(-128, 128, (200, 1, 28, 28, 1), dtype=np.int8)
    mismatches = 0
    for value in values:
        uncut.inputs["image"][...] = value
        uncut.invoke()
        computed = engine.compute({"image": value})
        mismatches += sum((computed[name] != array).sum() for name, array in uncut.outputs.items())
    assert mismatches == 0


def test_answers_on_frames_are_those_of_each_original(built, engine, backend):
    spec = engine.manifest.inputs[0].preprocessing
    tensor = engine.manifest.tensor("image")
    originals = {name: TfliteModel(data, backend).subgraph() for name, data in built.separate.items()}
    for frame in frames_of(20):
        result = engine.run(frame)
        for task in engine.manifest.tasks:
            original = originals[task.name]
            original.inputs["image"][0] = quantise(prepare(frame, spec), tensor)
            original.invoke()
            real = dequantise(original.outputs[task.outputs[0]], engine.manifest.tensor(task.outputs[0])).ravel()
            answer = result.answers[task.name]
            assert answer.index == real.argmax()
            assert answer.label == task.labels[answer.index]
            exact = np.exp(real.astype(np.float64) - real.max())
            assert answer.score == pytest.approx(1 / exact.sum(), rel=1e-5)


def test_only_the_segments_of_the_asked_tasks_run_and_each_once(engine):
    frame = frames_of(1)[0]
    assert list(engine.run(frame).latency_us) == ["trunk", "head_garment", "head_digit"]
    for asked in (("digit",), ["digit"], "digit", iter(["digit"])):
        result = engine.run(frame, asked)
        assert list(result.latency_us) == ["trunk", "head_digit"]
        assert list(result.answers) == ["digit"]
    assert engine.run(frame, ["digit", "garment", "digit"]).answers == engine.run(frame).answers


def test_answers_do_not_depend_on_what_ran_before(engine):
    frames = frames_of(10)
    fresh = [engine.run(frame).answers for frame in frames]
    engine.run(frames[3], ["garment"])
    again = [engine.run(frame, ["digit"]).answers["digit"] for frame in reversed(frames)]
    assert again == [answers["digit"] for answers in reversed(fresh)]


def test_latency_is_told_per_segment_with_preprocessing_apart(engine):
    result = engine.run(frames_of(1)[0])
    parts = [result.preprocessing_us, *result.latency_us.values(), result.answering_us]
    assert all(part > 0 for part in parts)
    assert sum(parts) == pytest.approx(result.total_us)
    line = json.loads(json.dumps(result.to_json()))
    assert set(line["answers"]) == {"garment", "digit"}
    assert set(line["latency_us"]) == {"total", "preprocessing", "segments", "answering"}


def test_a_bundle_may_be_given_by_its_path_or_deployed(built, backend, tmp_path):
    frame = frames_of(1)[0]
    expected = Engine(built.bundle, backend=backend).run(frame).answers
    path = built.bundle.write(tmp_path / "test.graft")
    folder = built.bundle.deploy(tmp_path / "deployed")
    for where in (path, folder, str(path)):
        assert Engine(where, backend=backend).run(frame).answers == expected


def test_every_kind_of_task_is_answered_as_itself(backend):
    kinds = (("a", "classification"), ("b", "regression"), ("c", "segmentation"), ("d", "other"), ("e", "landmarks"))
    built = build(kinds, backend=backend)
    engine = Engine(built.bundle, backend=backend)
    frame = frames_of(1)[0]
    result = engine.run(frame)
    held = engine.compute({"image": _stored(engine, frame)})

    def real(name):
        return dequantise(held[name], engine.manifest.tensor(name))

    np.testing.assert_array_equal(result.answers["b"].values, real("b/out")[0])
    np.testing.assert_array_equal(result.answers["e"].values, real("e/out")[0])
    np.testing.assert_array_equal(result.answers["c"].classes, real("c/map")[0].argmax(-1))
    np.testing.assert_array_equal(result.answers["d"].outputs[0], real("d/conv")[0])
    line = json.loads(json.dumps(result.to_json()))
    assert sum(line["answers"]["c"]["pixels"].values()) == 49
    assert set(line["answers"]["c"]["pixels"]) <= {"sky", "road", "car"}
    kept = result.answers["b"].values.copy()
    engine.run(frames_of(2)[1])
    np.testing.assert_array_equal(result.answers["b"].values, kept)


def _stored(engine, frame):
    name = engine.manifest.inputs[0].tensor
    return quantise(prepare(frame, engine.manifest.inputs[0].preprocessing), engine.manifest.tensor(name))[None]


def test_float_bundles_run_too(backend):
    built = build(float32=True, backend=backend)
    engine = Engine(built.bundle, backend=backend)
    uncut = TfliteModel(built.uncut, backend).subgraph()
    frame = frames_of(1)[0]
    uncut.inputs["image"][0] = prepare(frame, engine.manifest.inputs[0].preprocessing)
    uncut.invoke()
    logits = uncut.outputs["digit/out"].ravel().astype(np.float64)
    answer = engine.run(frame).answers["digit"]
    assert answer.index == logits.argmax()
    assert answer.score == pytest.approx(1 / np.exp(logits - logits.max()).sum(), rel=1e-4)


def test_frames_of_other_sizes_are_resized(engine):
    for shape in ((28, 28, 3), (60, 44), (60, 44, 3), (14, 14)):
        assert set(engine.run(frames_of(1, shape)[0]).answers) == {"garment", "digit"}


def test_an_unknown_task_names_those_there_are(engine):
    with pytest.raises(BundleError, match="garment, digit"):
        engine.run(frames_of(1)[0], ["weather"])
    with pytest.raises(UsageError, match="no task"):
        engine.run(frames_of(1)[0], [])


def test_a_wrong_frame_is_refused_and_the_next_one_is_answered(engine):
    for bad in (np.zeros((28, 28), np.float32), np.zeros((28, 28, 4), np.uint8), None):
        with pytest.raises(InputError):
            engine.run(bad)
    assert engine.run(frames_of(1)[0]).answers


def test_compute_refuses_inputs_that_do_not_fit(engine):
    with pytest.raises(InputError, match="missing"):
        engine.compute({})
    with pytest.raises(InputError, match="float32"):
        engine.compute({"image": np.zeros((1, 28, 28, 1), np.float32)})


def changed(built, **changes):
    manifest = dataclasses.replace(built.bundle.manifest, **changes)
    contents = {name: built.bundle.read(name) for name in manifest.files}
    return Bundle.create(manifest, contents)


def test_a_manifest_that_does_not_fit_the_model_is_refused(built, backend):
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
        {"inputs": (dataclasses.replace(
            manifest.inputs[0], preprocessing=dataclasses.replace(manifest.inputs[0].preprocessing, width=5)
        ),)},
    )  # fmt: skip
    for changes in wrong:
        with pytest.raises(BundleError) as caught:
            Engine(changed(built, **changes), backend=backend)
        assert caught.value.remedy, changes


def test_each_network_input_is_made_once_of_the_same_frame(backend):
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
            array[0] = quantise(prepare(frame, preprocessing), engine.manifest.tensor(tensor))
            alone.invoke()
            expected = dequantise(alone.outputs[f"{task}/out"][0], engine.manifest.tensor(f"{task}/out"))
            np.testing.assert_array_equal(result.answers[task].values, expected)
            np.testing.assert_array_equal(engine.run(frame, task).answers[task].values, expected)
