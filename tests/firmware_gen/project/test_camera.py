"""Pictures of a camera that a board's firmware defines, fetched from machine code in QEMU over its serial port."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator

import numpy as np
import pytest

from multigraft.devices.cameras.serial_camera import SerialCamera
from multigraft.devices.target.serial_link import SerialLink
from multigraft.errors import DeviceError
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.boards.toolchain import APT_PACKAGES
from tests.firmware_gen import tiny_model

CAMERA = """
#include "app.h"

static uint8_t pixels[20 * 31 * 3];
static uint32_t taken;

int mg_camera_frame(mg_picture *picture) {
    if (taken == 3) {
        return -1;
    }
    taken++;
    for (uint32_t i = 0; i < sizeof pixels; i++) {
        pixels[i] = (uint8_t)(i * taken);
    }
    picture->pixels = pixels;
    picture->height = 20;
    picture->width = 31;
    picture->channels = 3;
    return 0;
}
"""


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SerialCamera]:
    if not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")):
        pytest.skip(f"firmware tools: install {' '.join(APT_PACKAGES)}")
    folder, board = tmp_path_factory.mktemp("camera"), BOARDS["mps2-an386"]
    tiny_model.write_project(board, folder)
    (folder / "src/camera.c").write_text(CAMERA)
    tiny_model.make(folder)
    with EmulatedBoard(board, folder / "build/frames/firmware.elf") as emulated:
        emulated.resume()
        yield SerialCamera(SerialLink(emulated.port))


def test_pictures_of_a_board_come_whole_and_in_turn_until_its_camera_fails(camera: SerialCamera) -> None:
    counted = np.arange(20 * 31 * 3)
    with camera:
        pictures = list(itertools.islice(camera, 3))
        for number, picture in enumerate(pictures, 1):
            np.testing.assert_array_equal(picture.reshape(-1), (counted * number).astype(np.uint8))
            assert picture.shape == (20, 31, 3)
        with pytest.raises(DeviceError, match="could not take a picture"):
            next(iter(camera))
