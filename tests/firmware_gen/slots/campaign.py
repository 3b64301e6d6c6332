"""Updates of STM32F4 boards that are cut off at random points, in Unicorn:

    python -m tests.firmware_gen.slots.campaign --cuts 200

Every cut is an instruction, or lies in the middle of an operation of the flash. Afterwards the board has to answer as
the old or the new image does, at each of several starts, and to take an update; every second time the power fails again
before that, once or more.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from multigraft.devices.target.board_updater import BoardUpdater
from multigraft.devices.target.target import Target
from multigraft.errors import DeviceError
from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.update_slots import factory_contents
from multigraft.tensors.arrays import Array
from tests.firmware_gen import tiny_model
from tests.firmware_gen.slots.flash_controller import BASE
from tests.firmware_gen.slots.machine import Machine, MachineLink

HEADER_WORDS = 5
STARTS = 3
"""After each cut: what is loose reads anew at each."""


class Built(NamedTuple):
    """Boot loader and two programs, each linked for the first and for the second slot."""

    boot: bytes
    programs: tuple[tuple[bytes, bytes], tuple[bytes, bytes]]


def built(board: Board, folder: Path) -> Built:
    """The programs answer 0 and 1 for a frame of zeros."""
    tiny_model.build(board, folder)
    programs = [_images(folder)]
    source = folder / "src/model.c"
    source.write_text(source.read_text().replace("x[12]) / 4)", "x[12]) / 4 + 1)"))
    tiny_model.make(folder)
    programs.append(_images(folder))
    return Built((folder / "build/boot.bin").read_bytes(), (programs[0], programs[1]))


def _images(folder: Path) -> tuple[bytes, bytes]:
    first, second = ((folder / f"build/frames/{name}.bin").read_bytes() for name in ("firmware", "firmware-second"))
    return first, second


def factory_fresh(board: Board, made: Built, seed: int = 0) -> Machine:
    """A board as its factory leaves it: the first program in the first slot."""
    assert board.slots is not None
    return Machine(board, factory_contents(board.slots, made.boot, made.programs[0][0]), seed)


def connected(machine: Machine) -> tuple[Target, MachineLink]:
    link = MachineLink(machine)
    return Target(link, link.clock), link


def version_of(target: Target) -> int:
    """Which program answers.

    Raises:
        AssertionError: Neither does.
    """
    frame = np.arange(-8, 8, dtype=np.int8).reshape(1, 4, 4, 1)
    mean, slope = tiny_model.reference(frame.ravel())
    outputs = target.infer({"frame": frame}).outputs
    version = int(outputs["sum"].ravel()[0]) - int(mean[0])
    assert version in (0, 1)
    assert np.array_equal(outputs["sum"].ravel(), mean + version)
    assert np.array_equal(outputs["difference"].ravel(), slope)
    return version


def same_at_every_start(machine: Machine) -> int:
    """The program that runs at the last of several starts, each of which has to answer."""
    for _ in range(STARTS):
        machine.start()
        version = version_of(connected(machine)[0])
    return version


class Campaign:
    """Cuts one after the other.

    Args:
        board: With slots, in place.
        made: For it.
        seed: Of all that is drawn.

    Attributes:
        seen: How often the old and the new image ran after a cut, and where the cuts were.
    """

    def __init__(self, board: Board, made: Built, seed: int) -> None:
        assert board.slots is not None
        self._board, self._made, self._slots = board, made, board.slots
        self._chance = random.Random(seed)
        self.machine = factory_fresh(board, made, seed)
        self.seen: Counter[str] = Counter()
        self._running = 0

    def cut(self) -> None:
        """Cut an update off, perhaps the next ones too; then update the board.

        Raises:
            AssertionError: The board does not answer as it has to.
        """
        again = self._chance.random() < 0.5
        while True:
            self._cut_once()
            if not again:
                break
            again = self._chance.random() < 0.3
        target = connected(self.machine)[0]
        wanted = 1 - self._running
        BoardUpdater(target).update(self._made.programs[wanted])
        self.machine.start()
        assert version_of(connected(self.machine)[0]) == wanted
        self._running = wanted
        assert self.machine.flash.faults == []

    def _cut_once(self) -> None:
        """One cut in an update that begins with a start; about one in ten comes before the update."""
        self.machine.start()
        flash = self.machine.flash
        before, operations_before = flash.words.copy(), flash.operations
        wanted, confirmed = 1 - self._running, False
        image = self._made.programs[wanted][0]
        # The running header once more, the first sector, the image and its header; further sectors move them by a few.
        operations = 2 * HEADER_WORDS + 1 + -(-len(image) // 4)
        link = MachineLink(self.machine)
        if self._chance.random() < 0.5:
            where = "in an operation of the flash"
            first = operations - HEADER_WORDS if self._chance.random() < 0.4 else 0
            flash.fails_at = flash.operations + self._chance.randrange(first, operations)
        else:
            where = "at an instruction"
            # Four requests describe the board, two to four are about the update, the others carry the image.
            request, count = self._chance.randrange(len(image) // 236 + 8), int(10 ** self._chance.uniform(0, 5.5))

            def before_request(number: int) -> None:
                if number == request:
                    self.machine.cut_after = count

            link.before_request = before_request
        try:
            BoardUpdater(Target(link, link.clock)).update(self._made.programs[wanted])
            confirmed = True
        except DeviceError:
            assert not self.machine.is_on
        self._running_slot_is_as_before(before, operations_before)
        version = same_at_every_start(self.machine)
        assert version == wanted if confirmed else version in (self._running, wanted)
        self.seen[where] += 1
        self.seen["the new image ran afterwards" if version == wanted else "the old image ran afterwards"] += 1
        self._running = version

    def _running_slot_is_as_before(self, before: Array, operations: int) -> None:
        flash, slots, ran = self.machine.flash, self._slots, self.machine.vectors
        for start in slots.starts:
            if ran == start + slots.header:
                image = slice((ran - BASE) // 4, (start + slots.size - BASE) // 4)
                assert np.array_equal(flash.words[image], before[image])
                break
        else:
            assert flash.operations == operations, "the boot loader wrote the flash"
        boot = slice((slots.starts[0] - BASE) // 4)
        assert np.array_equal(flash.words[boot], before[boot])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--board", default="netduinoplus2-slots")
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    board = BOARDS[options.board]
    with tempfile.TemporaryDirectory() as name:
        campaign = Campaign(board, built(board, Path(name)), options.seed)
    for number in range(options.cuts):
        try:
            campaign.cut()
        except AssertionError as error:
            raise SystemExit(f"cut {number} of seed {options.seed}: {error}") from error
    print(f"{board.name}: {options.cuts} updates cut off, of seed {options.seed}")
    for what, count in sorted(campaign.seen.items()):
        print(f"{count:6} {what}")
    wear = campaign.machine.flash.erases
    print(f"{campaign.machine.flash.operations:6} operations of the flash; erases of each sector: {dict(wear)}")


if __name__ == "__main__":
    main()
