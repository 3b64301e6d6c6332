"""Every kind of image file that counts as one is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multigraft.devices.cameras.image_folder import SUFFIXES, ImageFolder

LOSSY = {".jpg", ".jpeg"}
PICTURE = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_suffix_is_read_by_a_process_that_read_nothing_before(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    image = Image.fromarray(PICTURE if suffix != ".pgm" else PICTURE[:, :, 0])
    if suffix == ".webp":
        image.save(path, lossless=True)
    else:
        image.save(path)
    expected = np.asarray(Image.open(path).convert("RGB")) if suffix == ".gif" else PICTURE
    program = (
        "import sys, numpy; from multigraft.devices.cameras.image_folder import ImageFolder\n"
        "with ImageFolder(sys.argv[1]) as folder: numpy.save(sys.argv[2], next(iter(folder)))"
    )
    subprocess.run([sys.executable, "-c", program, str(path), str(tmp_path / "frame.npy")], check=True)
    frame = np.load(tmp_path / "frame.npy")
    if suffix == ".pgm":
        np.testing.assert_array_equal(frame, PICTURE[:, :, 0])
    elif suffix in LOSSY:
        assert frame.shape == PICTURE.shape
    else:
        np.testing.assert_array_equal(frame, expected)


def test_a_picture_of_two_pictures_is_its_first(tmp_path: Path) -> None:
    """Cameras with two lenses write MPO: JPEG files one behind the other."""
    first, second = (Image.fromarray(np.full((16, 16, 3), value, np.uint8)) for value in (200, 20))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    with ImageFolder(tmp_path) as folder:
        (frame,) = folder
    assert abs(int(frame.mean()) - 200) < 3
