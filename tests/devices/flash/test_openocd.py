"""What we ask of OpenOCD, run by OpenOCD itself: its dummy adapter, its target files, its `program`; no chip.

The commands that touch a chip are replaced by ones that note their arguments, and the chip's identity is made up.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from multigraft.devices.flash.flasher import FlashJob
from multigraft.devices.flash.flashers import flasher_for
from multigraft.errors import DeviceError
from multigraft.firmware_gen.boards.boards import BOARDS

OPENOCD = shutil.which("openocd")
pytestmark = pytest.mark.skipif(OPENOCD is None, reason="firmware tools: install openocd")

WITHOUT_CHIP = """
foreach name {init mrw program} {
    if {[info commands $name] eq ""} { echo "no command $name"; shutdown error }
}
proc note {text} { set file [open "NOTES" a]; puts $file $text; close $file }
proc init {args} {}
proc poll {args} {}
proc reset {args} { note "reset $args" }
proc mrw {address} { note "read $address"; return CHIP }
proc flash {args} { note "flash $args" }
proc verify_image {args} { note "verify $args" }
"""
WRAPPER = """#!/bin/sh
for argument; do
    shift
    case "$argument" in
        interface/*) set -- "$@" FOLDER/adapter.cfg;;
        target/*) set -- "$@" "$argument" -f FOLDER/chip.cfg;;
        *) set -- "$@" "$argument";;
    esac
done
exec OPENOCD "$@"
"""


def flashed(name: str, chip: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flash with a chip that says it is ``chip``; returns what was asked of it."""
    notes = folder / "notes"
    (folder / "adapter.cfg").write_text("adapter driver dummy\n")
    (folder / "chip.cfg").write_text(WITHOUT_CHIP.replace("NOTES", str(notes)).replace("CHIP", hex(chip)))
    wrapper = folder / "openocd"
    wrapper.write_text(WRAPPER.replace("FOLDER", f'"{folder}"').replace("OPENOCD", str(OPENOCD)))
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    image = folder / "a firmware.elf"
    image.write_bytes(b"image")
    flashing = BOARDS[name].flashing
    assert flashing is not None
    job = FlashJob(image, flashing.target, None, flashing.chip_id, flashing.base, flashing.chip_register)
    try:
        flasher_for("openocd").flash(job, lambda done, doing: None)
    finally:
        asked = notes.read_text().splitlines() if notes.is_file() else []
    return asked


BOARDS_OF_OPENOCD = [name for name, board in BOARDS.items() if board.flashing and board.flashing.method == "openocd"]


@pytest.mark.parametrize("name", BOARDS_OF_OPENOCD)
def test_the_right_chip_is_written_and_verified(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flashing = BOARDS[name].flashing
    assert flashing is not None
    asked = flashed(name, 0x1007_6000 | flashing.chip_id, tmp_path, monkeypatch)
    image = f"{{{tmp_path}/a firmware.elf}}"
    assert asked[:2] == ["reset halt", f"read 0x{flashing.chip_register:08x}"]
    assert f"flash write_image erase {image}" in asked
    assert f"verify {image}" in asked
    assert asked[-1] == "reset run"


@pytest.mark.parametrize("name", BOARDS_OF_OPENOCD)
def test_another_chip_is_not_written(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="the chip that answers is no"):
        flashed(name, 0x1007_6419, tmp_path, monkeypatch)
    assert not any("flash" in line for line in (tmp_path / "notes").read_text().splitlines())
