"""Interpreters are made and packages imported, each in a process of its own that may crash."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from multigraft.runtime.backends import load_backend
from multigraft.runtime.delegate.library import available_kernels
from multigraft.runtime.doctor.finding import Finding
from multigraft.runtime.doctor.probe_model import EXPECTED, INPUT, OUTPUT, SIGNATURE, probe_input, probe_model
from multigraft.runtime.doctor.software import check_delegate, check_interpreters, check_packages, check_python
from multigraft.runtime.doctor.system import System
from multigraft.runtime.tflite_model import TfliteModel
from tests.core.test_broken_packages import (
    cv2_without_libgl,
    picamera2_for_an_older_numpy,
    pillow_without_its_half,
)
from tests.runtime.doctor.machines import machine
from tests.tflite_builder import Graph, serialise


def with_packages(tmp_path: Path, root: Path | None = None, **files: str) -> System:
    """This Python, with modules in front of its own."""
    site = tmp_path / "site"
    for name, text in files.items():
        path = site / name.replace("__slash__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(site), "HOME": str(tmp_path)}
    return System(root or Path("/"), environment)


def test_the_probe_is_what_its_code_makes() -> None:
    graph = Graph(seed=29)
    first = graph.conv("first", graph.input(INPUT, (1, 8, 8, 3)), 4, scale=0.01)
    graph.conv(OUTPUT, first, 2, stride=2, scale=0.01)
    assert serialise(graph, {SIGNATURE: ["first", OUTPUT]}, [OUTPUT]) == probe_model()
    subgraph = TfliteModel(probe_model(), reference=True).subgraph(SIGNATURE)
    subgraph.inputs[INPUT][...] = probe_input()
    subgraph.invoke()
    np.testing.assert_array_equal(subgraph.outputs[OUTPUT].ravel(), EXPECTED)


def test_an_interpreter_that_works() -> None:
    litert = next(one for one in check_interpreters(System()) if one.name == "ai-edge-litert")
    assert litert == Finding("ai-edge-litert", "ok", f"{load_backend('litert')} works, XNNPACK on")
    assert all(one.remedy == "" for one in check_interpreters(System()) if one.state == "ok")
    (python,) = check_python(System())
    assert python.state == "ok"


def test_binary_networks_run_or_it_says_why_not(tmp_path: Path) -> None:
    (found,) = check_delegate(System())
    assert found == Finding("binary networks", "ok", f"run with {available_kernels()[0]} kernels on {load_backend()}")
    absent = "raise OSError('no such file')"
    (found,) = check_delegate(
        with_packages(
            tmp_path,
            sitecustomize=f"import ctypes\nclass CDLL:\n    def __init__(self, *_): {absent}\nctypes.CDLL = CDLL\n",
        )
    )
    assert found.state == "missing" and "cannot be loaded (no such file)" in found.said
    assert found.remedy == "install multigraft for this processor"
    environment = {**os.environ, "MULTIGRAFT_BINARY_KERNELS": "mmx"}
    (found,) = check_delegate(System(Path("/"), environment))
    assert found.state == "missing" and "'mmx'" in found.said and available_kernels()[0] in found.remedy


CRASH = "import os, signal\nos.kill(os.getpid(), signal.{})\n"


@pytest.mark.parametrize(
    ("module", "said", "remedy"),
    [
        (CRASH.format("SIGILL"), "ends with SIGILL, an instruction that this processor does not have", "older release"),
        (CRASH.format("SIGSEGV"), "ends with SIGSEGV", "older release"),
        (
            "raise ImportError('libusb-1.0.so.0: cannot open shared object file: No such file')",
            "lacks libusb",
            "apt install",
        ),
        ("raise AttributeError('_ARRAY_API not found')", "built for another numpy", "ai-edge-litert"),
    ],
)
def test_interpreters_that_do_not(module: str, said: str, remedy: str, tmp_path: Path) -> None:
    system = with_packages(
        tmp_path,
        ai_edge_litert__slash____init__="",
        ai_edge_litert__slash__interpreter=module,
        tflite_runtime__slash____init__="raise ModuleNotFoundError('No such module', name=__name__)",
    )
    (found,) = (f for f in check_interpreters(system) if f.name == "ai-edge-litert")
    assert found.state == "wrong"
    assert said in found.said
    assert remedy in found.remedy


def test_no_interpreter_at_all(tmp_path: Path) -> None:
    gone = "raise ModuleNotFoundError('No such module', name=__name__)"
    system = with_packages(tmp_path, ai_edge_litert__slash____init__=gone, tflite_runtime__slash____init__=gone)
    (found,) = check_interpreters(system)
    assert (found.state, "ai-edge-litert" in found.remedy) == ("wrong", True)


def test_without_proc_cpuinfo_the_cause_is_named(tmp_path: Path) -> None:
    off = tmp_path / "python"
    off.write_text('#!/bin/sh\necho \'{"version": "ai-edge-litert 9", "lsb": 0, "xnnpack": false, "direct": true}\'\n')
    off.chmod(0o755)
    found = check_interpreters(System(tmp_path / "empty", python=str(off)))
    assert found[0].state == "wrong"
    assert "XNNPACK off: /proc/cpuinfo cannot be read" in found[0].said
    assert "ProcSubset=pid" in found[0].remedy


def test_an_interpreter_that_answers_wrong(tmp_path: Path) -> None:
    off = tmp_path / "python"
    off.write_text('#!/bin/sh\necho \'{"version": "ai-edge-litert 9", "lsb": 77, "xnnpack": true, "direct": true}\'\n')
    off.chmod(0o755)
    found = check_interpreters(System(python=str(off)))
    assert (found[0].state, "wrong by 77 LSB" in found[0].said) == ("wrong", True)


def test_a_python_that_is_gone() -> None:
    found = check_interpreters(System(python="/nowhere/python"))
    assert all(one.state == "wrong" and one.remedy for one in found)


def test_packages_that_are_there() -> None:
    states = {one.name.split()[0]: one.state for one in check_packages(System())}
    assert states["numpy"] == states["Pillow"] == states["OpenCV"] == "ok"


def test_packages_that_are_broken(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    cv2_without_libgl(site)
    pillow_without_its_half(site)
    picamera2_for_an_older_numpy(site)
    path = f"{site}:{site / 'dist-packages'}"
    system = machine(tmp_path, environment={**os.environ, "PYTHONPATH": path})
    found = {one.name.split()[0]: one for one in check_packages(system)}
    assert "the system lacks libGL.so.1" in found["OpenCV"].said
    assert "pip uninstall -y opencv-python)" in found["OpenCV"].remedy
    assert "this copy is damaged" in found["Pillow"].said
    assert "--force-reinstall" in found["Pillow"].remedy
    assert "built for another numpy" in found["picamera2"].said
    assert "numpy" in found["picamera2"].remedy
    assert {found[name].state for name in ("OpenCV", "Pillow", "picamera2")} == {"wrong"}


def test_picamera2_of_the_system_is_out_of_sight(tmp_path: Path) -> None:
    there = machine(tmp_path / "a", {"usr/lib/python3/dist-packages/picamera2/__init__.py": ""})
    there = System(there.root, dict(os.environ))
    found = check_packages(there)[-1]
    assert (found.name.split()[0], found.state) == ("picamera2", "wrong")
    assert found.remedy == f"run: python3 -m venv --system-site-packages {sys.prefix}"
    not_there = check_packages(System(machine(tmp_path / "b").root, dict(os.environ)))[-1]
    assert (not_there.state, not_there.remedy) == ("missing", "run: sudo apt install python3-picamera2")
