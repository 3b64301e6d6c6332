"""Updates of a board with two slots: cut off anywhere, it boots; on the host at every point, in QEMU at some."""

from __future__ import annotations

import os
import random
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from multigraft.cli.shared.board_options import EMULATED_TIMEOUT_S
from multigraft.devices.target.board_updater import BoardUpdater
from multigraft.devices.target.image_info import ImageInfo
from multigraft.devices.target.serial_link import SerialLink
from multigraft.devices.target.target import Target
from multigraft.errors import DeviceError, InputError
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.qemu import EmulatedBoard, slot_options, write_flash
from multigraft.firmware_gen.boards.update_slots import slot_contents
from multigraft.serial_protocol import Kind
from tests.firmware_gen import tiny_model
from tests.firmware_gen.boards.test_boards import needs_tools
from tests.firmware_gen.host import gcc
from tests.firmware_gen.project.test_serial_fuzz import HERE, SANITIZED

BOARD = BOARDS["qemu-virt-rv32-slots"]
assert BOARD.slots is not None
SLOTS = BOARD.slots
Images = tuple[Path, bytes, bytes]
KILLS = int(os.environ.get("MULTIGRAFT_UPDATE_KILLS", "3"))
"""200 take some minutes."""


PLACES = {"a header alone in its sector": 256, "a header in front of the image": 64}


def simulated(folder: Path, header: int) -> Path:
    """The updater on a simulated flash of two slots of 2 KiB."""
    tiny_model.write_project(BOARD, folder)
    config = folder / "target/board_config.h"
    lines = [line for line in config.read_text().splitlines() if not line.startswith("#define SLOT_")]
    small = {"SLOT_STARTS": "{0u, 2048u}", "SLOT_BYTES": "2048u", "SLOT_HEADER_BYTES": f"{header}u"}
    lines[2:2] = [f"#define {name} {value}" for name, value in small.items()]
    config.write_text("\n".join(lines) + "\n")
    sources = [str(HERE / "simulate_update.c"), "target/update.c", "target/slots.c", "target/frames.c"]
    return gcc(folder, folder / "simulate", *SANITIZED, "-Itarget", *sources)


