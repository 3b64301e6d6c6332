"""Updates of a board with two slots: cut off anywhere, it boots; on the host at every point, in QEMU at random ones."""

import os
import random
import subprocess
import threading

import numpy as np
import pytest

from multigraft.devices.target.serial_link import SerialLink
from multigraft.devices.target.target import Target
from multigraft.errors import DeviceError, InputError
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.qemu import EmulatedBoard, slot_options, write_flash
from multigraft.firmware_gen.boards.update_slots import slot_contents
from tests.firmware_gen import tiny_model
from tests.firmware_gen.boards.test_boards import needs_tools
from tests.firmware_gen.host import gcc
from tests.firmware_gen.project.test_serial_fuzz import HERE, SANITIZED

BOARD = BOARDS["qemu-virt-rv32-slots"]
KILLS = int(os.environ.get("MULTIGRAFT_UPDATE_KILLS", "6"))
"""200 take some minutes."""


def test_an_update_cut_off_at_any_operation_leaves_a_whole_image(tmp_path):
    tiny_model.write_project(BOARD, tmp_path)
    config = tmp_path / "target/board_config.h"
    small = config.read_text().replace(f"{BOARD.slots.size}u", "2048u").replace(f"{BOARD.slots.sector}u", "256u")
    config.write_text(small)
    sources = [str(HERE / "simulate_update.c"), "target/update.c", "target/slots.c", "target/frames.c"]
    program = gcc(tmp_path, tmp_path / "simulate", *SANITIZED, "-Itarget", *sources)
    for seed, length in enumerate((1, 4, 255, 256, 1001, 1792)):
        done = subprocess.run([str(program), str(seed), str(length)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (length, done.stdout, done.stderr)
        points, old = map(int, done.stdout.split())
        assert points >= 2 * (length // 4 + 5)
        assert old >= points - 2


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Boot loader, and two images that differ in what they answer."""
    folder = tmp_path_factory.mktemp("slots")
    tiny_model.build(BOARD, folder)
    first = (folder / "build/frames/firmware.bin").read_bytes()
    source = folder / "src/model.c"
    source.write_text(source.read_text().replace("x[12]) / 4)", "x[12]) / 4 + 1)"))
    tiny_model.make(folder)
    second = (folder / "build/frames/firmware.bin").read_bytes()
    assert first != second
    return folder / "build/boot.elf", first, second


class Device:
    def __init__(self, folder, images):
        pytest.importorskip("serial")
        self.boot = images[0]
        self.flash = folder / "flash.bin"
        write_flash(BOARD, images[1], self.flash)

    def started(self):
        return EmulatedBoard(BOARD, None, slot_options(self.boot, self.flash))


def version_of(target):
    """0 for the first image, 1 for the second."""
    frame = np.zeros((1, 4, 4, 1), np.int8)
    answer = target.infer({"frame": frame}, ["mean"]).outputs["sum"].ravel()
    assert set(answer) in ({0}, {1})
    return int(answer[0])


@needs_tools
def test_an_update_runs_from_the_next_start_on(images, tmp_path):
    device = Device(tmp_path, images)
    _, first, second = images
    seen = []
    with device.started() as emulated, SerialLink(emulated.port) as link:
        emulated.resume()
        target = Target(link)
        assert target.info.takes_updates
        assert version_of(target) == 0
        assert target.update(second, lambda done, total: seen.append(done / total)) == 1
        assert seen == sorted(seen)
        assert seen[-1] == 1.0
        assert version_of(target) == 0
        target.reset()
        assert version_of(target) == 1
        assert target.update(first) == 0
        target.reset()
        assert version_of(target) == 0
        with pytest.raises(DeviceError, match="refused the image"):
            target.update(b"\0" * (BOARD.slots.size + 1))
        with pytest.raises(DeviceError, match="refused the image"):
            target._request(0x12)
        target.reset()
        assert version_of(target) == 0


@needs_tools
def test_a_device_killed_during_updates_boots_every_time(images, tmp_path):
    device = Device(tmp_path, images)
    chance = random.Random(4)
    pieces = -(-len(images[1]) // 236)
    running, changes = 0, 0
    for _ in range(KILLS):
        with device.started() as emulated, SerialLink(emulated.port) as link:
            emulated.resume()
            target = Target(link)
            version = version_of(target)
            changes += version != running
            running = version
            # By number of pieces, then somewhere within what the device does next, commit included.
            last = chance.randrange(pieces + 1)
            seen = []

            def progress(done, total, last=last, seen=seen, emulated=emulated):
                seen.append(done)
                if len(seen) == last or (last == pieces and done == total):
                    threading.Timer(chance.random() * 0.02, emulated.kill).start()

            if last == 0:
                threading.Timer(chance.random() * 0.1, emulated.kill).start()
            try:
                target.update(images[2 - running], progress)
                emulated.kill()
            except DeviceError:
                pass
    with device.started() as emulated, SerialLink(emulated.port) as link:
        emulated.resume()
        assert version_of(Target(link)) in (0, 1)


def test_an_image_larger_than_a_slot_says_by_how_much():
    with pytest.raises(InputError, match="is 5 bytes larger than a slot"):
        slot_contents(BOARD.slots, bytes(BOARD.slots.size - BOARD.slots.sector + 5))
