"""Files of every kind that somebody changed, digests and all, are used or refused in a sentence, within bounds."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from multigraft.converters.conversion.onnx2tf_environment import Environment
from tests.attack.campaigns import CAMPAIGNS, Campaign, onnx_files
from tests.attack.fresh import in_fresh_process
from tests.attack.tflite_campaigns import firmware
from tests.attack.tflite_seeds import seeds
from tests.attack.trials import End, Row, tried

MUTANTS = {"onnx": 24, "refit-plans": 12, "refit-stores": 12}
OF_OTHERS = 60
SEED = 3
GOOD = 8
"""Seeds that are tried as they are."""


def _campaign(name: str, folder: Path) -> Campaign:
    if name == "firmware":
        return firmware(seeds(), 0)
    return onnx_files(folder, 4) if name == "onnx" else CAMPAIGNS[name](folder)


def _tries(name: str, folder: Path) -> tuple[dict[str, End], Row]:
    """How good files of a kind ended, and how mutants did."""
    os.environ["MULTIGRAFT_DEBUG"] = "1"
    tempfile.tempdir = str(folder)
    campaign = _campaign(name, folder)
    some = list(campaign.seeds.items())[:GOOD]
    good = {name: tried(lambda data=data: campaign.opened(data)) for name, data in some}  # type: ignore[misc]
    return good, campaign.run(MUTANTS.get(name, OF_OTHERS), SEED)


@pytest.mark.parametrize("name", [*CAMPAIGNS, "firmware"])
def test_mutants_are_used_or_refused(name: str, tmp_path: Path, onnx2tf_environment: Environment) -> None:
    good, row = in_fresh_process(_tries, name, tmp_path)
    assert {end.kind for end in good.values()} - {"refused"} == {"passed"}, good
    assert row.bad == 0 and row.counts["refused"] > 0, str(row)
