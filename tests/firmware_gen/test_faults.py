"""A device whose model runs into a fault starts again and says where it happened; what the emulator makes of worse."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from multigraft import serial_protocol as protocol
from multigraft.devices.target.serial_link import SerialLink
from multigraft.devices.target.target import Target
from multigraft.errors import ConversionError, DeviceError
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.boards.toolchain import toolchain_of
from tests.firmware_gen import tiny_model
from tests.firmware_gen.boards.test_boards import needs_tools


@needs_tools
@pytest.mark.parametrize("name", ["microbit", "mps2-an386", "qemu-virt-rv32"])
def test_a_fault_is_reported_with_its_place(name: str, tmp_path: Path) -> None:
    pytest.importorskip("serial")
    board = BOARDS[name]
    tiny_model.write_project(board, tmp_path)
    source = tmp_path / "src/model.c"
    source.write_text(source.read_text().replace("    STEP(2);", "    if (task_mask == 3u) { __builtin_trap(); }"))
    tiny_model.make(tmp_path)
    image = tmp_path / "build/frames/firmware.elf"
    with EmulatedBoard(board, image) as emulated, SerialLink(emulated.port) as link:
        emulated.resume()
        target = Target(link)
        target.infer(tasks=["mean"])
        assert target.reset_reason().reason == protocol.ResetReason.POWER_ON
        with pytest.raises(DeviceError, match="stopped answering"):
            target._requests.send(protocol.Kind.INFER, protocol.INFER_REQUEST.pack(3))
        reset = Target(link).reset_reason()
        assert reset.reason == protocol.ResetReason.FAULT
        tool = toolchain_of(CORES[board.core]).tool("addr2line")
        command = [tool, "-f", "-e", str(image), hex(reset.program_counter)]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("model_run\n")
        target.reset()
        assert target.reset_reason().reason == protocol.ResetReason.SOFTWARE


@needs_tools
def test_an_image_that_does_not_run_is_told_from_a_broken_cable(tmp_path: Path) -> None:
    pytest.importorskip("serial")
    image = tmp_path / "firmware.elf"
    image.write_text("no image\n")
    with (
        pytest.raises(ConversionError, match=r"the image does not run, QEMU ended \(.+\)"),
        EmulatedBoard(BOARDS["mps2-an386"], image) as emulated,
        SerialLink(emulated.port) as link,
    ):
        emulated.resume()
        Target(link).memory()


KILLED = """
import sys, time
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
with EmulatedBoard(BOARDS["mps2-an386"], sys.argv[1]) as emulated:
    print(emulated._process.pid, flush=True)
    time.sleep(60)
"""


@needs_tools
def test_qemu_ends_with_a_command_that_is_killed(tmp_path: Path) -> None:
    image = tiny_model.build(BOARDS["mps2-an386"], tmp_path) / "build/frames/firmware.elf"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(image)], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        stat = Path("/proc") / command.stdout.readline().strip() / "stat"
        assert stat.exists()
        command.kill()
    for _ in range(100):
        # Nobody may be there to wait for it: then a dead process stays in the table.
        if not stat.exists() or stat.read_text().rpartition(") ")[2].startswith("Z"):
            return
        time.sleep(0.1)
    pytest.fail("QEMU is still running")
