"""A few mutants of one kind, in a process of its own: a fork of one that has run networks may wait for its threads.

python -m tests.attack.short_form KIND FOLDER prints JSON: how good files ended, how many mutants ended badly, how many
were refused, and a row for people.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from tests.attack.campaigns import CAMPAIGNS, Campaign, onnx_files
from tests.attack.tflite_campaigns import firmware
from tests.attack.tflite_seeds import seeds
from tests.attack.trials import tried

KINDS = (*CAMPAIGNS, "firmware")
MUTANTS = {"onnx": 24, "refit-plans": 12, "refit-stores": 12}
OF_OTHERS = 60
SEED = 3
GOOD = 8
"""Seeds that are tried as they are."""


def _campaign(name: str, folder: Path) -> Campaign:
    if name == "firmware":
        return firmware(seeds(), 0)
    return onnx_files(folder, 4) if name == "onnx" else CAMPAIGNS[name](folder)


def main() -> None:
    """Run the kind that is named."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    os.environ["MULTIGRAFT_DEBUG"] = "1"
    tempfile.tempdir = str(folder)
    campaign = _campaign(name, folder)
    some = list(campaign.seeds.items())[:GOOD]
    good = {name: tried(lambda data=data: campaign.opened(data)) for name, data in some}  # type: ignore[misc]
    row = campaign.run(MUTANTS.get(name, OF_OTHERS), SEED)
    ends = {name: f"{end.kind} {end.detail}".strip() for name, end in good.items()}
    print(json.dumps({"good": ends, "bad": row.bad, "refused": row.counts["refused"], "row": str(row)}))


if __name__ == "__main__":
    main()
