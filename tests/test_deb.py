"""What the Debian package makes of the service's unit; `make deb` itself needs Debian's tools and the network."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

DEBIAN = Path(__file__).parents[1] / "packaging" / "debian"

WRITTEN = """\
# Written by multigraft service install
[Unit]
Description=Answers

[Service]
EnvironmentFile=-/etc/default/multigraft
ExecStart=/somewhere/python -P -m multigraft serve --source camera
User=multigraft
SupplementaryGroups=video i2c
BindReadOnlyPaths=/somewhere
DeviceAllow=char-i2c rw

[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def unit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("packed_unit", DEBIAN / "unit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_unit_of_the_package(unit: ModuleType) -> None:
    lines = unit.packed(WRITTEN).splitlines()
    start = lines.index("ExecStart=/usr/lib/multigraft/bin/python3 -P -m multigraft serve $MULTIGRAFT_OPTIONS")
    # Its options and OpenTelemetry's variables.
    assert lines[start - 1] == "EnvironmentFile=-/etc/default/multigraft"
    # Nothing is started before there is something to serve, and no group is asked for that a machine may not have.
    assert lines.index("ConditionPathExists=/var/lib/multigraft/current") < lines.index("[Service]")
    assert not [line for line in lines if line.startswith(("#", "SupplementaryGroups", "BindReadOnlyPaths"))]
    assert {"User=multigraft", "DeviceAllow=char-i2c rw", "WantedBy=multi-user.target"} <= set(lines)


def test_a_unit_of_another_form_is_refused(unit: ModuleType) -> None:
    with pytest.raises(ValueError, match="0 lines like \\^ExecStart"):
        unit.packed(WRITTEN.replace("ExecStart", "ExecReload"))


def test_without_a_service_there_is_no_unit(unit: ModuleType, tmp_path: Path) -> None:
    unit.main(tmp_path / "unit.py", tmp_path / "multigraft.service")
    assert not (tmp_path / "multigraft.service").exists()


def test_an_unknown_debian_is_refused() -> None:
    command = ["sh", str(DEBIAN.parent / "make-deb"), "9"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "make-deb: Debian 9 is not known; give 12 or 13.\n")
