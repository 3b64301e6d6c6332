"""Files of every kind that somebody changed, digests and all, are used or refused in a sentence, within bounds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from multigraft.converters.conversion.onnx2tf_environment import Environment
from tests.attack.short_form import KINDS


@pytest.mark.parametrize("name", KINDS)
def test_mutants_are_used_or_refused(name: str, tmp_path: Path, onnx2tf_environment: Environment) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.attack.short_form", name, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert {end.partition(" ")[0] for end in said["good"].values()} - {"refused"} == {"passed"}, said["good"]
    assert said["bad"] == 0 and said["refused"] > 0, said["row"]
