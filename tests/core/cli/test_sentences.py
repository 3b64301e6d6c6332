"""What went wrong outside is one sentence: numbers beyond all bounds, full disks, locked folders, broken packages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from multigraft.bundle.manifest import Manifest
from multigraft.devices.power.hwmon_meter import HwmonMeter
from multigraft.devices.sysfs import read_text
from multigraft.errors import BundleError
from tests.bundle_builder import build
from tests.converters.graft.networks import frames, residual_network

SETTINGS = """
frames = "frames.npy"
[[task]]
name = "first"
model = "first.onnx"
kind = "classification"
[task.preprocessing]
size = [8, 8]
color = "grey"
{more}
[graft]
fit_frames = 64
"""
HUGE = "1" + "0" * 400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    onnx.save(residual_network("first", 0).model, tmp_path / "first.onnx")
    np.save(tmp_path / "frames.npy", frames(160))
    build().bundle.write(tmp_path / "home.graft")
    (tmp_path / "multigraft.toml").write_text(SETTINGS.format(more=""), "utf-8")
    return tmp_path


def said(folder: Path, argv: str, before: str = "", **environment: str) -> tuple[int, str]:
    """Exit code and the last line on standard error, which has to be the only one that is an error."""
    done = subprocess.run(
        ["bash", "-c", f'{before} exec "$@"', "bash", sys.executable, "-m", "multigraft", *argv.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("multigraft: ")]
    assert "Traceback" not in done.stderr and "defect" not in done.stderr, done.stderr
    assert len(lines) == 1 and lines[0].endswith("."), done.stderr
    return done.returncode, lines[0]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (f"mean = {HUGE}", "mean is too large"),
        (f"[budget]\nmax_latency_us = {HUGE}", "max_latency_us is too large"),
        (f"[budget]\nmax_weights_bytes = {HUGE}", "max_weights_bytes is too large"),
        (f"[budget]\nmax_weights_bytes = {'9' * 5000}", "a number of thousands of digits"),
    ],
)
def test_numbers_beyond_all_bounds_in_settings(folder: Path, more: str, words: str) -> None:
    (folder / "multigraft.toml").write_text(SETTINGS.format(more=more), "utf-8")
    code, sentence = said(folder, "graft multigraft.toml")
    assert code == 78 and words in sentence


def test_the_home_of_nobody(folder: Path) -> None:
    text = SETTINGS.format(more="").replace("first.onnx", "~nobody_of_this_name/first.onnx")
    (folder / "multigraft.toml").write_text(text, "utf-8")
    code, sentence = said(folder, "graft multigraft.toml")
    assert code == 78 and "there is no such user" in sentence


@pytest.mark.parametrize(
    "content", [b"", b"[" * 100_000, b'{"a": [%s, 1]}' % HUGE.encode(), b"\xff", b'{"\\ud800": [0, 1]}', b'{"a": 1}']
)
def test_damaged_json_where_a_command_reads_some(folder: Path, content: bytes) -> None:
    done = [sys.executable, "-m", "multigraft", "graft", "multigraft.toml", "-o", "o.onnx"]
    subprocess.run(done, cwd=folder, capture_output=True, check=True)
    (folder / "x.json").write_bytes(content)
    code, sentence = said(folder, "convert o.onnx -o x.graft --source frames.npy --ranges x.json")
    assert code == 2 and "x.json holds no ranges" in sentence
    (folder / "fw").mkdir()
    for name in ("project.json", "report.json"):
        (folder / "fw" / name).write_bytes(content)
    code, sentence = said(folder, "firmware report fw")
    assert code == 2 and "fw" in sentence
    code, sentence = said(folder, "flash fw --dry-run")
    assert code == 2 and "project.json is damaged" in sentence


def test_a_manifest_with_a_number_beyond_all_bounds() -> None:
    plain = build().bundle.manifest.to_json()
    plain["tensors"][0]["scale"] = int(HUGE)
    with pytest.raises(BundleError, match="scale is too large"):
        Manifest.from_json(json.loads(json.dumps(plain)))


@pytest.mark.parametrize("argv", ["graft multigraft.toml -o o.onnx", "firmware home.graft --board mps2-an385 -o fw"])
def test_a_file_that_finds_no_room_is_named_and_not_there(folder: Path, argv: str) -> None:
    # Python itself leaves a compiled module cut off at the limit, which every later process then loads.
    code, sentence = said(folder, argv, before="ulimit -f 1;", PYTHONDONTWRITEBYTECODE="1")
    assert code == 2 and argv.split()[-1] in sentence and "File too large" in sentence
    assert not (folder / argv.split()[-1]).exists()


@pytest.mark.parametrize(
    "argv",
    [
        "inspect locked/home.graft",
        "run home.graft --source locked",
        "graft multigraft.toml -o locked/o.onnx",
        "graft multigraft.toml -o unwritable/o.onnx",
        "firmware home.graft --board mps2-an385 -o unwritable/fw",
        "firmware report locked",
        "demo -o unwritable/new/demo",
        "calibrate report locked/x.mgstats -o x.html",
    ],
)
def test_folders_without_permission_are_refused_before_any_work(folder: Path, argv: str) -> None:
    before = ""
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("hardware: root without setpriv may read everything")
        before = 'set -- setpriv --bounding-set -dac_override,-dac_read_search "$@";'
    for name, rights in (("locked", 0), ("unwritable", 0o555)):
        (folder / name).mkdir()
        (folder / name).chmod(rights)
    try:
        code, sentence = said(folder, argv, before)
    finally:
        for name in ("locked", "unwritable"):
            (folder / name).chmod(0o755)
    assert code == 2 and ("locked" in sentence or "unwritable" in sentence)


BROKEN = [
    'raise OSError("libGL.so.1: cannot open shared object file")',
    'raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")',
    'raise RuntimeError("module compiled against another ABI")',
    'raise AttributeError("_ARRAY_API not found")',
    'raise ImportError("numpy.core.multiarray failed to import")',
    "raise SystemError",
]


@pytest.mark.parametrize("breaks", BROKEN)
@pytest.mark.parametrize(
    ("package", "argv"),
    [
        ("PIL", "run home.graft --source pictures"),
        ("cv2", "run home.graft --source a.mp4"),
        ("picamera2", "run home.graft --source camera"),
        ("onnxruntime", "graft multigraft.toml"),
        ("onnx", "check first.onnx"),
    ],
)
def test_a_package_that_is_installed_and_broken(folder: Path, package: str, argv: str, breaks: str) -> None:
    (folder / "broken").mkdir()
    (folder / "broken" / f"{package}.py").write_text(breaks + "\n", "utf-8")
    (folder / "pictures").mkdir()
    (folder / "pictures" / "a.png").write_bytes(b"")
    (folder / "a.mp4").write_bytes(b"")
    code, sentence = said(folder, argv, PYTHONPATH=str(folder / "broken"))
    assert code == 2 and "which is installed but cannot be imported (" in sentence


@pytest.mark.parametrize(
    ("breaks", "cause"),
    [
        ('raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")', "for another numpy"),
        (
            'raise ImportError("libopenblas.so.0: cannot open shared object file: No such file or directory")',
            "sudo apt install libopenblas0",
        ),
        ("raise SystemError", "--force-reinstall --no-cache-dir numpy"),
    ],
)
def test_doctor_names_what_is_wrong_with_numpy(tmp_path: Path, breaks: str, cause: str) -> None:
    (tmp_path / "numpy.py").write_text(breaks + "\n", "utf-8")
    command = [sys.executable, "-P", "-m", "multigraft"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([*command, "doctor"], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("wrong    numpy: installed but cannot be imported (") and cause in done.stdout
    done = subprocess.run([*command, "doctor", "--json"], capture_output=True, text=True, env=environment, check=False)
    [finding] = json.loads(done.stdout)["findings"]
    assert finding["state"] == "wrong" and cause in finding["said"] + finding["remedy"]
    done = subprocess.run([*command, "bench", "a.graft"], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2 and cause in done.stderr


def test_names_of_sensors_may_be_in_any_encoding(tmp_path: Path) -> None:
    chip = tmp_path / "class" / "hwmon" / "hwmon0"
    chip.mkdir(parents=True)
    (chip / "name").write_bytes(b"ina3221\n")
    for name, content in (("in1_label", b"VDD \xb5C\xff\n"), ("in1_input", b"5000\n"), ("curr1_input", b"100\n")):
        (chip / name).write_bytes(content)
    meter, why = HwmonMeter.find(tmp_path)
    assert meter is not None and why == "" and meter.rails == ("VDD \ufffdC\ufffd",)
    (chip / "in1_input").write_bytes(b"\xb2\xff")
    assert "gives no reading" in HwmonMeter.find(tmp_path)[1]
    assert read_text(chip / "in1_input") == "\ufffd\ufffd"
