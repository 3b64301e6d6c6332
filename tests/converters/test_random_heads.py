"""A head of random weights goes through build, run and draw; all: ``python -m tests.benchmarks families``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.converters import random_heads

SHORT = ("yolov8-raw", "yolov8-seg", "yunet", "db-text", "heat-maps", "ctc")


@pytest.mark.parametrize("family", SHORT)
def test_a_raw_head_is_built_run_and_drawn(family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random_heads.settings(tmp_path, family)
    random_heads.through(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    told = [json.loads(line)["answers"]["task"] for line in lines if line.startswith('{"frame"')]
    assert len(told) == 3
    assert "outputs" not in told[0]
    assert len(list((tmp_path / "drawn").glob("*.png"))) == 3
