"""Flashing by copying a UF2 file onto the drive that a board's bootloader shows (github.com/microsoft/uf2)."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

from multigraft.devices.flash.flasher import FlashJob, FlashProgress
from multigraft.errors import DeviceError, InputError
from multigraft.reading import printable, read_file

MAGIC_START, MAGIC_MIDDLE, MAGIC_END = 0x0A324655, 0x9E5D5157, 0x0AB16F30
FLAG_FAMILY = 0x2000
BLOCK = 512
PAYLOAD = 256
_HEADER = struct.Struct("<8I")
INFO = "INFO_UF2.TXT"
MOST_INFO_BYTES = 1 << 16
MOUNTS = ("/media", "/run/media", "/Volumes")


def uf2_of(image: bytes, base: int, family: int) -> bytes:
    """A raw binary as UF2 blocks of 256 bytes.

    Args:
        base: Address of the first byte, a multiple of 256.
        family: Number of the chip family.
    """
    count = -(-len(image) // PAYLOAD)
    blocks = []
    for number in range(count):
        data = image[number * PAYLOAD : (number + 1) * PAYLOAD].ljust(PAYLOAD, b"\0")
        address = base + number * PAYLOAD
        head = _HEADER.pack(MAGIC_START, MAGIC_MIDDLE, FLAG_FAMILY, address, PAYLOAD, number, count, family)
        blocks.append((head + data).ljust(BLOCK - 4, b"\0") + struct.pack("<I", MAGIC_END))
    return b"".join(blocks)


def families_of(uf2: bytes, name: str) -> set[int]:
    """The chip families a UF2 file is for.

    Raises:
        InputError: It is no whole UF2 file.
    """
    families = set()
    for start in range(0, len(uf2), BLOCK):
        block = uf2[start : start + BLOCK]
        first, second, flags, *_, family = _HEADER.unpack(block[: _HEADER.size].ljust(_HEADER.size, b"\0"))
        if len(block) != BLOCK or (first, second, block[-4:]) != (
            MAGIC_START,
            MAGIC_MIDDLE,
            struct.pack("<I", MAGIC_END),
        ):
            raise InputError(f"{name} is no whole UF2 file (block {start // BLOCK})", "build it again")
        families.add(family if flags & FLAG_FAMILY else 0)
    return families


class Uf2Flasher:
    """Flasher adapter: the drive is found by its INFO_UF2.TXT, whose Board-ID has to be the job's target.

    Args:
        mounts: Folders below which drives appear, at most two levels deep.
    """

    name = "uf2"
    suffix = ".uf2"
    needs_port = False

    def __init__(self, mounts: Sequence[str | os.PathLike[str]] = MOUNTS) -> None:
        self._mounts = [Path(mount) for mount in mounts]

    def commands(self, job: FlashJob) -> list[list[str]]:
        drives = self._drives()
        right = [drive for drive, board in drives if job.target in board]
        drive = right[0] if right else Path(f"the drive of {job.target}")
        return [["cp", str(job.image), str(drive)]]

    def flash(self, job: FlashJob, progress: FlashProgress) -> None:
        try:
            image = job.image.read_bytes()
        except OSError as error:
            raise InputError(f"{job.image} cannot be read: {error.strerror}", "build it first") from error
        families = families_of(image, str(job.image))
        if families != {job.chip_id}:
            named = ", ".join(f"0x{family:08x}" for family in sorted(families)) or "none"
            raise InputError(f"{job.image} is for family {named}, not 0x{job.chip_id:08x}", "build it for this board")
        drive = self._drive_of(job)
        target = drive / job.image.name
        try:
            with target.open("wb", buffering=0) as opened:
                for start in range(0, len(image), 64 * BLOCK):
                    opened.write(image[start : start + 64 * BLOCK])
                    progress(min(start + 64 * BLOCK, len(image)) / len(image), "copying")
                os.fsync(opened.fileno())
        except OSError as error:
            # A bootloader that has all blocks restarts at once, and its drive is gone: that is how it says yes.
            if (drive / INFO).exists():
                raise DeviceError(f"{drive} cannot be written: {error.strerror}", "copy again") from error
        if target.exists() and (target.stat().st_size != len(image) or target.read_bytes() != image):
            raise DeviceError(f"{target} differs from what was written", "unplug the board and copy again")
        progress(1.0, "done")

    def _drives(self) -> list[tuple[Path, str]]:
        drives = []
        for mount in self._mounts:
            for info in sorted([*mount.glob(f"*/{INFO}"), *mount.glob(f"*/*/{INFO}")]):
                try:
                    lines = read_file(info, MOST_INFO_BYTES).decode("utf-8", "replace").splitlines()
                except InputError:
                    continue  # No boot loader's drive.
                board = next((line.partition(":")[2].strip() for line in lines if line.startswith("Board-ID:")), "")
                drives.append((info.parent, printable(board)))
        return drives

    def _drive_of(self, job: FlashJob) -> Path:
        drives = self._drives()
        if not drives:
            raise DeviceError("no board shows its UF2 drive", "hold its boot button while plugging it in")
        for drive, board in drives:
            if job.target in board:
                return drive
        drive, board = drives[0]
        raise DeviceError(
            f"the board at {drive} is a {board or 'board without name'}, not {job.target}", "plug in the right board"
        )
