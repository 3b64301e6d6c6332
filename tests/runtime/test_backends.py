"""One class over both interpreters, over their own memory and over their public methods alike."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.errors import InputError, MissingDependencyError, UsageError
from multigraft.runtime.backends import BackendName, load_backend
from multigraft.runtime.float_environment import float_environment_kept
from multigraft.runtime.tflite_model import TfliteModel
from multigraft.tflite.checking.check import check_tflite
from tests.bundle_builder import Built, build
from tests.runtime.conftest import BACKENDS
from tests.tflite_builder import Graph, serialise


@pytest.fixture(scope="module")
def built() -> Built:
    return build()


@pytest.mark.parametrize("reference", (False, True))
def test_own_memory_and_public_methods_agree(built: Built, backend: BackendName, reference: bool) -> None:
    fast = TfliteModel(built.bundle.model, backend, reference=reference)
    plain = TfliteModel(built.bundle.model, backend, reference=reference, direct=False)
    for signature in fast.signatures:
        one, other = fast.subgraph(signature), plain.subgraph(signature)
        assert one.direct and not other.direct
        random = np.random.default_rng(1)
        for _ in range(3):
            for name in one.inputs:
                values = random.integers(-128, 128, one.inputs[name].shape, np.int8)
                one.inputs[name][...] = other.inputs[name][...] = values
            one.invoke()
            other.invoke()
            for name in one.outputs:
                np.testing.assert_array_equal(one.outputs[name], other.outputs[name])
        assert one.scales == other.scales


def test_the_smallest_floats_stay_what_they_are_whatever_an_interpreter_was_compiled_with(
    built: Built, backend: BackendName, tmp_path: Path
) -> None:
    (tmp_path / "model.tflite").write_bytes(built.bundle.model)
    script = (
        "import sys, numpy; from multigraft.runtime.tflite_model import TfliteModel\n"
        "TfliteModel(open(sys.argv[1], 'rb').read(), sys.argv[2]).subgraph('trunk').invoke()\n"
        "print(all(numpy.finfo(kind).smallest_subnormal * kind(1) > 0 for kind in (numpy.float32, numpy.float64)))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "model.tflite"), backend]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"


def test_a_block_that_makes_small_floats_zero_leaves_them_be() -> None:
    """What a library compiled with ``-ffast-math`` does as it is loaded, by the same call of C."""
    library = ctypes.CDLL(None)
    # FE_DFL_ENV: what ran before in this process may have left floats otherwise.
    library.fesetenv(ctypes.c_void_p(-1))
    flushing = (ctypes.c_longdouble * 16)()
    library.fegetenv(flushing)
    words = ctypes.cast(flushing, ctypes.POINTER(ctypes.c_uint32))
    # MXCSR is the last of x86's eight words; elsewhere the control register is the first.
    place, bits = (7, 0x8040) if platform.machine() == "x86_64" else (0, 1 << 24)
    words[place] |= bits
    smallest = float(np.finfo(np.float64).smallest_subnormal)
    with float_environment_kept():
        library.fesetenv(flushing)
        assert smallest * 1.0 == 0
    assert smallest * 1.0 > 0


def test_a_file_without_signatures_runs_by_its_first_subgraph(
    built: Built, backend: BackendName, tmp_path: Path
) -> None:
    (tmp_path / "model.tflite").write_bytes(built.uncut)
    results = []
    for direct in (True, False):
        graph = TfliteModel(tmp_path / "model.tflite", backend, direct=direct).subgraph()
        graph.inputs["image"][...] = built.inputs[0]
        graph.invoke()
        results.append({name: array.copy() for name, array in graph.outputs.items()})
    assert set(results[0]) == {"garment/out", "digit/out"}
    for name, array in results[0].items():
        np.testing.assert_array_equal(array, results[1][name])


def test_without_the_private_methods_the_public_ones_are_used(
    built: Built, backend: BackendName, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = TfliteModel(built.bundle.model, backend)

    class Bare:
        """The interpreter with its wrapper out of reach."""

        def __init__(self, real: Any) -> None:
            self.get_signature_runner = real.get_signature_runner

    monkeypatch.setattr(model, "_interpreter", Bare(model._interpreter))
    assert not model.subgraph("trunk").direct


def test_the_arrays_outlive_the_model(built: Built, backend: BackendName) -> None:
    subgraph = TfliteModel(built.bundle.model, backend).subgraph("trunk")
    subgraph.inputs["image"][...] = built.inputs[0]
    subgraph.invoke()
    first = {name: array.copy() for name, array in subgraph.outputs.items()}
    subgraph.invoke()
    for name in first:
        np.testing.assert_array_equal(subgraph.outputs[name], first[name])


def test_threads_do_not_change_the_answer(built: Built, backend: BackendName) -> None:
    results = []
    for threads in (1, 2):
        graph = TfliteModel(built.uncut, backend, threads=threads).subgraph()
        graph.inputs["image"][...] = built.inputs[1]
        graph.invoke()
        results.append(graph.outputs["digit/out"].copy())
    np.testing.assert_array_equal(results[0], results[1])


@pytest.mark.skipif("litert" not in BACKENDS, reason="hardware: LiteRT has no 32-bit Arm")
def test_auto_prefers_ai_edge_litert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MULTIGRAFT_BACKEND", raising=False)
    assert load_backend("auto").name == "litert"
    assert str(load_backend("litert")).startswith("ai-edge-litert ")


def test_tflite_runtime_with_numpy_2_is_refused_before_it_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # There is none for newer Pythons; that it is found is enough, as it is not imported.
    (tmp_path / "tflite_runtime").mkdir()
    (tmp_path / "tflite_runtime/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(np, "__version__", "2.1.0")
    with pytest.raises(MissingDependencyError, match=r"numpy 2\.1\.0") as caught:
        load_backend("tflite-runtime")
    assert "numpy<2" in caught.value.remedy


def test_an_interpreter_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for module in ("ai_edge_litert", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.setitem(sys.modules, f"{module}.interpreter", None)
    for name in ("auto", "litert", "tflite-runtime"):
        with pytest.raises(MissingDependencyError, match="install") as caught:
            load_backend(name)
        assert caught.value.remedy


def test_wrong_use_is_refused(built: Built, backend: BackendName, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="auto, litert, tflite-runtime"):
        load_backend("onnx")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="0 threads"):
        TfliteModel(built.uncut, backend, threads=0)
    with pytest.raises(InputError, match="does not exist"):
        TfliteModel(tmp_path / "gone.tflite", backend)
    (tmp_path / "empty.tflite").touch()
    (tmp_path / "text.tflite").write_text("not a model at all")
    for content in (b"", b"not a model", tmp_path / "empty.tflite", tmp_path / "text.tflite", tmp_path):
        with pytest.raises(InputError, match=r"\.tflite file|cannot be read"):
            TfliteModel(content, backend)
    with pytest.raises(InputError, match="trunk, head_garment, head_digit"):
        TfliteModel(built.bundle.model, backend).subgraph("head_gone")


def test_a_file_cut_off_anywhere_is_refused_before_the_interpreter_sees_it(built: Built) -> None:
    data = built.bundle.model
    check_tflite(data, "whole")
    for size in range(8, len(data) - 16, 37):
        with pytest.raises(InputError, match="truncated"):
            check_tflite(data[:size], "cut off")


def test_weights_behind_the_flatbuffer_are_checked_too() -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    graph = Graph()
    graph.dense("out", graph.input("x", (1, 4)), 3)
    model = schema.ModelT.InitFromPackedBuf(serialise(graph, {"main": ["out"]}, ["out"]), 0)
    # Weights behind the flatbuffer, as litert-quantizer writes them.
    number = next(i for i, b in enumerate(model.buffers) if b.data is not None and len(b.data) == 12)
    weights = bytes(model.buffers[number].data)
    model.buffers[number].data = None
    model.buffers[number].offset, model.buffers[number].size = 1, len(weights)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    start = -(-len(builder.Output()) // 16) * 16
    model.buffers[number].offset = start
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    data = bytes(builder.Output()).ljust(start, b"\0") + weights
    check_tflite(data, "whole")
    with pytest.raises(InputError, match="truncated"):
        check_tflite(data[:-1], "cut off")


def test_an_open_shape_is_refused(backend: BackendName) -> None:
    graph = Graph()
    graph.dense("out", graph.input("x", (1, 4)), 3)
    data = serialise(graph, {"main": ["out"]}, ["out"])
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    model.subgraphs[0].tensors[0].shapeSignature = [-1, 4]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(InputError, match="open shape"):
        TfliteModel(bytes(builder.Output()), backend).subgraph()


@pytest.mark.parametrize("choice", BACKENDS)
def test_the_environment_says_what_auto_means(monkeypatch: pytest.MonkeyPatch, choice: BackendName) -> None:
    monkeypatch.setenv("MULTIGRAFT_BACKEND", choice)
    assert load_backend().name == choice
    assert load_backend(BACKENDS[0]).name == BACKENDS[0]


def test_a_choice_that_is_unknown_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIGRAFT_BACKEND", "tensorrt")
    with pytest.raises(UsageError, match="there is no backend 'tensorrt'; choose from: auto, litert, tflite-runtime"):
        load_backend()
