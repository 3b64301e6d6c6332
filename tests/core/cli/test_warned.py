"""What a user's own files are warned of, through the command: each warning once, by its task and its remedy."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from multigraft.cli.main import main
from tests.converters.graft.networks import residual_network

SETTINGS = """frames = "{frames}"
[[task]]
name = "digit"
model = "digit.onnx"
kind = "{kind}"
labels = {labels}
[task.preprocessing]
size = [8, 8]
color = "grey"
mean = {mean}
scale = {scale}
"""
NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network, labels with a byte-order mark, and pictures of 16 bits beside a Mac's files."""
    monkeypatch.chdir(tmp_path)
    onnx.save(residual_network("digit", 1).model, tmp_path / "digit.onnx")
    (tmp_path / "labels.txt").write_text("zéro\none\ntwo\n", "utf-8-sig")
    rng = np.random.default_rng(0)
    (tmp_path / "frames").mkdir()
    for number in range(96):
        Image.fromarray(rng.integers(0, 65536, (8, 8), dtype=np.uint16)).save(tmp_path / "frames" / f"{number}.png")
        (tmp_path / "frames" / f"._{number}.png").write_bytes(b"\x00\x05\x16\x07")
    return tmp_path


def graft(folder: Path, capfd: pytest.CaptureFixture[str], **keys: str) -> tuple[int, list[str]]:
    """Exit code and what was said, line by line; the settings begin with a byte-order mark."""
    values = {"frames": "frames", "kind": "classification", "labels": '"labels.txt"', "mean": "0", "scale": "0.00392"}
    (folder / "multigraft.toml").write_text(SETTINGS.format(**{**values, **keys}), "utf-8-sig")
    code = main(["graft", "multigraft.toml", "-o", "out.onnx"])
    return code, capfd.readouterr().err.splitlines()


def test_files_as_people_have_them_are_taken(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, said = graft(folder, capfd)
    assert code == 0 and not any(line.startswith("warning") for line in said)
    assert sum("96 of a Mac's ._ files" in line for line in said) == 1


def test_mean_and_scale_in_units_of_one_are_warned_of(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, said = graft(folder, capfd, mean="0.485", scale="4.367")
    warnings = [line for line in said if line.startswith("warning: ")]
    assert code == 0 and len(warnings) == 1 and "the inputs of digit reach 1,111" in warnings[0]


def test_labels_of_another_number_are_refused_or_warned_of(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, said = graft(folder, capfd, labels='["zero", "one"]')
    assert code == 2 and "task 'digit' has 2 labels, and its network has 3 outputs" in said[-1]
    code, said = graft(folder, capfd, kind="segmentation", labels='["a", "b"]')
    assert "warning: digit has 2 labels, and its output is 3" in said


def test_pictures_of_16_bits_are_neither_black_nor_white(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for path in (folder / "frames").glob("[0-9]*.png"):
        Image.fromarray(np.full((8, 8), 30_000, np.uint16)).save(path)
    _, said = graft(folder, capfd)
    assert "warning: all frames of digit are of one brightness (117 of 255)" in said


def test_an_array_of_one_picture_is_one_frame_and_too_few(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    np.save("one.npy", np.zeros((8, 8, 3), np.uint8))
    code, said = graft(folder, capfd, frames="one.npy")
    assert code == 2 and "1 frame" in said[-1]


@pytest.fixture
def nobody(tmp_path: Path) -> Iterator[None]:
    """Run as a user whom permissions bind."""
    for parent in (tmp_path, *tmp_path.parents):
        if parent.is_relative_to(tempfile.gettempdir()) and parent != Path(tempfile.gettempdir()):
            parent.chmod(0o755)
    tmp_path.chmod(0o777)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    yield
    if is_root:
        os.seteuid(0)


@pytest.mark.parametrize("name", ["digit.onnx", "labels.txt", "frames", "frames/0.png", "multigraft.toml"])
def test_what_may_not_be_read_is_named_with_its_permissions(
    name: str, folder: Path, capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    graft(folder, capfd)
    (folder / name).chmod(0)
    request.getfixturevalue("nobody")
    code = main(["graft", "multigraft.toml", "-o", "out.onnx"])
    said = capfd.readouterr().err.splitlines()[-1]
    assert code in (2, 78) and name in said and "Permission denied (" in said and "---------, owned by user" in said
