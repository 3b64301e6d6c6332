"""Packages that are installed and broken: every command names the cause, and a remedy that helps against it.

They are broken for real where that can be made here: a library of the system that is not there, a file that is no
library, a part that is missing. What only another processor or numpy shows is raised in that package's own words.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multigraft.broken_packages import fault_of
from tests.bundle_builder import build as build_bundle

SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
BUILT_FOR_NUMPY_1 = (
    "numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header, got 88 from PyObject"
)


def library(path: Path, code: str, *options: str) -> None:
    source = path.with_suffix(".c")
    source.write_text(code)
    subprocess.run(
        [shutil.which("gcc") or "cc", "-shared", "-fPIC", str(source), "-o", str(path), *options], check=True
    )


def cv2_without_libgl(folder: Path) -> None:
    """OpenCV's desktop wheel on a device without a screen, in the linker's words: this machine may have it."""
    package = folder / "cv2"
    package.mkdir()
    message = "libGL.so.1: cannot open shared object file: No such file or directory"
    (package / "__init__.py").write_text(f"raise ImportError({message!r})\n")
    installed = folder / "opencv_python-4.11.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: opencv-python\nVersion: 4.11.0\n")
    (installed / "top_level.txt").write_text("cv2\n")


def cv2_without_a_library(folder: Path) -> None:
    package = folder / "cv2"
    package.mkdir()
    stub = folder / "libgone.so.3"
    library(stub, "int gone(void) { return 0; }", "-Wl,-soname,libgone.so.3")
    library(package / f"cv2{SUFFIX}", "int gone(void); int f(void) { return gone(); }", str(stub))
    stub.unlink()
    (package / "__init__.py").write_text("from cv2.cv2 import *\n")


def pillow_without_its_half(folder: Path) -> None:
    package = folder / "PIL"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "Image.py").write_text("from PIL import _imaging as core\n")


def pillow_of_another_processor(folder: Path) -> None:
    pillow_without_its_half(folder)
    (folder / "PIL" / f"_imaging{SUFFIX}").write_text("made for something else\n" * 99)


def pillow_with_a_lost_symbol(folder: Path) -> None:
    pillow_without_its_half(folder)
    code = "int ImagingMissing(void); int f(void) { return ImagingMissing(); }"
    library(folder / "PIL" / f"_imaging{SUFFIX}", code, "-Wl,-z,now")


def picamera2_for_an_older_numpy(folder: Path) -> None:
    """Raspberry Pi OS bookworm's picamera2 and simplejpeg, beside numpy 2 of an environment."""
    package = folder / "dist-packages" / "picamera2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import simplejpeg\n")
    (package.parent / "simplejpeg.py").write_text(f"raise ValueError({BUILT_FOR_NUMPY_1!r})\n")


def picamera2_of_pip(folder: Path) -> None:
    package = folder / "picamera2"
    package.mkdir()
    (package / "__init__.py").write_text("import libcamera\nclass Picamera2: pass\n")


def litert_for_a_newer_system(folder: Path) -> None:
    package = folder / "ai_edge_litert"
    package.mkdir()
    (package / "__init__.py").write_text("")
    message = "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.99' not found (required by _pywrap.so)"
    (package / "interpreter.py").write_text(f"raise ImportError({message!r})\n")
    other = folder / "tflite_runtime"
    other.mkdir()
    (other / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'tflite_runtime'\", name=__name__)\n"
    )


CASES: list[tuple[Callable[[Path], None], str, str, str]] = [
    (cv2_without_libgl, "clip.avi", "the system lacks libGL.so.1", "opencv-python-headless"),
    (cv2_without_a_library, "clip.avi", "the system lacks libgone.so.3", "apt-file search libgone.so.3"),
    (pillow_without_its_half, "pictures", "this copy is damaged", "install --force-reinstall --no-cache-dir pillow"),
    (pillow_of_another_processor, "pictures", "another processor", "install --force-reinstall --no-cache-dir pillow"),
    (pillow_with_a_lost_symbol, "pictures", "this copy is damaged", "install --force-reinstall --no-cache-dir pillow"),
    (picamera2_for_an_older_numpy, "camera", "built for another numpy", "install 'numpy"),
    (picamera2_of_pip, "camera", "it needs libcamera, which is not installed", "apt install python3-picamera2"),
    (litert_for_a_newer_system, "pictures", "a newer system, one with GLIBC_2.99", "an older release"),
]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    build_bundle().bundle.write(folder / "home.graft")
    (folder / "pictures").mkdir()
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(folder / "pictures" / "0.png")
    (folder / "clip.avi").write_bytes(b"RIFF")
    return folder


@pytest.mark.parametrize(("make", "source", "cause", "remedy"), CASES, ids=[case[0].__name__ for case in CASES])
@pytest.mark.parametrize("command", ["run", "bench"])
def test_a_command_names_cause_and_remedy(
    make: Callable[[Path], None], source: str, cause: str, remedy: str, command: str, work: Path, tmp_path: Path
) -> None:
    make(tmp_path)
    site = tmp_path / "dist-packages" if (tmp_path / "dist-packages").is_dir() else tmp_path
    done = subprocess.run(
        [sys.executable, "-m", "multigraft", command, "home.graft", "--source", source],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    said = done.stderr.splitlines()[-1]
    assert cause in said, done.stderr
    assert remedy in said.partition("; ")[2]


@pytest.mark.parametrize(
    ("message", "kind", "detail"),
    [
        (BUILT_FOR_NUMPY_1, "numpy", ""),
        ("A module that was compiled using NumPy 1.x cannot be run in NumPy 2.1.0", "numpy", ""),
        ("numpy.core.multiarray failed to import", "numpy", ""),
        ("module compiled against ABI version 0x1000009 but this version of numpy is 0x2000000", "numpy", ""),
        ("libopenblas.so.0: cannot open shared object file: No such file or directory", "library", "libopenblas.so.0"),
        (
            "libstdc++.so.6: version `GLIBCXX_3.4.32' not found",
            "newer system",
            "GLIBCXX_3.4.32",
        ),
        ("/x/y.so: wrong ELF class: ELFCLASS64", "reinstall", "y.so"),
        ("cannot import name 'x' from partially initialized module 'cv2'", "name taken", "cv2"),
    ],
)
def test_the_words_of_linkers_and_compiled_modules(message: str, kind: str, detail: str) -> None:
    fault = fault_of(ImportError(message), "package")
    assert fault is not None
    assert (fault.kind, fault.detail) == (kind, detail)
    assert fault_of(ValueError("something else"), "package") is None


def test_a_cause_behind_another() -> None:
    outer = ImportError("numpy.core.multiarray is not what it was")
    outer.__cause__ = ImportError("libcblas.so.3: cannot open shared object file: No such file or directory")
    fault = fault_of(outer, "numpy")
    assert fault is not None
    assert fault.detail == "libcblas.so.3"


def test_not_installed_is_no_fault() -> None:
    assert fault_of(ModuleNotFoundError("No module named 'cv2'", name="cv2"), "cv2") is None
