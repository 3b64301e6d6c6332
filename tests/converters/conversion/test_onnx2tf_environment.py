"""The environment of onnx2tf, proven with a real virtual environment, real pip, and a wheel made here."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from multigraft.converters.conversion import onnx2tf_environment as environments
from multigraft.errors import ConversionError, UsageError

PINS = ("tinytool==1.2.3",)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes as its only index, with one wheel in it."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tinytool-1.2.3-py3-none-any.whl", "w") as wheel:
        info = "tinytool-1.2.3.dist-info"
        wheel.writestr("tinytool.py", "answer = 42\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinytool\nVersion: 1.2.3\n")
        tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{info}/WHEEL", tags)
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def make(cache: Path, lines: list[str] | None = None) -> environments.Environment:
    report = lines.append if lines is not None else lambda line: None
    return environments._ensure(cache, PINS, report, package="tinytool")


def test_it_is_made_once_works_offline_after_and_an_unfinished_one_is_made_again(tmp_path: Path, index: Path) -> None:
    cache = tmp_path / "a folder" / "cache"
    lines: list[str] = []
    made = make(cache, lines)
    assert made.version == "1.2.3"
    assert any("tinytool==1.2.3" in line for line in lines)
    run = subprocess.run(
        [made.python, "-c", "import tinytool; print(tinytool.answer)"],
        env=made.variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "42"

    (index / "tinytool-1.2.3-py3-none-any.whl").rename(tmp_path / "gone")
    lines.clear()
    assert make(cache, lines) == made and not lines

    (made.python.parent.parent / "multigraft-ready.json").unlink()
    with pytest.raises(ConversionError, match="connect to a package index once"):
        make(cache, lines)
    log = next(cache.glob("*.log"))
    assert "tinytool" in log.read_text()

    (tmp_path / "gone").rename(index / "tinytool-1.2.3-py3-none-any.whl")
    assert make(cache) == made
    assert not list(cache.glob("*.log"))


def test_two_processes_at_once_make_one_environment(tmp_path: Path, index: Path) -> None:
    code = (
        "import pathlib, sys; from multigraft.converters.conversion import onnx2tf_environment as e; "
        f"print(e._ensure(pathlib.Path(sys.argv[1]), {PINS!r}, print, package='tinytool').python)"
    )
    cache = tmp_path / "cache"
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(cache)], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [run.communicate()[0].splitlines() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert outputs[0][-1] == outputs[1][-1]
    made = [lines for lines in outputs if any(line.startswith("making") for line in lines)]
    assert len(made) == 1


def test_a_configured_python_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(environments.PYTHON_VARIABLE, str(tmp_path / "no" / "python"))
    with pytest.raises(UsageError, match=r"MULTIGRAFT_ONNX2TF.*no/python"):
        environments.ensure()
    monkeypatch.setenv(environments.PYTHON_VARIABLE, sys.executable)
    with pytest.raises(UsageError, match="is not a Python with onnx2tf"):
        environments.ensure()


def test_a_cache_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.delenv(environments.PYTHON_VARIABLE, raising=False)
    monkeypatch.setenv(environments.CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    with pytest.raises(UsageError, match="MULTIGRAFT_CACHE"):
        environments.ensure()


def test_pins_name_onnx2tf_for_every_python() -> None:
    for pins, version in ((environments.PINS_1_29, "1.29.24"), (environments.PINS_2_6, "2.6.9")):
        assert f"onnx2tf=={version}" in pins
        assert all(pin.count("==") == 1 for pin in pins)
