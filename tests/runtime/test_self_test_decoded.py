"""On other kernels, answers that are decoded judge; a network whose weights are damaged is refused all the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from multigraft.answers.answer_format import AnswerFormat
from multigraft.bundle.bundle import GOLDEN_OUTPUTS, MODEL, Bundle
from multigraft.errors import BundleError
from multigraft.runtime import Engine
from multigraft.runtime.backends import BackendName
from multigraft.runtime.self_test import MANY, MAX_LSB, MAX_RMS, MAX_RMS_DECODED, read_golden
from multigraft.tensors.arrays import Array
from tests.bundle_builder import Built, assemble, npz
from tests.runtime.test_self_test import ELSEWHERE
from tests.tflite_builder import Graph, serialise

STEPS, CHARACTERS, SCALE = 48, 25, 0.008
LAYERS = ("trunk/conv1", "trunk/conv2", "text/conv", "text/map")
SEGMENTS = {"trunk": ["trunk/conv1", "trunk/conv2"], "head_text": ["text/conv", "text/map"]}


def reader(backend: BackendName) -> tuple[Graph, Built]:
    """A network whose rows are steps of a line of text; no character is much more frequent than the others."""
    usual = golden_text(_reader(backend, 0.05, np.full(CHARACTERS + 1, 6.0))[1]).astype(np.float64) + 128
    return _reader(backend, SCALE, 7.0 - 0.05 * usual.reshape(-1, CHARACTERS + 1).mean(axis=0))


def _reader(backend: BackendName, scale: float, more: Array) -> tuple[Graph, Built]:
    graph = Graph(seed=11)
    source = graph.input("image", (1, 4 * STEPS, 4, 1))
    trunk = graph.conv("trunk/conv2", graph.conv("trunk/conv1", source, 8, stride=2), 16, stride=2)
    out = graph.conv("text/map", graph.conv("text/conv", trunk, 16), CHARACTERS + 1, kernel=1, scale=scale)
    bias = graph.tensors["text/map/bias"]
    assert bias.data is not None
    moved = np.rint(bias.data + more / np.array(bias.scale)).astype(np.int32)
    graph.tensors[bias.name] = dataclasses.replace(bias, data=moved)
    return graph, assemble(graph, SEGMENTS, {"text": ("other", out, ())}, backend=backend, cases=8)


def as_text(built: Built, **contents: bytes) -> Bundle:
    """The same with its answer decoded, made on another machine."""
    manifest = built.bundle.manifest
    shape = (CHARACTERS + 1, STEPS, 1)
    answer = AnswerFormat("ctc", (shape,), (4 * STEPS, 4), {"classes": 0}, scores="logits", score_threshold=0.0)
    labels = tuple("abcdefghijklmnopqrstuvwxy")
    (task,) = manifest.tasks
    tasks = (dataclasses.replace(task, answer=answer, labels=labels),)
    manifest = dataclasses.replace(manifest, provenance=ELSEWHERE, tasks=tasks)
    given = {name: built.bundle.read(name) for name in manifest.files}
    return Bundle.create(manifest, {**given, **contents})


def golden_text(built: Built) -> Array:
    return read_golden(built.bundle)[1]["text/map"]


def with_golden(built: Built, changed: Array) -> Bundle:
    _, outputs = read_golden(built.bundle)
    return as_text(built, **{GOLDEN_OUTPUTS: npz({**outputs, "text/map": changed.astype(np.int8)})})


FAR = 12
"""Steps, more than outputs elsewhere may differ by."""


def strayed(golden: Array, every: int) -> Array:
    """Every so many values fall far, but not what is read: the text stays."""
    changed = golden.copy()
    is_read = golden == golden.max(axis=-1, keepdims=True)
    changed.reshape(-1)[::every] -= FAR * ~is_read.reshape(-1)[::every]
    kept: Array = np.clip(changed, -128, 127)
    return kept


def stray(golden: Array, changed: Array) -> float:
    return float(np.sqrt(np.mean((changed - golden) ** 2.0)) / golden.std())


def test_answers_that_are_the_same_pass_although_numbers_stray(backend: BackendName) -> None:
    built = reader(backend)[1]
    golden = golden_text(built).astype(np.int16)
    changed = strayed(golden, 50)
    assert golden[0].size >= MANY and FAR > MAX_LSB and MAX_RMS < stray(golden, changed) < MAX_RMS_DECODED
    report = Engine(with_golden(built, changed), backend=backend).self_test
    assert report is not None and report.max_lsb["text/map"] == FAR


def test_other_answers_are_refused_and_so_are_numbers_far_off(backend: BackendName) -> None:
    built = reader(backend)[1]
    golden = golden_text(built).astype(np.int16)
    other = golden.copy()
    best = golden.argmax(axis=-1)[..., None]
    fallen = np.take_along_axis(golden, best, axis=-1) - FAR
    fallen[:, :, ::2] += FAR
    np.put_along_axis(other, best, fallen, axis=-1)
    assert stray(golden, other) < MAX_RMS_DECODED < stray(golden, strayed(golden, 7))
    for changed in (other, strayed(golden, 7)):
        with pytest.raises(BundleError, match=f"at most {MAX_LSB}"):
            Engine(with_golden(built, changed), backend=backend)


def test_answers_that_say_nothing_speak_for_nobody(backend: BackendName) -> None:
    built = reader(backend)[1]
    changed = strayed(golden_text(built).astype(np.int16), 50)
    bundle = with_golden(built, changed)
    (task,) = bundle.manifest.tasks
    assert task.answer is not None
    silent = dataclasses.replace(task, answer=dataclasses.replace(task.answer, score_threshold=1.0))
    with pytest.raises(BundleError, match=f"at most {MAX_LSB}"):
        Engine(bundle.with_tasks([silent]), backend=backend)


@pytest.mark.parametrize(("share", "refused"), [(0.02, 18), (0.2, 20)])
def test_damaged_weights_are_refused(backend: BackendName, share: float, refused: int) -> None:
    """Random bytes in a share of one layer's weights, 20 times; digests fit, as those of a faulty build do."""
    graph, built = reader(backend)
    rng, passed = np.random.default_rng(5), 20
    for run in range(20):
        whole = graph.tensors[LAYERS[run % len(LAYERS)] + "/weights"]
        assert whole.data is not None
        damaged = whole.data.copy()
        places = rng.choice(damaged.size, max(1, round(share * damaged.size)), replace=False)
        damaged.flat[places] = rng.integers(-128, 128, len(places), np.int8)
        graph.tensors[whole.name] = dataclasses.replace(whole, data=damaged)
        bundle = as_text(built, **{MODEL: serialise(graph, SEGMENTS, ["text/map"])})
        graph.tensors[whole.name] = whole
        try:
            Engine(bundle, backend=backend)
        except BundleError as error:
            assert "self-test" in str(error)
            passed -= 1
    assert 20 - passed >= refused


def test_the_whole_network_passes_elsewhere(backend: BackendName) -> None:
    report = Engine(as_text(reader(backend)[1]), backend=backend).self_test
    assert report is not None and report.exact
