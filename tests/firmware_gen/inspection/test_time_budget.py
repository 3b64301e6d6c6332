"""A board gets as long as its model and its clock ask for."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from multigraft.cli.main import main
from multigraft.cli.shared.board_options import EMULATED_TIMEOUT_S, timeout_s
from multigraft.devices.target.link import TIMEOUT_S
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.inspection.report import read_report
from multigraft.firmware_gen.inspection.time_budget import time_budget_s
from tests.firmware_gen.models import residual


def report_of(macs: int) -> dict[str, list[dict[str, int]]]:
    return {"steps": [{"macs": macs // 2}, {"macs": macs - macs // 2}]}


def test_slower_clocks_and_larger_models_get_longer() -> None:
    fast, slow = BOARDS["nucleo-h743"], BOARDS["microbit"]
    small, large = report_of(1_000_000), report_of(50_000_000)
    assert time_budget_s(small, fast, False) < time_budget_s(small, slow, False)
    assert time_budget_s(large, slow, False) == 50 * time_budget_s(small, slow, False)
    # 16 MHz, 8 cycles per multiplication: what such a board really takes is well within.
    assert time_budget_s(large, slow, False) > 3 * 50_000_000 * 8 / 16e6


def test_emulators_are_told_by_instructions_alone() -> None:
    budgets = {time_budget_s(report_of(300_000_000), board, True) for board in BOARDS.values()}
    assert len(budgets) == 1
    assert min(budgets) > EMULATED_TIMEOUT_S


@pytest.mark.parametrize(
    ("asked", "budget", "emulated", "wanted"),
    [
        (None, 0.1, False, TIMEOUT_S),
        (None, 20.0, False, 20.0),
        (None, 20.0, True, EMULATED_TIMEOUT_S),
        (None, 500.0, True, 500.0),
        (3.0, 500.0, True, 3.0),
        (None, 1e9, False, 86_400.0),
    ],
)
def test_what_is_asked_for_counts_most(asked: float | None, budget: float, emulated: bool, wanted: float) -> None:
    assert timeout_s(Namespace(timeout=asked), emulated, budget) == wanted


def test_a_projects_report_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.tflite").write_bytes(residual())
    assert main(["firmware", str(tmp_path / "net.tflite"), "--board", "microbit", "-o", str(tmp_path / "fw")]) == 0
    assert 0 < time_budget_s(read_report(tmp_path / "fw"), BOARDS["microbit"], False) < 10
