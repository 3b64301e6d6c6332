"""What ``--weights``, ``--precision mixed`` and ``--min-agreement`` mean, and what contradicts them."""

from __future__ import annotations

from pathlib import Path

import pytest

from multigraft.cli.main import main
from multigraft.cli.shared.settings_options import of_precision
from multigraft.runtime.delegate import library

SETTINGS = """
frames = "frames"
[[task]]
name = "kind"
model = "kind.onnx"
kind = "classification"
preprocessing = { size = [12, 12], mean = 0, scale = 1 }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "frames").mkdir()
    (tmp_path / "kind.onnx").write_bytes(b"none")
    (tmp_path / "multigraft.toml").write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_mixed_is_int8_with_the_choice_of_few_bits() -> None:
    assert of_precision("mixed", None) == ("int8", "auto")
    assert of_precision("mixed", "2bit") == ("int8", "2bit")
    assert of_precision("mixed", "auto-1bit") == ("int8", "auto-1bit")
    assert of_precision("float32", None) == ("float32", None)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--weights", "2bit", "--precision", "float32"], "contradicts precision"),
        (["--weights", "1bit", "--precision", "dynamic"], "contradicts precision"),
        (["--min-agreement", "1.5"], "--min-agreement is 1.5"),
    ],
)
def test_contradictions_are_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], asked: list[str], said: str
) -> None:
    assert main(["build", "multigraft.toml", *asked]) in (2, 78)
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error


def test_convert_refuses_them_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = folder / "multigraft.toml"
    settings.write_text(SETTINGS + '[convert]\nweights = "2bit"\nprecision = "dynamic"\n')
    assert main(["build", "multigraft.toml"]) == 78
    assert "convert.weights is '2bit'" in capsys.readouterr().err


def test_a_build_without_the_delegate_ends_before_any_work(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "_LIBRARY", "not_compiled.so")
    assert main(["build", "multigraft.toml", "--precision", "mixed", "--weights", "auto-1bit"]) != 0
    error = capsys.readouterr().err
    assert "not part of this installation" in error and "Traceback" not in error
