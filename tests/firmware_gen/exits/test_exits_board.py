"""A bundle with early exits on an emulated board, over its serial port: verified, asked, watched, counted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from multigraft.cli.main import main
from multigraft.devices.target.serial_link import SerialLink
from multigraft.devices.target.target import Target
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.project.folder import ProjectFolder, build_folder
from tests.firmware_gen.boards.test_boards import needs_tools
from tests.firmware_gen.cascades.people import reference_engine
from tests.firmware_gen.exits.board import counts, in_engine, on_board
from tests.firmware_gen.exits.bundles import build, frames
from tests.firmware_gen.exits.test_leaving import NAMES, OUTPUTS

EMULATED_S = 600
FRAMES = 100


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ProjectFolder:
    """A bundle's built project."""
    pytest.importorskip("serial")
    path = tmp_path_factory.mktemp("exits")
    build(audited=0.1, max_disagreement=0.5).write(path / "home.graft")
    assert main(["firmware", str(path / "home.graft"), "--board", "mps2-an386", "-o", str(path / "fw")]) == 0
    build_folder(path / "fw")
    return ProjectFolder.open(path / "fw")


@needs_tools
def test_the_board_takes_the_exits_of_the_engine(tmp_path: Path) -> None:
    """The same frames leave, are audited, and disagree; `python -m tests.firmware_gen.exits.board` asks 1,000."""
    pytest.importorskip("serial")
    bundle, some = build(audited=0.1, max_disagreement=0.5), frames(FRAMES)
    engine = reference_engine(bundle)
    said, told = on_board(bundle, "mps2-an386", some, tmp_path)
    assert said == in_engine(engine, some)
    assert told == counts(engine)
    assert min(told[1::6]) > 3 and sum(told[2::6]) > 3


@needs_tools
def test_golden_cases_go_both_ways_and_are_counted(made: ProjectFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """`verify` says how many left by which exit, `report --qemu` what it costs to leave and to stay."""
    folder = made.path
    assert main(["firmware", "verify", str(folder), "--qemu", "--timeout", str(EMULATED_S)]) == 0
    said = re.fullmatch(
        r"mps2-an386 in QEMU: 8 golden cases equal bit for bit; (\d) left by exit_garment_1, (\d) left by "
        r"exit_garment_2, (\d) left by exit_digit\n",
        capsys.readouterr().out,
    )
    assert said is not None and all(0 < int(count) < 8 for count in (said[1], said[3]))
    assert main(["firmware", "report", str(folder), "--qemu", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    ways = {tuple(sorted(way["left"].values())): way for way in report["ways"]}
    assert sum(way["cases"] for way in ways.values()) == 8
    stays, leaves = ways[()], ways["exit_digit", "exit_garment_1"]
    assert leaves["instructions"] < 0.8 * stays["instructions_least"]
    assert [e["name"] for e in report["exits"]] == ["exit_garment_1", "exit_garment_2", "exit_digit"]
    assert all(e["macs"] < report["macs"] for e in report["exits"])
    assert main(["firmware", "report", str(folder)]) == 0
    assert "MACs where garment leaves by exit_garment_1: 40.0 % of the frames" in re.sub(
        r" of \d+ where", " where", capsys.readouterr().out
    )


@needs_tools
def test_the_monitor_says_which_exit_answered_and_how_often(
    made: ProjectFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """A board streams what its input holds; here that is zero, with which some exit is taken unless it is audited."""
    with EmulatedBoard(made.board, made.image()) as emulated:
        emulated.resume()
        command = ["monitor", "--port", emulated.port, "--count", "3", "--timeout", str(EMULATED_S)]
        assert main(command) == 0
        said = capsys.readouterr().out
        assert main([*command, "--json"]) == 0
        *answers, state = map(json.loads, capsys.readouterr().out.splitlines())
        with SerialLink(emulated.port) as link:
            target = Target(link, timeout_s=EMULATED_S)
            target.forget()
            assert {e.reached for e in target.exits().values()} == {0}
    lines = [line for line in said.splitlines() if " cycles" in line]
    assert len(lines) == len(answers) == 3
    ways = set()
    for line in lines:
        for task, exits in NAMES.items():
            (left,) = (k for k, name in enumerate(OUTPUTS[task]) if f"{name}:" in line)
            by = f" by {exits[left - 1]}" if left else ""
            assert re.search(rf"{OUTPUTS[task][left]}: (\d) \([-\d.e]+\){by}  ", line)
            ways.add((task, left))
        assert "/exit:" not in line
    assert any(left for _, left in ways)
    assert re.search(r"exit exit_digit of digit: \d of 3 frames took it, \d of \d audited disagree; open", said)
    assert state["exits"]["exit_digit"]["reached"] == 6


def test_exits_are_left_out_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build().write(tmp_path / "home.graft")
    command = ["firmware", str(tmp_path / "home.graft"), "--board", "mps2-an385", "-o", str(tmp_path / "fw"), "--json"]
    assert main([*command, "--no-exits"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["exits"] == []
    assert said.err == ""
