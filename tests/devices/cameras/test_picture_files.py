"""Pictures as people have them: of 16 and 32 bits, beside a Mac's files, alone in an array, or not to be read."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from multigraft.devices.cameras.array_file import ArrayFile
from multigraft.devices.cameras.image_folder import ImageFolder, read_image
from multigraft.devices.cameras.sources import open_source
from multigraft.errors import InputError

RAMP = np.linspace(0, 1, 64).reshape(8, 8)
NOBODY = 65534


@pytest.mark.parametrize(
    ("pixels", "suffix"),
    [
        ((RAMP * 65535).astype(np.uint16), ".png"),
        ((RAMP * 65535).astype(np.uint16), ".tif"),
        ((RAMP * 65535).astype(np.int32), ".tif"),
        ((RAMP * (2**31 - 1)).astype(np.int32), ".tif"),
        ((RAMP * 255).astype(np.int32), ".tif"),
        (RAMP.astype(np.float32), ".tif"),
        ((RAMP * 255).astype(np.float32), ".tif"),
        ((RAMP * 65535).astype(np.float32), ".tif"),
    ],
)
def test_images_of_16_and_32_bits_are_scaled(pixels: npt.NDArray[np.generic], suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture{suffix}"
    Image.fromarray(pixels).save(path)
    frame = read_image(path)
    assert frame.dtype == np.uint8
    np.testing.assert_allclose(frame, RAMP * 255, atol=1)


def test_a_floating_picture_with_holes_is_read(tmp_path: Path) -> None:
    pixels = RAMP.astype(np.float32)
    pixels[0, :3] = (np.nan, np.inf, -5)
    Image.fromarray(pixels).save(tmp_path / "p.tif")
    frame = read_image(tmp_path / "p.tif")
    assert frame[0, :3].tolist() == [0, 0, 0] and frame[7, 7] == 255


def test_a_macs_files_are_left_out_and_counted(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "name.png")
    (tmp_path / "._name.png").write_bytes(b"\x00\x05\x16\x07 no picture")
    source = ImageFolder(tmp_path)
    assert (len(source), source.skipped) == (1, 1)
    assert "without 1 of a Mac's ._ files" in source.name
    assert [frame.shape for frame in source] == [(4, 4, 3)]


@pytest.mark.parametrize("shape", [(12, 16, 3), (12, 16)])
def test_an_array_of_one_picture_is_one_frame(shape: tuple[int, ...], tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.save(tmp_path / "one.npy", picture)
    (frame,) = ArrayFile(tmp_path / "one.npy")
    np.testing.assert_array_equal(frame, picture)


@pytest.mark.parametrize("kind", ["image", "array", "folder", "inside"])
def test_what_may_not_be_read_is_named_with_its_permission(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    image, array = folder / "a.png", folder / "a.npy"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(image)
    np.save(array, np.zeros((4, 4, 3), np.uint8))
    path = {"image": image, "array": array, "folder": folder, "inside": image}[kind]
    locked = folder if kind == "inside" else path
    for parent in (tmp_path, *tmp_path.parents):
        if parent.is_relative_to(tempfile.gettempdir()) and parent != Path(tempfile.gettempdir()):
            parent.chmod(0o755)
    locked.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        with (
            pytest.raises(InputError, match="cannot be read: Permission denied") as caught,
            open_source(str(path)) as s,
        ):
            list(s)
    finally:
        if is_root:
            os.seteuid(0)
        locked.chmod(0o755)
    assert str(path) in str(caught.value)
    assert kind == "inside" or "---------, owned by user" in str(caught.value)
