"""Every board's project builds; every emulated board boots and answers the MLPerf Tiny dialogue over pyserial."""

from __future__ import annotations

import importlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from multigraft.errors import MissingDependencyError, UsageError
from multigraft.firmware_gen.boards.boards import BOARDS, board_named
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.boards.toolchain import APT_PACKAGES, toolchain_of
from tests.firmware_gen import tiny_model

EMULATED = [board.name for board in BOARDS.values() if board.qemu is not None]
TOOLS = ("arm-none-eabi-gcc", "riscv64-unknown-elf-gcc", "qemu-system-arm", "qemu-system-riscv32", "make")
needs_tools = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason=f"firmware tools: install {' '.join(APT_PACKAGES)}"
)


class Runner:
    """The public MLPerf Tiny runner's side of the dialogue: a command and %, then lines until m-ready."""

    def __init__(self, port: str) -> None:
        serial = importlib.import_module("serial")
        self.serial = serial.Serial(port, 115200, timeout=5)

    def lines(self) -> list[str]:
        said = self.serial.read_until(b"m-ready\r\n")
        assert said.endswith(b"m-ready\r\n"), said
        assert said.count(b"\n") == said.count(b"\r\n")
        text: str = said.decode()
        return text.split("\r\n")[:-2]

    def ask(self, command: str) -> list[str]:
        self.serial.write(f"{command}%".encode())
        return self.lines()

    def load(self, data: bytes, chunk: int = 31) -> list[str]:
        assert self.ask(f"db load {len(data)}") == [f"m-[Expecting {len(data)} bytes]"]
        said: list[str] = []
        for start in range(0, len(data), chunk):
            said = self.ask("db " + data[start : start + chunk].hex())
        return said


@needs_tools
@pytest.mark.parametrize("name", BOARDS)
def test_a_project_builds_for_every_board(name: str, tmp_path: Path) -> None:
    board = BOARDS[name]
    folder = tiny_model.build(board, tmp_path)
    if board.uart is None:
        assert (folder / "build/libmodel.a").stat().st_size > 0
    else:
        assert 1000 < (folder / "build/frames/firmware.bin").stat().st_size < 10_000


@needs_tools
@pytest.mark.parametrize("name", EMULATED)
def test_the_public_runners_dialogue_passes_on_every_emulated_board(name: str, tmp_path: Path) -> None:
    pytest.importorskip("serial")
    board = BOARDS[name]
    folder = tiny_model.build(board, tmp_path, "PROTOCOL=mlperf")
    with EmulatedBoard(board, folder / "build/mlperf/firmware.elf") as emulated:
        runner = Runner(emulated.port)
        emulated.resume()
        assert runner.lines()[-1] == "m-init-done"
        assert runner.ask("name") == [f"m-name-dut-[{name}]"]
        profile, model = runner.ask("profile")
        assert re.fullmatch(r"m-profile-\[[^]]+\]", profile)
        assert model == "m-model-[tiny]"
        frame = np.random.default_rng(1).integers(-128, 128, 16, dtype=np.int8)
        assert runner.load(frame.tobytes(), chunk=7) == ["m-load-done"]
        shown = "".join(runner.ask("db print")).replace("m-buffer-", "-").replace("-", "")
        assert bytes.fromhex(shown) == frame.tobytes()
        said = runner.ask("infer 3 2")
        values = (tiny_model.reference(frame)[0].astype(float) + 128) / 256
        expected = [
            *("m-warmup-start-2", "m-warmup-done", "m-infer-start-3", "lap", "lap", "m-infer-done"),
            f"m-results-[{','.join(f'{value:.3f}' for value in values)}]",
        ]
        stamps = [int(line.removeprefix("m-lap-us-")) for line in said if line.startswith("m-lap-us-")]
        assert ["lap" if line.startswith("m-lap-us-") else line for line in said] == expected
        assert stamps[0] <= stamps[1]
        assert runner.ask("results") == expected[-1:]
        assert runner.ask("smell") == ["e-[Unknown command: smell]"]
        assert runner.ask("infer 0") == ["e-[Inference iterations must be >0]"]
        assert runner.ask("db 0g") == ["e-[Invalid hex digit '0g']"]
        assert runner.ask("x" * 500) == ["e-[Command is too long]"]
        assert runner.ask("name") == [f"m-name-dut-[{name}]"]
        runner.serial.close()


@needs_tools
def test_unsigned_pixels_arrive_with_128_less(tmp_path: Path) -> None:
    pytest.importorskip("serial")
    board = BOARDS["mps2-an386"]
    folder = tiny_model.build(board, tmp_path, "MLPERF_MODEL=vww01")
    with EmulatedBoard(board, folder / "build/mlperf-vww01/firmware.elf") as emulated:
        runner = Runner(emulated.port)
        emulated.resume()
        runner.lines()
        # The runner looks up data and script by this name.
        assert "m-model-[vww01]" in runner.ask("profile")
        pixels = np.random.default_rng(2).integers(0, 256, 16, dtype=np.uint8)
        runner.load(pixels.tobytes())
        values = (tiny_model.reference((pixels.astype(int) - 128).astype(np.int8))[0].astype(float) + 128) / 256
        assert runner.ask("infer 1 0")[-1] == f"m-results-[{','.join(f'{value:.3f}' for value in values)}]"
        runner.serial.close()


def test_the_boards_of_the_table_are_consistent() -> None:
    for board in BOARDS.values():
        assert board.core in CORES
        assert (board.uart is None) == (board.framework is not None)
        assert board.region("flash").size > board.region("ram").size or board.qemu is not None
        assert board.qemu is None or board.uart is not None
        assert board.qemu is not None or board.flashing is not None
        assert "\n" not in board.title
        assert len(board.name) < 32


def test_what_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no board 'toaster'; choose from: pico, pico2"):
        board_named("toaster")
    with pytest.raises(UsageError, match="pico is not emulated by QEMU; choose from: netduinoplus2"):
        EmulatedBoard(BOARDS["pico"], None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingDependencyError, match="apt-get install gcc-arm-none-eabi"):
        toolchain_of(CORES["m4"]).tool("gcc")
    with pytest.raises(MissingDependencyError, match="apt-get install qemu-system-arm"):
        EmulatedBoard(BOARDS["mps2-an386"], None)
