"""What is left of a conversion whose process is killed: no other process, and no files once the next job starts."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest

from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.converters.conversion.work_folder import work_folder
from tests.converters.onnx_builder import OnnxBuilder, mobilenet_v2

CONVERT = """
import signal
import sys
import onnx
from multigraft.converters.conversion.onnx2tf import to_tflite
from multigraft.converters.conversion.onnx2tf_environment import ensure
from multigraft.converters.conversion.work_folder import work_folder

# A job in the background of a shell inherits an interrupt that is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
with work_folder() as folder:
    print(folder, flush=True)
    to_tflite(onnx.load(sys.argv[1]), ensure(), folder)
"""
WAIT_S = 60.0


def children_in(folder: Path) -> list[int]:
    """Processes whose working folder is ``folder``."""
    processes = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink() == folder and (link.parent / "stat").read_text().split()[2] != "Z":
                processes.append(int(link.parent.name))
        except OSError:
            continue
    return processes


def wait_until(there_are_some: bool, folder: Path) -> bool:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if bool(children_in(folder)) == there_are_some:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_onnx2tf_ends_with_the_process_that_started_it(
    number: signal.Signals, onnx2tf_environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    b = OnnxBuilder()
    onnx.save(b.model(mobilenet_v2(b, b.input("x", 3, 64, 64), "m.")), tmp_path / "network.onnx")
    command = [sys.executable, "-c", CONVERT, str(tmp_path / "network.onnx")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    assert wait_until(True, folder), "onnx2tf never started"
    process.send_signal(number)
    assert process.wait(WAIT_S) != 0
    process.stdout.close()
    assert wait_until(False, folder), f"onnx2tf lives on as {children_in(folder)}"
    assert folder.exists() == (number != signal.SIGINT)
    with work_folder() as another:
        assert not folder.exists() and another.exists()
    assert not another.exists()


def test_the_folder_of_a_living_process_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    other = tmp_path / "multigraft-work-being-made"
    other.mkdir()
    with work_folder() as first:
        (first / "model.onnx").write_text("")
        with work_folder() as second:
            assert (first / "model.onnx").exists() and second != first and other.exists()
