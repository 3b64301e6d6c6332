"""The commands that talk to devices, on images in QEMU: verify, monitor, flash into a slot, list."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from multigraft.cli.main import main
from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.boards.boards import BOARDS, boards_of_usb
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from tests.firmware_gen import tiny_model
from tests.firmware_gen.boards.test_boards import needs_tools

WAITS = ["--timeout", "600"]
"""The default is of boards: an emulated one writes its flash more slowly on a busy machine."""


def described(folder: Path, board: Board, *variables: str) -> Path:
    """A tiny project with golden vectors, built."""
    tiny_model.build(board, folder, *variables)
    return golden_project(folder, board.name)


def golden_project(folder: Path, board: str) -> Path:
    """What a tiny project holds beside its source, written into a folder, which is made."""
    folder.mkdir(exist_ok=True)
    frames = np.random.default_rng(5).integers(-128, 128, (4, 1, 4, 4, 1), dtype=np.int8)
    answers = [tiny_model.reference(frame.ravel()) for frame in frames]
    np.savez(
        folder / "golden.npz",
        **{
            "input/frame": frames,
            "output/sum": np.stack([mean for mean, _ in answers]),
            "output/difference": np.stack([slope for _, slope in answers]),
        },
    )
    description = {"board": board, "digest": "ab" * 32, "steps": ["MEAN sum", "SUB difference"], "name": "tiny"}
    (folder / "project.json").write_text(json.dumps(description))
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("serial")
    return described(tmp_path_factory.mktemp("project"), BOARDS["mps2-an386"])


@needs_tools
def test_golden_vectors_are_verified_in_qemu_and_at_a_port(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["firmware", "verify", str(project), "--qemu"]) == 0
    assert capsys.readouterr().out == "mps2-an386 in QEMU: 4 golden cases equal bit for bit\n"
    with EmulatedBoard(BOARDS["mps2-an386"], project / "build/frames/firmware.elf") as emulated:
        emulated.resume()
        assert main(["firmware", "verify", str(project), "--port", emulated.port, *WAITS, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert (report["cases"], report["wrong"], report["emulated"]) == (4, [], False)


@needs_tools
def test_a_single_wrong_bit_is_found_and_located(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(project, tmp_path / "copy")
    with np.load(folder / "golden.npz") as golden:
        arrays = {name: golden[name].copy() for name in golden.files}
    arrays["output/difference"][2, 299] ^= 1
    np.savez(folder / "golden.npz", **arrays)
    assert main(["firmware", "verify", str(folder), "--qemu"]) == 1
    assert "1 outputs differ, the first is difference of case 2" in capsys.readouterr().out


@needs_tools
def test_another_model_or_board_on_the_device_is_refused(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(project, tmp_path / "copy")
    description = json.loads((folder / "project.json").read_text())
    (folder / "project.json").write_text(json.dumps({**description, "digest": "cd" * 32}))
    assert main(["firmware", "verify", str(folder), "--qemu"]) == 2
    assert "which is not the model of this project; flash the project first" in capsys.readouterr().err
    (folder / "project.json").write_text(json.dumps({**description, "board": "mps2-an385"}))
    assert main(["firmware", "verify", str(folder), "--qemu"]) == 2
    assert " is a mps2-an386, the project is for mps2-an385" in capsys.readouterr().err


def test_what_verifying_needs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["firmware", "verify"]) == 2
    assert "needs a folder and a device" in capsys.readouterr().err
    (tmp_path / "project.json").write_text('{"board": "mps2-an386", "digest": "", "steps": []}')
    assert main(["firmware", "verify", str(tmp_path), "--qemu"]) == 2
    assert "has no golden vectors" in capsys.readouterr().err


@needs_tools
def test_the_monitor_shows_answers_steps_memory_and_why_it_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("serial")
    board = BOARDS["mps2-an386"]
    folder = described(tmp_path, board, "PROFILE=1")
    tasks = ["mean", "slope"]
    report = dict.fromkeys(("model", "ram_bytes", "regions", "buffers", "macs_before_pruning"))
    report |= {"tasks": tasks, "steps": [{"tasks": [task]} for task in tasks]}
    (folder / "report.json").write_text(json.dumps(report))
    with EmulatedBoard(board, folder / "build/profile/frames/firmware.elf") as emulated:
        emulated.resume()
        assert main(["monitor", "--port", emulated.port, *WAITS, "--count", "3", "--project", str(folder)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "mps2-an386 runs tiny (mean, slope)"
        assert len([line for line in lines if "sum: " in line and "cycles" in line]) == 3
        assert any("step   0" in line and "MEAN sum" in line for line in lines)
        assert any("step   1" in line and "SUB difference" in line for line in lines)
        assert [line.partition(" cycles  for ")[2] for line in lines if line.startswith("  segment ")] == tasks
        assert lines[-1] == "started after: power on"
        assert main(["monitor", "--port", emulated.port, *WAITS, "--count", "2", "--tasks", "mean", "--json"]) == 0
        *answers, summary = map(json.loads, capsys.readouterr().out.splitlines())
        assert [set(answer["outputs"]) for answer in answers] == [{"sum"}] * 2
        assert summary["steps"][0] > 0
        assert summary["steps"][1] == 0
        assert summary["statistics"]["sum"]["inferences"] == 5
        assert summary["memory"]["ram_used"] < summary["memory"]["ram_there"]


@needs_tools
def test_flash_updates_a_board_with_slots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("serial")
    board = BOARDS["qemu-virt-rv32-slots"]
    folder = described(tmp_path, board)
    with EmulatedBoard(board, folder / "build/frames/firmware.elf") as emulated:
        emulated.resume()
        command = ["flash", str(folder), "--port", emulated.port, *WAITS]
        assert main(command) == 0
        assert capsys.readouterr().out.endswith("firmware.bin runs already in slot 0, nothing written\n")
        config = folder / "target/app_config.h"
        for slot, name in ((1, "other"), (0, "third")):
            config.write_text(re.sub('(APP_MODEL_NAME) ".*"', rf'\1 "{name}"', config.read_text()))
            tiny_model.make(folder)
            assert main(command) == 0
            assert capsys.readouterr().out.endswith(f"written to slot {slot}, verified and started\n")
            assert main([*command, "--json"]) == 0
            assert json.loads(capsys.readouterr().out)["written"] is False
        assert main(["firmware", "verify", str(folder), "--port", emulated.port, *WAITS]) == 0


def test_boot_loader_and_first_image_are_written_by_the_boards_tool(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = golden_project(tmp_path / "slots", "nucleo-f446re-slots")
    plain = golden_project(tmp_path / "plain", "nucleo-f446re")
    factory = ["flash", str(folder), "--factory", "--dry-run"]
    assert main(factory) == 2
    assert "boot.bin does not exist; build it with" in capsys.readouterr().err
    image = folder / "build/frames/firmware.bin"
    image.parent.mkdir(parents=True)
    (folder / "build/boot.bin").write_bytes(b"boot loader")
    image.write_bytes(b"image")
    assert main(factory) == 0
    said = capsys.readouterr().out
    assert "factory.bin" in said and "0x08000000" in said
    content = image.with_name("factory.bin").read_bytes()
    assert content.startswith(b"boot loader\xff") and content[0x4200:] == b"image"
    for command, why in (
        ([*factory, "--image", str(image)], "--factory writes the images of the project; leave out --image"),
        (["flash", str(folder), "--dry-run"], "or --factory to write boot loader and first image"),
        (["flash", str(plain), "--factory"], "nucleo-f446re has no slots; leave out --factory"),
    ):
        assert main(command) == 2
        assert why in capsys.readouterr().err


def test_boards_and_ports_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "boards", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["board"] for row in rows] == list(BOARDS)
    pytest.importorskip("serial")
    assert main(["devices", "list", "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), list)
    assert [board.name for board in boards_of_usb((0x2E8A, 0x000A))] == ["pico"]
    assert boards_of_usb((1, 2)) == []
