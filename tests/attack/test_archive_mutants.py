"""Files of every kind that somebody changed, digests and all, are used or refused in a sentence, within bounds."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from multigraft.archive import Allowance
from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.npz import npz_bytes, read_npz
from tests.attack.campaigns import CAMPAIGNS, Campaign, onnx_files
from tests.attack.fresh import in_fresh_process
from tests.attack.tflite_campaigns import firmware
from tests.attack.tflite_seeds import seeds
from tests.attack.trials import End, Row, tried
from tests.core.statistics.test_statistics_file import DATA, forged, unpacked

MUTANTS = {"onnx": 12, "refit-plans": 12, "refit-stores": 12}
OF_OTHERS = 30
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


def _without_each_array(folder: Path) -> dict[str, End]:
    """Statistics that lack one array, with digests that fit, through all that reads them."""
    os.environ["MULTIGRAFT_DEBUG"] = "1"
    tempfile.tempdir = str(folder)
    opened = CAMPAIGNS["statistics"](folder).opened
    ends = {}
    for member in ("overall.npz", "place-0.npz", "groups.npz"):
        for array in sorted(read_npz(unpacked(DATA)[1][member], Allowance(1 << 20, 1 << 30))):
            if member == "groups.npz" and not array.startswith("0/"):
                continue

            def left_out(_: object, members: dict[str, bytes], member: str = member, array: str = array) -> None:
                arrays = dict(read_npz(members[member], Allowance(1 << 20, 1 << 30)))
                del arrays[array]
                members[member] = npz_bytes(arrays)

            data = forged(left_out)
            ends[f"{member} {array}"] = tried(lambda data=data: opened(data))  # type: ignore[misc]
    return ends


def test_statistics_that_lack_any_one_array_are_used_or_refused(tmp_path: Path) -> None:
    ends = in_fresh_process(_without_each_array, tmp_path)
    assert {end.kind for end in ends.values()} == {"passed", "refused"}, ends
    for half in ("sum/drift2/image", "sum/drift/digit"):
        assert ends[f"place-0.npz {half}"].kind == "refused"
    for part in ("sum/channel/digit/relu1", "sum/square/digit/relu1", "count/values/digit/relu1"):
        assert ends[f"overall.npz {part}"].kind == "refused"