@pytest.mark.parametrize("header", PLACES.values(), ids=PLACES)
def test_an_update_cut_off_at_any_operation_leaves_a_whole_image(header: int, tmp_path: Path) -> None:
    program = simulated(tmp_path, header)
    for seed, length in enumerate((33, 255, 1001)):
        done = subprocess.run([str(program), str(seed), str(length)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (length, done.stdout, done.stderr)
        points, old, again = map(int, done.stdout.split())
        assert points >= 2 * (length // 4 + 5)
        # Only the last word of the header may make the new image run, torn as it is.
        assert points - 1 <= old <= points
        assert again >= points + 300


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
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
    """A board whose flash outlives its emulator."""

    def __init__(self, folder: Path, images: Images) -> None:
        pytest.importorskip("serial")
        self.boot = images[0]
        self.flash = folder / "flash.bin"
        write_flash(BOARD, images[1], self.flash)

    def started(self) -> EmulatedBoard:
        return EmulatedBoard(BOARD, None, slot_options(self.boot, self.flash))


def patient(link: SerialLink) -> Target:
    """Other tests may keep the machine busy."""
    return Target(link, timeout_s=EMULATED_TIMEOUT_S)


def version_of(target: Target) -> int:
    """0 for the first image, 1 for the second."""
    frame = np.zeros((1, 4, 4, 1), np.int8)
    answer = target.infer({"frame": frame}, ["mean"]).outputs["sum"].ravel()
    assert set(answer) in ({0}, {1})
    return int(answer[0])


@needs_tools
def test_an_update_runs_from_the_next_start_on(images: Images, tmp_path: Path) -> None:
    device = Device(tmp_path, images)
    _, first, second = images
    seen: list[float] = []
    with device.started() as emulated, SerialLink(emulated.port) as link:
        emulated.resume()
        target = patient(link)
        assert target.info.takes_updates
        assert version_of(target) == 0
        updater = BoardUpdater(target)
        assert updater.slots().running == 0
        assert updater.runs([first])
        assert not updater.runs([second])
        assert updater.update([second], lambda done, total: seen.append(done / total)) == 1
        assert seen == sorted(seen)
        assert seen[-1] == 1.0
        assert version_of(target) == 0
        target.reset()
        assert version_of(target) == 1
        assert updater.runs([second])
        assert updater.update([first]) == 0
        target.reset()
        assert version_of(target) == 0
        too_large = bytes(SLOTS.size) + ImageInfo.of(first).packed()
        with pytest.raises(DeviceError, match=r"is \d+ bytes larger than a slot"):
            updater.update([too_large])
        with pytest.raises(DeviceError, match="refused the image"):
            target._requests.send(Kind.UPDATE_COMMIT)
        target.reset()
        assert version_of(target) == 0


def update_killed_after(device: Device, image: bytes, bytes_written: int) -> None:
    """Start the device and an update, and cut the power once so much is written; nothing is committed."""
    with device.started() as emulated, SerialLink(emulated.port) as link:
        emulated.resume()

        def progress(done: int, total: int) -> None:
            if done >= bytes_written:
                emulated.kill()

        with pytest.raises(DeviceError):
            BoardUpdater(patient(link)).update([image], progress)


def running_version(device: Device) -> int:
    """What a device answers after a start."""
    with device.started() as emulated, SerialLink(emulated.port) as link:
        emulated.resume()
        return version_of(patient(link))


@needs_tools
def test_a_device_killed_before_the_commit_runs_what_it_ran(images: Images, tmp_path: Path) -> None:
    device, update = Device(tmp_path, images), images[2]
    for bytes_written in (1, len(update) // 2, len(update)):
        before = device.flash.read_bytes()
        update_killed_after(device, update, bytes_written)
        assert device.flash.read_bytes() != before
        assert running_version(device) == 0


@needs_tools
def test_a_device_killed_after_the_commit_runs_the_update(images: Images, tmp_path: Path) -> None:
    device = Device(tmp_path, images)
    with device.started() as emulated, SerialLink(emulated.port) as link:
        emulated.resume()
        assert BoardUpdater(patient(link)).update([images[2]]) == 1
        emulated.kill()
    assert running_version(device) == 1


@needs_tools
def test_a_device_killed_at_any_moment_of_an_update_takes_the_next_one(images: Images, tmp_path: Path) -> None:
    device = Device(tmp_path, images)
    chance = random.Random(4)
    running = 0
    for _ in range(KILLS):
        committed = False
        with device.started() as emulated, SerialLink(emulated.port) as link:
            emulated.resume()
            target = patient(link)
            assert version_of(target) == running
            last = chance.randrange(len(images[1]))
            timers: list[threading.Timer] = []

            def progress(
                done: int,
                total: int,
                last: int = last,
                timers: list[threading.Timer] = timers,
                board: EmulatedBoard = emulated,
            ) -> None:
                if done >= last and not timers:
                    timers.append(threading.Timer(chance.random() * 0.02, board.kill))
                    timers[0].start()

            try:
                BoardUpdater(target).update([images[1:][1 - running]], progress)
                committed = True
            except DeviceError:
                pass
            for timer in timers:
                timer.join()
        version = running_version(device)
        # What was confirmed runs; what was cut off may have been complete, and is whole in either case.
        assert version == 1 - running if committed else version in (0, 1)
        running = version
    with device.started() as emulated, SerialLink(emulated.port) as link:
        emulated.resume()
        BoardUpdater(patient(link)).update([images[1:][1 - running]])
    assert running_version(device) == 1 - running


def test_an_image_larger_than_a_slot_says_by_how_much() -> None:
    with pytest.raises(InputError, match="is 5 bytes larger than a slot"):
        slot_contents(SLOTS, bytes(SLOTS.size - SLOTS.header + 5))
