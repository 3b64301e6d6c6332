"""Makes the service's unit for the package of what ``multigraft service install`` would write.

``python3 unit.py .../runtime/service/unit.py OUTPUT``. The module is loaded alone: the machine that packs need not have
what the service needs. Options come from /etc/default/multigraft, the user and its groups from sysusers.d.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

COMMAND = "/usr/lib/multigraft/bin/python3 -P -m multigraft serve $MULTIGRAFT_OPTIONS"
STATE = "/var/lib/multigraft"


def packed(text: str) -> str:
    """The unit as the package brings it.

    Raises:
        ValueError: A line that has to be changed is not there.
    """
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^(SupplementaryGroups|BindReadOnlyPaths)=.*\n", "", text, flags=re.MULTILINE)
    changes = (
        (r"^ExecStart=.*$", f"ExecStart={COMMAND}"),
        (r"^\[Service\]$", f"ConditionPathExists={STATE}/current\n\n[Service]"),
    )
    for line, instead in changes:
        text, times = re.subn(line, lambda _, instead=instead: instead, text, flags=re.MULTILINE)
        if times != 1:
            raise ValueError(f"the unit has {times} lines like {line}")
    return text


def main(source: Path, output: Path) -> None:
    """Write the unit; nothing where this multigraft has no service."""
    if not source.is_file():
        print(f"{source} is not there: the package gets no unit")
        return
    spec = importlib.util.spec_from_file_location("unit", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["unit"] = module
    spec.loader.exec_module(module)
    # Where the packing Python lies is of no interest to the unit.
    module.__dict__["_program"] = list
    output.write_text(packed(module.Unit("multigraft", (), user="multigraft").text(())), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
