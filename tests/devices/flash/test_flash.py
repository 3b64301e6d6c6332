"""Flashing: exact commands, the right chip and no other, verified writes; tools are played by scripts."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest

from multigraft.cli.main import main
from multigraft.devices.flash import tool_flasher
from multigraft.devices.flash.flasher import Flasher, FlashJob
from multigraft.devices.flash.flashers import flasher_for
from multigraft.devices.flash.uf2_flasher import Uf2Flasher, families_of, uf2_of
from multigraft.errors import DeviceError, InputError, MissingDependencyError, UsageError
from multigraft.firmware_gen.boards.board import Flashing
from multigraft.firmware_gen.boards.boards import BOARDS

SAYS_WELL = {
    "openocd": ["** Programming Finished **\n** Verified OK **"],
    "esptool.py": ["Writing at 0x00010000... (50 %)\nWriting at 0x00018000... (100 %)\nHash of data verified."],
    "pyocd": ["10000100:  00052840   |..(@|", "[====] 100%", "All 1280 bytes match."],
    "stm32loader": ["Chip id: 0x413 (STM32F405xx/07xx and STM32F415xx/17xx)", "Write 1 chunks\nVerification OK"],
}
BOARD_OF = {"openocd": "nucleo-f446re", "esptool.py": "esp32c3", "pyocd": "nano33ble", "stm32loader": "netduinoplus2"}


def play(monkeypatch: pytest.MonkeyPatch, folder: Path, tool: str, says: list[str], code: int = 0) -> None:
    """Put a script in place of a tool: it notes its arguments and says one text per run."""
    folder.mkdir(exist_ok=True)
    for number, text in enumerate(says):
        (folder / f"says{number}").write_text(text + "\n")
    script = folder / tool
    script.write_text(
        f'#!/bin/sh\ncd "{folder}"\nn=$(cat n 2>/dev/null || echo 0)\necho $((n+1)) > n\n'
        f'printf "%s\\n" "$@" > "arguments$n"\ncat "says$n"\nexit {code}\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def flashing_of(board: str) -> Flashing:
    flashing = BOARDS[board].flashing
    assert flashing is not None
    return flashing


def job_for(tool: str, image: Path) -> tuple[Flasher, FlashJob]:
    f = flashing_of(BOARD_OF[tool])
    flasher = flasher_for(f.method)
    port = "/dev/ttyUSB9" if flasher.needs_port else None
    return flasher, FlashJob(image, f.target, port, f.chip_id, f.base, f.chip_register)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "firmware.bin"
    path.write_bytes(bytes(range(256)) * 5)
    return path


@pytest.mark.parametrize("tool", BOARD_OF)
def test_what_runs_is_what_the_dry_run_says(
    tool: str, tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, tmp_path / "bin", tool, SAYS_WELL[tool])
    flasher, job = job_for(tool, image)
    assert isinstance(flasher, Flasher)
    seen: list[float] = []
    flasher.flash(job, lambda done, doing: seen.append(done))
    commands = flasher.commands(job)
    for number, command in enumerate(commands):
        assert command[0] == tool
        assert (tmp_path / f"bin/arguments{number}").read_text().splitlines() == command[1:]
    assert str(image) in " ".join(commands[-1] + commands[-2 if len(commands) > 1 else -1])
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.parametrize(
    ("tool", "says"),
    [
        ("openocd", ["wrong chip"]),
        ("esptool.py", ["A fatal error occurred: This chip is ESP32-S3, not ESP32-C3. Wrong --chip argument?"]),
        ("pyocd", ["10000100:  00052832   |..(2|"]),
        ("stm32loader", ["Chip id: 0x410 (STM32F10x Medium-density)"]),
    ],
)
def test_another_chip_is_refused_before_anything_is_written(
    tool: str, says: list[str], tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, tmp_path / "bin", tool, says)
    flasher, job = job_for(tool, image)
    with pytest.raises(DeviceError, match="the chip that answers is no"):
        flasher.flash(job, lambda done, doing: None)
    assert not (tmp_path / "bin/arguments1").exists()


@pytest.mark.parametrize("tool", BOARD_OF)
def test_failures_say_what_the_tool_said(
    tool: str, tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flasher, job = job_for(tool, image)
    says = [*SAYS_WELL[tool][:-1], "flash write fault at 0x3"]
    play(monkeypatch, tmp_path / "bin", tool, says, code=1)
    with pytest.raises(DeviceError, match=rf"failed while .* \({re.escape(says[0].splitlines()[-1])}\)"):
        flasher.flash(job, lambda done, doing: None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("multigraft.devices.flash.tool_flasher.sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(MissingDependencyError, match="is not installed"):
        flasher.flash(job, lambda done, doing: None)


def test_a_tool_of_an_environment_in_a_folder_with_a_space_is_run(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = tmp_path / "an environment/bin"
    scripts.mkdir(parents=True)
    tool = scripts / "esptool.py"
    tool.write_text(f"#!{scripts}/python\nprint({SAYS_WELL['esptool.py'][0]!r})\n")
    tool.chmod(0o755)
    monkeypatch.setattr("multigraft.devices.flash.tool_flasher.sysconfig.get_path", lambda name: str(scripts))
    flasher, job = job_for("esptool.py", image)
    said: list[tuple[float, str]] = []
    for path in ("", str(scripts)):  # as it is, and activated
        monkeypatch.setenv("PATH", path)
        flasher.flash(job, lambda done, doing: said.append((done, doing)))
        assert said.pop() == (1.0, "done")


def test_a_tool_that_may_be_run_and_not_read_is_run(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, tmp_path / "bin", "openocd", SAYS_WELL["openocd"])

    def shut(path: Path, *options: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", shut)
    flasher, job = job_for("openocd", image)
    said: list[str] = []
    flasher.flash(job, lambda done, doing: said.append(doing))
    assert said[-1] == "done"


def test_a_write_that_is_not_verified_is_an_error(tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, tmp_path / "bin", "openocd", ["** Programming Finished **"])
    flasher, job = job_for("openocd", image)
    with pytest.raises(DeviceError, match="failed while writing and verifying"):
        flasher.flash(job, lambda done, doing: None)


@pytest.mark.parametrize(
    ("tool", "last"),
    [("stm32loader", "Verification FAILED: data differs"), ("pyocd", "Mismatched byte at 0x00010000 (offset 0x0)")],
)
def test_a_verification_that_fails_is_no_success_whatever_the_tool_returns(
    tool: str, last: str, tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, tmp_path / "bin", tool, [*SAYS_WELL[tool][:-1], last])
    flasher, job = job_for(tool, image)
    with pytest.raises(DeviceError, match="failed while"):
        flasher.flash(job, lambda done, doing: None)


@pytest.mark.parametrize("tool", ["openocd", "esptool.py", "stm32loader", "pyocd"])
def test_the_real_tools_take_our_commands_and_say_that_there_is_no_board(
    tool: str, tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tool == "openocd" and shutil.which(tool) is None:
        pytest.skip("firmware tools: install openocd")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # the others are found where this Python has its scripts
    flasher, job = job_for(tool, image)
    port = str(tmp_path / "ttyNONE") if flasher.needs_port else None
    with pytest.raises(DeviceError, match=rf"{re.escape(tool)} finds no board.*; plug it in"):
        flasher.flash(replace(job, port=port), lambda done, doing: None)


def uf2_drive(folder: Path, board_id: str) -> Path:
    drive = folder / "user" / "DRIVE"
    drive.mkdir(parents=True)
    (drive / "INFO_UF2.TXT").write_text(f"UF2 Bootloader v3.0\nModel: Something\nBoard-ID: {board_id}\n")
    return drive


def pico_job(tmp_path: Path, family: int | None = None) -> FlashJob:
    f = flashing_of("pico")
    path = tmp_path / "firmware.uf2"
    path.write_bytes(uf2_of(bytes(range(256)) * 300 + b"end", 0x10000000, f.chip_id if family is None else family))
    return FlashJob(path, f.target, None, f.chip_id, f.base)


def test_uf2_blocks_are_those_of_the_specification() -> None:
    image = bytes(range(256)) + b"tail"
    uf2 = uf2_of(image, 0x10000000, 0xE48BFF56)
    assert len(uf2) == 1024
    for number in range(2):
        block = uf2[512 * number :][:512]
        head = struct.unpack("<8I", block[:32])
        assert head == (0x0A324655, 0x9E5D5157, 0x2000, 0x10000000 + 256 * number, 256, number, 2, 0xE48BFF56)
        assert block[32:288] == image[256 * number :][:256].ljust(256, b"\0")
        assert block[-4:] == bytes.fromhex("306fb10a")
    assert families_of(uf2, "x") == {0xE48BFF56}


def test_a_uf2_file_is_copied_to_the_right_drive_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = pico_job(tmp_path)
    flasher = Uf2Flasher([tmp_path / "media"])
    with pytest.raises(DeviceError, match="hold its boot button"):
        flasher.flash(job, lambda done, doing: None)
    drive = uf2_drive(tmp_path / "media", "RPI-RP2")
    assert flasher.commands(job) == [["cp", str(job.image), str(drive)]]
    seen: list[float] = []
    synced: list[int] = []
    # What was only cached is read back right, and is lost when the board is unplugged.
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    flasher.flash(job, lambda done, doing: seen.append(done))
    assert (drive / "firmware.uf2").read_bytes() == job.image.read_bytes()
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert synced == [job.image.stat().st_size]
    (drive / "INFO_UF2.TXT").write_text("Board-ID: RP2350\n")
    with pytest.raises(DeviceError, match="is a RP2350, not RPI-RP2"):
        flasher.flash(job, lambda done, doing: None)


def test_what_a_drive_or_a_tool_says_steers_no_terminal_and_a_drive_that_says_too_much_is_none(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = pico_job(tmp_path)
    flasher = Uf2Flasher([tmp_path / "media"])
    drive = uf2_drive(tmp_path / "media", "\x1b[2JRP2350")
    with pytest.raises(DeviceError, match=re.escape("is a \\u001b[2JRP2350, not RPI-RP2")):
        flasher.flash(job, lambda done, doing: None)
    (drive / "INFO_UF2.TXT").write_text("Board-ID: RPI-RP2\n" + "x" * (1 << 16))
    with pytest.raises(DeviceError, match="no board shows its UF2 drive"):
        flasher.flash(job, lambda done, doing: None)
    (drive / "INFO_UF2.TXT").unlink()
    os.mkfifo(drive / "INFO_UF2.TXT")
    with pytest.raises(DeviceError, match="no board shows its UF2 drive"):
        flasher.flash(job, lambda done, doing: None)
    play(monkeypatch, tmp_path / "bin", "openocd", ["\x1b]0;owned\x07"], code=1)
    tool, plain = job_for("openocd", image)
    with pytest.raises(DeviceError, match=re.escape("(\\u001b]0;owned\\u0007)")):
        tool.flash(plain, lambda done, doing: None)


def test_a_uf2_file_for_another_chip_or_cut_off_is_refused(tmp_path: Path) -> None:
    uf2_drive(tmp_path / "media", "RPI-RP2")
    flasher = Uf2Flasher([tmp_path / "media"])
    with pytest.raises(InputError, match="is for family 0xe48bff59, not 0xe48bff56"):
        flasher.flash(pico_job(tmp_path, 0xE48BFF59), lambda done, doing: None)
    job = pico_job(tmp_path)
    job.image.write_bytes(job.image.read_bytes()[:-5])
    with pytest.raises(InputError, match="no whole UF2 file"):
        flasher.flash(job, lambda done, doing: None)


def test_every_board_that_is_flashed_has_its_way() -> None:
    for board in BOARDS.values():
        if board.flashing is not None:
            f = board.flashing
            flasher = flasher_for(f.method)
            job = FlashJob(Path("x"), f.target, "port", f.chip_id, f.base, f.chip_register)
            assert flasher.commands(job)
    with pytest.raises(UsageError, match="no way to flash called 'magic'"):
        flasher_for("magic")


def described(folder: Path, board: str) -> Path:
    folder.mkdir()
    (folder / "project.json").write_text(json.dumps({"board": board, "digest": "00" * 32, "steps": [], "name": "x"}))
    built = folder / "build/frames"
    built.mkdir(parents=True)
    for suffix in (".elf", ".bin"):
        (built / f"firmware{suffix}").write_bytes(b"image")
    return folder


def test_the_command_prints_exactly_what_it_would_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = described(tmp_path / "fw", "netduinoplus2")
    assert main(["flash", str(folder), "--port", "/dev/ttyUSB0", "--dry-run"]) == 0
    asked, written = capsys.readouterr().out.splitlines()
    assert asked == "stm32loader --port /dev/ttyUSB0 --family F4"
    assert written == (
        "stm32loader --port /dev/ttyUSB0 --family F4 --erase --write --verify --address 0x08000000 "
        f"{folder}/build/frames/firmware.bin"
    )


@pytest.mark.parametrize(
    ("board", "more", "message"),
    [
        ("netduinoplus2", [], "stm32loader needs a serial port; give --port"),
        ("mps2-an386", [], "mps2-an386 is emulated only; use multigraft firmware verify --qemu"),
        ("esp32c3", ["--port", "x"], "the project is a library, not an image; build your application with esp-idf"),
        ("pico", ["--image", "a.bin"], "uf2 takes .uf2 files, not a.bin"),
    ],
)
def test_what_cannot_be_flashed_says_what_to_do(
    board: str, more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = described(tmp_path / "fw", board)
    assert main(["flash", str(folder), *more]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_is_no_project_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flash", str(tmp_path)]) == 2
    assert "is no firmware project; make one with" in capsys.readouterr().err


@pytest.mark.parametrize("does", ["sleep 1000", "while :; do sleep 1000 & wait; done", "yes", "yes | tr -d '\\n'"])
def test_a_tool_that_never_ends_is_ended_with_all_that_it_started(
    does: str, tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, tmp_path / "bin", "esptool.py", [])
    (tmp_path / "bin/esptool.py").write_text(f'#!/bin/sh\necho $$ > "{tmp_path}/pid"\n{does}\n')
    monkeypatch.setattr(tool_flasher, "STEP_S", 1.0)
    flasher, job = job_for("esptool.py", image)
    with pytest.raises(DeviceError, match=r"esptool\.py was not done with writing in 1 s"):
        flasher.flash(job, lambda done, doing: None)
    group = int((tmp_path / "pid").read_text())
    # Nobody waits for what the tool started: a busy machine takes a moment to end it.
    give_up = time.monotonic() + 60
    while group in _running_groups():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def _running_groups() -> set[int]:
    """Process groups in which something runs; what is dead and not yet waited for does not."""
    groups = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
            groups |= {int(group)} if state != "Z" else set()
    return groups
