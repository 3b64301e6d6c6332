"""Updates of an STM32F4 by its own flash driver, in Unicorn; many cuts: python -m tests.firmware_gen.slots.campaign."""

from __future__ import annotations

import random
import zlib
from pathlib import Path

import pytest

from multigraft import serial_protocol as protocol
from multigraft.cli.shared.board_options import EMULATED_TIMEOUT_S
from multigraft.devices.target.board_updater import BoardUpdater
from multigraft.devices.target.image_info import ImageInfo
from multigraft.devices.target.target import Target
from multigraft.devices.target.terminal_link import TerminalLink
from multigraft.errors import DeviceError
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.serial_protocol import Kind
from tests.firmware_gen.boards.test_boards import needs_tools
from tests.firmware_gen.slots.campaign import Built, Campaign, built, connected, factory_fresh, version_of
from tests.firmware_gen.slots.flash_controller import PowerFailureError, sectors

pytestmark = needs_tools
BOARD = BOARDS["netduinoplus2-slots"]
CUTS = 8
"""200 take a minute of a processor."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stm32f4")


@pytest.fixture(scope="module")
def made(folder: Path) -> Built:
    return built(BOARD, folder)


def test_an_update_runs_from_the_next_start_on_and_erases_no_more_than_it_needs(made: Built) -> None:
    machine = factory_fresh(BOARD, made)
    target, _ = connected(machine)
    updater = BoardUpdater(target)
    first, second = made.programs
    assert updater.runs(first)
    assert updater.slots().run_address == 0x0808_0200
    assert version_of(target) == 0
    for slot, program, version in ((1, second, 1), (0, first, 0), (1, second, 1)):
        assert updater.update(program) == slot
        assert version_of(target) == 1 - version
        target.reset()
        assert version_of(target) == version
        assert updater.runs(program)
        assert target.reset_reason().reason == protocol.ResetReason.SOFTWARE
    assert machine.flash.faults == []
    # An image of 7 KB takes one sector of either slot: number 1 has 16 KiB, number 8 has 128.
    assert machine.flash.erases == {8: 2, 1: 1}


def test_an_image_that_gives_way_at_the_next_start_is_written_again(made: Built) -> None:
    """An update was committed, and its board not started again: what runs is not what will run."""
    machine = factory_fresh(BOARD, made)
    target, _ = connected(machine)
    updater = BoardUpdater(target)
    first, second = made.programs
    assert updater.update(second) == 1
    assert version_of(target) == 0
    assert updater.slots().running == 0
    assert not updater.runs(first)
    assert updater.update(first) == 1
    machine.start()
    target, _ = connected(machine)
    assert version_of(target) == 0
    assert BoardUpdater(target).slots().running == 1
    assert machine.flash.faults == []


def test_updates_cut_off_anywhere_leave_the_old_or_the_new_image(made: Built) -> None:
    campaign = Campaign(BOARD, made, seed=7)
    for _ in range(CUTS):
        campaign.cut()
    assert campaign.seen["the old image ran afterwards"] > 0
    assert campaign.seen["at an instruction"] + campaign.seen["in an operation of the flash"] >= CUTS


def test_a_header_that_was_cut_off_is_firm_before_the_other_slot_goes(made: Built) -> None:
    """Many failures in the last word of a header, each followed by one soon after the next update has begun."""
    late = 0
    for seed in range(12):
        machine = factory_fresh(BOARD, made, seed)
        image = made.programs[1][1]
        machine.flash.fails_at = 5 + 1 + -(-len(image) // 4) + 4
        with pytest.raises(DeviceError, match="power failed"):
            BoardUpdater(connected(machine)[0]).update(made.programs[1])
        machine.start()
        target, _ = connected(machine)
        running = version_of(target)
        late += running
        machine.flash.fails_at = machine.flash.operations + random.Random(seed).randrange(5, 40)
        with pytest.raises(DeviceError, match="power failed"):
            BoardUpdater(target).update(made.programs[1 - running])
        for _ in range(3):
            machine.start()
            assert version_of(connected(machine)[0]) == running
        assert machine.flash.faults == []
    assert late > 0


def begin(target: Target, image: bytes, length: int | None = None, crc: int | None = None) -> None:
    info = protocol.IMAGE_INFO.unpack(image[-protocol.IMAGE_INFO.size :])
    length, crc = len(image) if length is None else length, zlib.crc32(image) if crc is None else crc
    target.requests.send(Kind.UPDATE_BEGIN, protocol.UPDATE_BEGIN_REQUEST.pack(length, crc, *info))


def write(target: Target, image: bytes) -> None:
    for offset in range(0, len(image), 236):
        request = protocol.UPDATE_WRITE_REQUEST.pack(offset) + image[offset : offset + 236]
        target.requests.send(Kind.UPDATE_WRITE, request)


def test_what_is_no_image_for_the_free_slot_is_refused_by_the_board_before_anything_is_erased(made: Built) -> None:
    machine = factory_fresh(BOARD, made)
    target, _ = connected(machine)
    first, second = made.programs[1]
    other = second[:-32] + ImageInfo(0x0808_0200, "nucleo-f446re-slots").packed()
    room = BoardUpdater(target).slots().room_bytes
    for image, length, says in (
        (first, None, "of another board or slot"),
        (other, None, "of another board or slot"),
        (bytes(len(second)), None, "of another board or slot"),
        (second, room + 1, "too large"),
        (second, 2**32 - 1, "too large"),
        (second, 31, "too large, incomplete"),
        (second, 0, "too large, incomplete"),
    ):
        with pytest.raises(DeviceError, match=says):
            begin(target, image, length)
        with pytest.raises(DeviceError, match="asked for what it does not have"):
            write(target, second)
        with pytest.raises(DeviceError, match="refused the image"):
            target.requests.send(Kind.UPDATE_COMMIT)
    assert machine.flash.operations == 0


def test_what_is_not_what_was_announced_never_runs(made: Built) -> None:
    machine = factory_fresh(BOARD, made)
    target, _ = connected(machine)
    second = made.programs[1][1]
    begin(target, second, crc=1)
    write(target, second)
    with pytest.raises(DeviceError, match="with a wrong CRC"):
        target.requests.send(Kind.UPDATE_COMMIT)
    begin(target, second)
    write(target, second[:472])
    with pytest.raises(DeviceError, match="asked for what it does not have"):
        target.requests.send(Kind.UPDATE_WRITE, protocol.UPDATE_WRITE_REQUEST.pack(0) + bytes(8))
    with pytest.raises(DeviceError, match="incomplete"):
        target.requests.send(Kind.UPDATE_COMMIT)
    # Announced as for this slot, but it says at its end that it is none.
    lying = second[:-32] + ImageInfo(0x0800_4200, BOARD.name).packed()
    info = protocol.IMAGE_INFO.unpack(second[-32:])
    request = protocol.UPDATE_BEGIN_REQUEST.pack(len(lying), zlib.crc32(lying), *info)
    target.requests.send(Kind.UPDATE_BEGIN, request)
    write(target, lying)
    with pytest.raises(DeviceError, match="of another board or slot"):
        target.requests.send(Kind.UPDATE_COMMIT)
    machine.start()
    target, _ = connected(machine)
    assert version_of(target) == 0
    begin(target, second)
    write(target, second[:236])
    begin(target, second)
    write(target, second)
    target.requests.send(Kind.UPDATE_COMMIT)
    target.reset()
    assert version_of(target) == 1
    assert machine.flash.faults == []


def test_a_flash_that_is_not_written_is_noticed(made: Built) -> None:
    machine = factory_fresh(BOARD, made)
    target, _ = connected(machine)
    machine.flash.protected = {8}
    with pytest.raises(DeviceError, match="could not write its flash; start the update again"):
        BoardUpdater(target).update(made.programs[1])
    machine.flash.protected = set()
    assert BoardUpdater(target).update(made.programs[1]) == 1
    machine.start()
    assert version_of(connected(machine)[0]) == 1


def test_a_board_without_a_whole_image_says_so(made: Built) -> None:
    machine = factory_fresh(BOARD, made)
    machine.flash.words[(0x4200 + 100) // 4] ^= 1
    machine.start()
    machine.cut_after = 1_000_000
    with pytest.raises(PowerFailureError):
        machine.run()
    assert machine.sent == b"no image in either slot\r\n"


def test_qemu_runs_the_first_slot_and_refuses_an_update_which_takes_a_flash_controller(
    made: Built, folder: Path
) -> None:
    with EmulatedBoard(BOARD, folder / "build/frames/firmware.elf") as emulated, TerminalLink(emulated.port) as link:
        emulated.resume()
        target = Target(link, timeout_s=EMULATED_TIMEOUT_S)
        assert version_of(target) == 1
        with pytest.raises(DeviceError, match="could not write its flash"):
            BoardUpdater(target).update(made.programs[0])
        assert version_of(target) == 1


def test_sectors_add_up_to_the_flash() -> None:
    for name, size in (("nucleo-f446re-slots", 512 << 10), ("netduinoplus2-slots", 1 << 20)):
        slots = BOARDS[name].slots
        assert slots is not None
        layout = sectors(size)
        assert sum(count for _, count in layout) == size
        starts = {slots.base + start for start, _ in layout}
        assert set(slots.starts) < starts
        assert slots.starts[0] + slots.size <= slots.starts[1]
        assert slots.starts[1] + slots.size <= slots.base + size
        assert slots.starts[0] >= slots.boot[0].start + slots.boot[0].size
