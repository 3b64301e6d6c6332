"""Damaged binary networks are refused or run, and the delegate touches nothing that is not its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.attack import sanitised


def test_mutants_of_binary_networks_end_well(capfd: pytest.CaptureFixture[str]) -> None:
    assert sanitised.run(mutants=60, seed=1) == 0, capfd.readouterr().out


def test_the_sanitisers_are_in_the_library(tmp_path: Path) -> None:
    path = sanitised.compiled(tmp_path)
    shown = subprocess.run(["nm", "-D", str(path)], capture_output=True, text=True, check=True).stdout
    assert "__asan_report_load4" in shown and "__ubsan_handle_" in shown
